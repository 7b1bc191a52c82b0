/* Changes the times of a file that was not decided.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(utimensat(AT_FDCWD, "/workspace/other.txt", NULL, 0));
}
