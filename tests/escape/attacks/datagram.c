/* Sends a datagram to itself and hears it.
 * Stopped by: seccomp, lo, nftables
 */
#include "attack.h"

int main(void) {
    int hears = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), speaks = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9098), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (hears < 0 || bind(hears, (struct sockaddr *)&at, sizeof at) != 0)
        return STOPPED;
    sendto(speaks, "x", 1, 0, (struct sockaddr *)&at, sizeof at);
    poll(NULL, 0, 100);
    return when(recv(hears, (char[1]){0}, 1, 0) == 1);
}
