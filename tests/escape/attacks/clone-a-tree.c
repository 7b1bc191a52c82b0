/* Takes a copy of a mount by open_tree(2), in namespaces that it makes itself.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return when(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
                    syscall(SYS_open_tree, AT_FDCWD, "/usr", 1) >= 0);
}
