/* Makes System V semaphores.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(semget(IPC_PRIVATE, 1, 0600));
}
