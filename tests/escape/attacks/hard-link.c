/* Gives a file that was not decided a second name in its own directory.
 * Stopped by: seccomp, landlock
 */
#include "attack.h"

int main(void) {
    return when(link("/workspace/other.txt", "linked.txt") == 0 && open("linked.txt", O_RDONLY) >= 0 &&
                    unlink("linked.txt") == 0);
}
