/* Makes its read-only root writable, in namespaces that it makes itself, without a lock on the flag.
 * Stopped by: seccomp, landlock
 */
#include "attack.h"

int main(void) {
    return when(unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
                    mount("none", "/", NULL, MS_PRIVATE | MS_REC, NULL) == 0);
}
