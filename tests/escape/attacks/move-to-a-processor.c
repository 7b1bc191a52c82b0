/* Chooses the processor that it runs on.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(sched_setaffinity(0, sizeof(cpu_set_t), &(cpu_set_t){{1}}));
}
