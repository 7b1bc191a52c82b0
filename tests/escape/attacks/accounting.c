/* Has the kernel write to a file.
 * Kernel: CONFIG_BSD_PROCESS_ACCT
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_acct, "in.txt"));
}
