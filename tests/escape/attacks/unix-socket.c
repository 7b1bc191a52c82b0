/* Makes a Unix socket.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(socket(AF_UNIX, SOCK_DGRAM, 0));
}
