/* Enters the user namespace of a child of its own by its pidfd.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    pid_t child = fork();
    if (child == 0) {
        unshare(CLONE_NEWUSER);
        poll(NULL, 0, 1000);
        _exit(0);
    }
    poll(NULL, 0, 200);
    long handle = syscall(SYS_pidfd_open, child, 0);
    return when(handle >= 0 && setns((int)handle, CLONE_NEWUSER) == 0);
}
