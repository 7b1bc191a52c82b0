/* Lets any process trace it.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(prctl(PR_SET_PTRACER, -1L, 0, 0, 0));
}
