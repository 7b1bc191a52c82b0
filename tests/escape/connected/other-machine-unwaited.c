/* Begins a connection to a machine that was not decided, without waiting, and looks whether it came to be.
 * Stopped by: nftables
 */
#include "connected.h"

int main(void) {
    struct sockaddr_in at = place(BESIDE, PORT);
    int one = stream(AF_INET);
    fcntl(one, F_SETFL, O_NONBLOCK);
    connect(one, (struct sockaddr *)&at, sizeof at);
    struct pollfd writes = {.fd = one, .events = POLLOUT};
    poll(&writes, 1, WAIT_SECONDS * 1000);
    fcntl(one, F_SETFL, 0);
    return when(writes.revents == POLLOUT && answers(one));
}
