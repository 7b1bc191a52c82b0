/* Becomes the one to whom orphans come.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
}
