/* Handles page faults of the kernel's copies itself.
 * Kernel: CONFIG_USERFAULTFD
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_userfaultfd, 1));
}
