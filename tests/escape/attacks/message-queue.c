/* Makes a System V message queue.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(msgget(IPC_PRIVATE, 0600));
}
