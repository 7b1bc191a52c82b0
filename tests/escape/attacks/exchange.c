/* Exchanges a file that was not decided with one of its own.
 * Stopped by: seccomp, landlock
 */
#include "attack.h"

int main(void) {
    return when(syscall(SYS_renameat2, AT_FDCWD, "/workspace/other.txt", AT_FDCWD, "in.txt", RENAME_EXCHANGE) == 0 && syscall(SYS_renameat2, AT_FDCWD, "/workspace/other.txt", AT_FDCWD, "in.txt", RENAME_EXCHANGE) == 0);
}
