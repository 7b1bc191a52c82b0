/* Changes the table of segments.
 * Kernel: CONFIG_MODIFY_LDT_SYSCALL
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_modify_ldt, 1, (char[16]){0}, 16));
}
