/* Makes an IPv4 socket.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(socket(AF_INET, SOCK_STREAM, 0));
}
