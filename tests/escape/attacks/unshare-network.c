/* Makes itself a network namespace, in which it has every capability.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(unshare(CLONE_NEWUSER | CLONE_NEWNET));
}
