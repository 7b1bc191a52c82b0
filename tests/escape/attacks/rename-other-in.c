/* Moves a file that was not decided into its directory.
 * Stopped by: seccomp, landlock
 */
#include "attack.h"

int main(void) {
    return when(rename("/workspace/other.txt", "moved.txt") == 0 &&
                    rename("moved.txt", "/workspace/other.txt") == 0);
}
