/* Opens a device.
 * Stopped by: root, landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/dev/urandom", O_RDONLY));
}
