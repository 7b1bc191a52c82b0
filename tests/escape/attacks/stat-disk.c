/* Sees the disk under the root.
 * Stopped by: root
 */
#include "attack.h"

int main(void) {
    struct stat status;
    return tried(stat("/dev/dm-0", &status));
}
