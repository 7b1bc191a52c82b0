/* Reaches ports of the processor.
 * Kernel: CONFIG_X86_IOPORT_PERM
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_ioperm, 0, 1, 1));
}
