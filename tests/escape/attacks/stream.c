/* Connects a stream to itself.
 * Stopped by: seccomp, lo, nftables, landlock
 */
#include "attack.h"

int main(void) {
    int hears = socket(AF_INET, SOCK_STREAM, 0), speaks = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9095), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (hears < 0 || bind(hears, (struct sockaddr *)&at, sizeof at) != 0 || listen(hears, 1) != 0)
        return STOPPED;
    connect(speaks, (struct sockaddr *)&at, sizeof at);
    poll(NULL, 0, 100);
    return when(fcntl(hears, F_SETFL, O_NONBLOCK) == 0 && accept(hears, NULL, NULL) >= 0);
}
