/* Makes processes that make processes.
 * Stopped by: limits
 */
#include "attack.h"

int main(void) {
    int ends[2], first = 1;
    char seen[64];
    if (pipe2(ends, O_NONBLOCK) != 0)
        return STOPPED;
    for (int level = 0; level < 5; level++)
        if (fork() == 0)
            first = 0;
    if (write(ends[1], "x", 1) != 1)
        return STOPPED;
    poll(NULL, 0, first ? 1000 : 2000);
    return when(first && read(ends[0], seen, sizeof seen) >= 32);
}
