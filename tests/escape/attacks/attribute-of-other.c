/* Writes an extended attribute of a file that was not decided.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(setxattr("/workspace/other.txt", "user.x", "y", 1, 0));
}
