/* Opens what kernel the box runs.
 * Stopped by: root, landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/proc/version", O_RDONLY));
}
