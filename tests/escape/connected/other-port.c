/* Connects to a port that was not decided.
 * Stopped by: landlock, nftables
 */
#include "connected.h"

int main(void) {
    struct sockaddr_in at = place(DECIDED, OTHER_PORT);
    return connects(stream(AF_INET), &at, sizeof at);
}
