/* Maps a file that it wrote to be executed.
 * Stopped by: noexec
 */
#include "attack.h"

int main(void) {
    int file = copy_of_itself("prog") == 0 ? open("prog", O_RDONLY) : -1;
    return when(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0) != MAP_FAILED);
}
