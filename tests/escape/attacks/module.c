/* Loads a module.
 * Kernel: CONFIG_MODULES
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_finit_module, -1, "", 0));
}
