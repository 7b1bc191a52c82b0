/* Calls by the numbers of the 32-bit interface.
 * Kernel: CONFIG_IA32_EMULATION
 */
#include "attack.h"

static void not_here(int signal) {
    (void)signal;
    _exit(NOT_HERE);
}

int main(void) {
    signal(SIGSEGV, not_here);
    long number = 20; /* getpid */
    __asm__ volatile("int $0x80" : "+a"(number) : : "memory");
    return number == -ENOSYS ? NOT_HERE : when(number > 0);
}
