/* Changes its scheduling policy.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0}));
}
