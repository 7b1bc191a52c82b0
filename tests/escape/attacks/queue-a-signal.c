/* Queues a signal with a value.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(sigqueue(getppid(), SIGCONT, (union sigval){0}));
}
