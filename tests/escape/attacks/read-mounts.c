/* Opens the mounts of the box.
 * Stopped by: root, landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/proc/self/mounts", O_RDONLY));
}
