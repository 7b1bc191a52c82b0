/* Makes a timer as a file.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_timerfd_create, CLOCK_MONOTONIC, 0));
}
