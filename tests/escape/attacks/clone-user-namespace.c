/* Makes a child in a user namespace of its own by clone(2).
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    return tried(child);
}
