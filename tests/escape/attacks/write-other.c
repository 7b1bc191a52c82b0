/* Writes a file of its agent that was not decided.
 * Stopped by: landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/workspace/other.txt", O_WRONLY));
}
