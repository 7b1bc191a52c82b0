/* Sends to a machine that was not decided by TCP Fast Open, which is no connect(2).
 * Stopped by: nftables
 */
#include "connected.h"

int main(void) {
    struct sockaddr_in at = place(BESIDE, PORT);
    char byte = 'x';
    int one = stream(AF_INET);
    if (sendto(one, &byte, 1, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&at, sizeof at) != 1)
        return STOPPED;
    return when(recv(one, &byte, 1, 0) == 1);
}
