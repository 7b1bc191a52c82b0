/* Moves pages of a read-only file into a pipe by splice(2).
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    int ends[2];
    return when(pipe(ends) == 0 && splice(open("in.txt", O_RDONLY), NULL, ends[1], NULL, 1, 0) == 1);
}
