/* Makes a timer of the kernel's.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(timer_create(CLOCK_MONOTONIC, &(struct sigevent){.sigev_notify = SIGEV_NONE}, &(timer_t){0}));
}
