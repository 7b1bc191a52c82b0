/* Makes a directory beside its own.
 * Stopped by: seccomp, landlock
 */
#include "attack.h"

int main(void) {
    return when(mkdir("/workspace/beside-d", 0700) == 0 && rmdir("/workspace/beside-d") == 0);
}
