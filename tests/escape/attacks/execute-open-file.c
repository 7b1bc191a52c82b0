/* Executes a file that it wrote by its descriptor.
 * Stopped by: noexec, landlock
 */
#include "attack.h"

int main(void) {
    char *const words[] = {"wc", "--", "/workspace/always", NULL};
    int file = copy_of_itself("prog") == 0 ? open("prog", O_RDONLY) : -1;
    syscall(SYS_execveat, file, "", words, NULL, AT_EMPTY_PATH);
    return STOPPED;
}
