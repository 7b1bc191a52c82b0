/* Opens the devices of the box.
 * Stopped by: root, landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/dev", O_RDONLY));
}
