/* Connects a datagram socket, lets it go by AF_UNSPEC, connects it again, and hears itself.
 * Stopped by: seccomp, lo, nftables
 */
#include "attack.h"

int main(void) {
    int hears = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), speaks = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    at.sin_port = htons(9099);
    if (hears < 0 || bind(hears, (struct sockaddr *)&at, sizeof at) != 0 ||
        connect(speaks, (struct sockaddr *)&at, sizeof at) != 0 || connect(speaks, &none, sizeof none) != 0 ||
        connect(speaks, (struct sockaddr *)&at, sizeof at) != 0 || send(speaks, "x", 1, 0) != 1)
        return STOPPED;
    poll(NULL, 0, 100);
    return when(recv(hears, (char[1]){0}, 1, 0) == 1);
}
