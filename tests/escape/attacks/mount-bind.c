/* Binds a directory over another in namespaces that it makes itself.
 * Stopped by: seccomp, landlock
 */
#include "attack.h"

int main(void) {
    return when(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
                    mount("/workspace", "/usr", NULL, MS_BIND, NULL) == 0);
}
