/* Names a host in a namespace that it makes itself.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return when(unshare(CLONE_NEWUSER | CLONE_NEWUTS) == 0 && sethostname("x", 1) == 0);
}
