/* Makes signals a file.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_signalfd4, -1, &(uint64_t){0}, 8, 0));
}
