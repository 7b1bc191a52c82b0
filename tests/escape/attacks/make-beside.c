/* Makes a file beside its directory.
 * Stopped by: landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/workspace/beside.txt", O_WRONLY | O_CREAT, 0600));
}
