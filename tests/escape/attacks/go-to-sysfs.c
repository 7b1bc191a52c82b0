/* Makes a directory of the kernel's its own.
 * Stopped by: root
 */
#include "attack.h"

int main(void) {
    return tried(chdir("/sys/kernel"));
}
