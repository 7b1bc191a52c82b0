/* Asks for the interfaces by ioctl(2) on a socket.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return when(ioctl(socket(AF_INET, SOCK_DGRAM, 0), 0x8933, (char[64]){"lo"}) == 0);
}
