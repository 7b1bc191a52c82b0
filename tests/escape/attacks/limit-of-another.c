/* Sets a limit of another process.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(prlimit(getppid(), RLIMIT_NOFILE, &(struct rlimit){8, 8}, NULL));
}
