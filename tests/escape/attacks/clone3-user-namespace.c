/* Makes a child in a user namespace of its own by clone3(2), whose flags no filter sees.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    uint64_t arguments[8] = {CLONE_NEWUSER, 0, 0, 0, SIGCHLD};
    long child = syscall(SYS_clone3, arguments, sizeof arguments);
    if (child == 0)
        _exit(0);
    return when(child > 0);
}
