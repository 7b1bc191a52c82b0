/* Makes a packet socket in a network that it makes itself.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return when(unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 && socket(AF_PACKET, SOCK_RAW, 0) >= 0);
}
