/* Changes the mode of a file that was not decided.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(chmod("/workspace/other.txt", 0640));
}
