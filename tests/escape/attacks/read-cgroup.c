/* Opens in which cgroup it is.
 * Stopped by: root, landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/proc/self/cgroup", O_RDONLY));
}
