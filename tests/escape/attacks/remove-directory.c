/* Removes a directory of its agent.
 * Stopped by: seccomp, landlock
 */
#include "attack.h"

int main(void) {
    return when(rmdir("/workspace/empty-dir") == 0 && mkdir("/workspace/empty-dir", 0700) == 0);
}
