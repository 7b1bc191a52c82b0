/* Makes a pair of sockets.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, (int[2]){0}));
}
