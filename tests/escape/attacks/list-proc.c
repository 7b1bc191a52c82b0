/* Opens the processes of the box.
 * Stopped by: root, landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/proc", O_RDONLY));
}
