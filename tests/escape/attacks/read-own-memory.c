/* Opens its memory as a file, to write what is read-only.
 * Stopped by: root, landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/proc/self/mem", O_RDONLY));
}
