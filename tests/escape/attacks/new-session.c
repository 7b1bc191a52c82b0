/* Leaves its session.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return when(fork() == 0 ? setsid() >= 0 : (wait(NULL), setpgid(0, 0) == 0));
}
