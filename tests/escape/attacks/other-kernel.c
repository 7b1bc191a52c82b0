/* Loads another kernel.
 * Kernel: CONFIG_KEXEC
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_kexec_load, 0, 0, NULL, 0));
}
