/* Takes a descriptor of a directory of the box by O_PATH.
 * Stopped by: root
 */
#include "attack.h"

int main(void) {
    return tried(open("/proc", O_PATH));
}
