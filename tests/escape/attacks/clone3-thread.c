/* Makes a thread-like child by clone3(2).
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    uint64_t arguments[8] = {0, 0, 0, 0, SIGCHLD};
    long child = syscall(SYS_clone3, arguments, sizeof arguments);
    if (child == 0)
        _exit(0);
    return when(child > 0);
}
