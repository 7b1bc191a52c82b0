/* Reaches nftables in a network that it makes itself.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return when(unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 && socket(AF_NETLINK, SOCK_RAW, 12) >= 0);
}
