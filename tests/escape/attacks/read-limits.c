/* Opens the controllers of the box.
 * Stopped by: root, landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/sys/fs/cgroup/cgroup.controllers", O_RDONLY));
}
