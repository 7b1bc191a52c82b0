/* Takes a mount away in namespaces that it makes itself.
 * Stopped by: seccomp, landlock
 */
#include "attack.h"

int main(void) {
    return when(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
                    (umount2("/usr", MNT_DETACH) == 0 || mount("none", "/", NULL, MS_SLAVE, NULL) == 0));
}
