/* Gives itself the name of another process.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(prctl(PR_SET_NAME, "worker", 0, 0, 0));
}
