/* Executes a file that it wrote.
 * Stopped by: noexec, landlock
 */
#include "attack.h"

int main(void) {
    char *const words[] = {"wc", "--", "/workspace/always", NULL};
    return when(copy_of_itself("prog") == 0 && ran("prog", words) == 0);
}
