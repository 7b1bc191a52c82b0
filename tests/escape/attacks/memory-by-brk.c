/* Takes 160 MiB by moving the end of its data.
 * Stopped by: limits
 */
#include "attack.h"

int main(void) {
    char *memory = sbrk(160 * MIB);
    if (memory == (void *)-1)
        return STOPPED;
    touch(memory, 160 * MIB);
    return when(memory[160 * MIB - 1] == 1);
}
