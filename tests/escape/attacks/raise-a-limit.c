/* Sets a limit of its own.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(setrlimit(RLIMIT_NOFILE, &(struct rlimit){16, 16}));
}
