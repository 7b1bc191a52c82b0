/* Connects to a machine that was not decided by an IPv4 address written as an IPv6 one.
 * Stopped by: nftables
 */
#include "connected.h"

int main(void) {
    struct sockaddr_in6 at = place_ipv6("::ffff:" BESIDE, PORT);
    return connects(stream(AF_INET6), &at, sizeof at);
}
