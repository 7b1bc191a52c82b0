/* Sees the tree of cgroups.
 * Stopped by: root
 */
#include "attack.h"

int main(void) {
    struct stat status;
    return tried(stat("/sys/fs/cgroup", &status));
}
