/* Listens on the box's own loopback, where its doors are.
 * Stopped by: seccomp, net
 */
#include "attack.h"

int main(void) {
    int made = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    at.sin_port = htons(9094);
    struct ifr {
        char name[16];
        short flags;
        char rest[22];
    } lo = {.name = "lo"};
    /* a loopback that is up is the box's, or another's */
    return when(made >= 0 && ioctl(made, 0x8913, &lo) == 0 && (lo.flags & 1) != 0 &&
                bind(made, (struct sockaddr *)&at, sizeof at) == 0);
}
