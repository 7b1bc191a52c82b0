/* Takes 160 MiB of memory that is shared.
 * Stopped by: limits
 */
#include "attack.h"

int main(void) {
    char *memory = mmap(NULL, 160 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return STOPPED;
    touch(memory, 160 * MIB);
    return when(memory[160 * MIB - 1] == 1);
}
