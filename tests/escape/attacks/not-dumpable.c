/* Hides from inspection.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
}
