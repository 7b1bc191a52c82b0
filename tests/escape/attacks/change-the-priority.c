/* Changes the priority of all its user's processes.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(setpriority(PRIO_USER, 0, 1));
}
