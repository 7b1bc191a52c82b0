/* Opens by openat2(2), whose flags no filter sees.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_openat2, AT_FDCWD, "in.txt", &(struct { uint64_t flags, mode, resolve; }){O_RDONLY, 0, 0}, 24));
}
