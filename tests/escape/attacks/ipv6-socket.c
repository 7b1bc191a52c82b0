/* Makes an IPv6 socket.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(socket(AF_INET6, SOCK_DGRAM, 0));
}
