/* Sends to itself through an IPv6 socket by a mapped IPv4 address.
 * Stopped by: seccomp, lo, nftables
 */
#include "attack.h"

int main(void) {
    int hears = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), speaks = socket(AF_INET6, SOCK_DGRAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9096), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(9096)};
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped.sin6_addr);
    if (hears < 0 || bind(hears, (struct sockaddr *)&at, sizeof at) != 0)
        return STOPPED;
    sendto(speaks, "x", 1, 0, (struct sockaddr *)&mapped, sizeof mapped);
    poll(NULL, 0, 100);
    return when(recv(hears, (char[1]){0}, 1, 0) == 1);
}
