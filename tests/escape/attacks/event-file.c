/* Makes an event file.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(eventfd(0, 0));
}
