/* Takes 40 MiB in each of four children.
 * Stopped by: limits
 */
#include "attack.h"

int main(void) {
    for (int number = 0; number < 4; number++)
        if (fork() == 0) {
            char *memory = malloc(40 * MIB);
            if (memory == NULL)
                _exit(1);
            touch(memory, 40 * MIB);
            poll(NULL, 0, 1000);
            _exit(0);
        }
    int status = 0, well = 0;
    while (wait(&status) > 0)
        well += WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return when(well == 4);
}
