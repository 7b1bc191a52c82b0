/* Opens the root by a magic link.
 * Stopped by: root, landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/proc/self/root", O_RDONLY));
}
