/* Sends a signal to a thread of the process that its cage began with.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_tgkill, 1, 1, SIGCONT));
}
