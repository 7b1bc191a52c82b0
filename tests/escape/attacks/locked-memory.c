/* Locks memory.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(mlock(&(char){0}, 1));
}
