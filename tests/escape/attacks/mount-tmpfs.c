/* Mounts a file system in namespaces that it makes itself.
 * Stopped by: seccomp, landlock
 */
#include "attack.h"

int main(void) {
    return when(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
                    mount("none", "/workspace", "tmpfs", 0, NULL) == 0);
}
