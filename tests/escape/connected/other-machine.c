/* Connects to the port that was decided, of a machine that was not.
 * Stopped by: nftables
 */
#include "connected.h"

int main(void) {
    struct sockaddr_in at = place(BESIDE, PORT);
    return connects(stream(AF_INET), &at, sizeof at);
}
