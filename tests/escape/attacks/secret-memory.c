/* Makes memory that nobody can inspect.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_memfd_secret, 0));
}
