/* Changes its root directory in a user namespace that it makes itself.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return when(unshare(CLONE_NEWUSER) == 0 && chroot("/workspace/mine") == 0);
}
