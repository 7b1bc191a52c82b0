/* Makes a file that exists in memory alone.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_memfd_create, "x", 0));
}
