/* Makes a raw socket in a network that it makes itself.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return when(unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 && socket(AF_INET, SOCK_RAW, IPPROTO_RAW) >= 0);
}
