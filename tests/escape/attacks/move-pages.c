/* Asks on which node memory lies.
 * Kernel: CONFIG_NUMA
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_move_pages, 0, 0, NULL, NULL, NULL, 0));
}
