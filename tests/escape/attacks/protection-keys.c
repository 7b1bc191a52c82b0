/* Changes protection by keys.
 * Kernel: CONFIG_X86_INTEL_MEMORY_PROTECTION_KEYS
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_pkey_mprotect, mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 4096, PROT_READ, -1));
}
