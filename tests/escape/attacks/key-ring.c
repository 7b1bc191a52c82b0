/* Puts a key into a ring of the kernel's.
 * Kernel: CONFIG_KEYS
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_add_key, "user", "x", "y", 1, -3));
}
