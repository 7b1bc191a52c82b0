/* Makes system calls through a ring that no filter sees.
 * Kernel: CONFIG_IO_URING
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_io_uring_setup, 4, (char[120]){0}));
}
