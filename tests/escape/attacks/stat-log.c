/* Sees the kernel's log.
 * Stopped by: root
 */
#include "attack.h"

int main(void) {
    struct stat status;
    return tried(stat("/dev/kmsg", &status));
}
