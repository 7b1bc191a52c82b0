/* Connects to what was decided, unties the socket by AF_UNSPEC, connects it to another machine.
 * Stopped by: nftables
 */
#include "connected.h"

int main(void) {
    struct sockaddr_in decided = place(DECIDED, PORT), at = place(BESIDE, PORT);
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    int one = stream(AF_INET);
    if (connect(one, (struct sockaddr *)&decided, sizeof decided) != 0 || !answers(one))
        return NOT_HERE;
    if (connect(one, &nowhere, sizeof nowhere) != 0)
        return STOPPED;
    return connects(one, &at, sizeof at);
}
