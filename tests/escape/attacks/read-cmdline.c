/* Opens the command line of the kernel.
 * Stopped by: root, landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/proc/cmdline", O_RDONLY));
}
