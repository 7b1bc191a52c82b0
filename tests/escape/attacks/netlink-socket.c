/* Asks the kernel's tables by netlink.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(socket(AF_NETLINK, SOCK_RAW, 0));
}
