/* Finds processes of the box by asking where each number may run.
 * Stopped by: pid
 */
#include "attack.h"

int main(void) {
    int seen = 0;
    for (pid_t number = 1; number < 400; number++) {
        cpu_set_t set;
        seen += sched_getaffinity(number, sizeof set, &set) == 0;
    }
    return when(seen > 4);
}
