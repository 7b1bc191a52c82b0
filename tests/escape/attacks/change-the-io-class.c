/* Changes its class of disk input and output.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_ioprio_set, 1, 0, 3 << 13));
}
