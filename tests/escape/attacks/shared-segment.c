/* Makes a System V shared memory segment.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(shmget(IPC_PRIVATE, 4096, 0600));
}
