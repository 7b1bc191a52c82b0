/* Goes to the directory of a file and reads it from there.
 * Stopped by: landlock
 */
#include "attack.h"

int main(void) {
    return when(chdir("/workspace/other-dir") == 0 && open("inner.txt", O_RDONLY) >= 0);
}
