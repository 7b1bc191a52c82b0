/* Takes memory and uses all of it, for as long as it is let. */
#include "attack.h"

int main(void) {
    for (;;) {
        char *memory = malloc(MIB);
        if (memory)
            touch(memory, MIB);
    }
}
