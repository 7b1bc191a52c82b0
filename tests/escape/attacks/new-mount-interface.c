/* Makes a mount by fsopen(2) and fsmount(2), which are not mount(2).
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
        return STOPPED;
    long context = syscall(SYS_fsopen, "tmpfs", 0);
    return when(context >= 0 && syscall(SYS_fsconfig, context, 6, NULL, NULL, 0) == 0 &&
                syscall(SYS_fsmount, context, 0, 0) >= 0);
}
