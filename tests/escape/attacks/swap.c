/* Gives the kernel a file to swap to.
 * Kernel: CONFIG_SWAP
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_swapon, "in.txt", 0));
}
