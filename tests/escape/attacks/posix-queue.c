/* Makes a POSIX message queue.
 * Kernel: CONFIG_POSIX_MQUEUE
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_mq_open, "x", O_CREAT | O_RDWR, 0600, NULL));
}
