/* Removes a file of its agent that was not decided.
 * Stopped by: seccomp, landlock
 */
#include "attack.h"

int main(void) {
    return tried(unlink("/workspace/removable.txt"));
}
