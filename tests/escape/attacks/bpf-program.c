/* Loads a program into the kernel.
 * Kernel: CONFIG_BPF_SYSCALL
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_bpf, 0, (char[64]){0}, 64));
}
