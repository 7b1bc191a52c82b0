/* Changes how mounts spread, in namespaces that it makes itself.
 * Stopped by: seccomp, landlock
 */
#include "attack.h"

int main(void) {
    return when(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
                    mount("none", "/", NULL, MS_PRIVATE | MS_REC, NULL) == 0);
}
