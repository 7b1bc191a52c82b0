/* Empties a file of its agent by its path.
 * Stopped by: seccomp, landlock
 */
#include "attack.h"

int main(void) {
    return tried(truncate("/workspace/other.txt", 0));
}
