/* Connects to the port that was decided, of a machine that was not, over IPv6.
 * Stopped by: nftables
 */
#include "connected.h"

int main(void) {
    struct sockaddr_in6 at = place_ipv6(BESIDE_IPV6, PORT);
    return connects(stream(AF_INET6), &at, sizeof at);
}
