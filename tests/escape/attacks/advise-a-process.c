/* Takes a handle of itself to advise on memory by process_madvise(2).
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return when(syscall(SYS_process_madvise, syscall(SYS_pidfd_open, getpid(), 0), &(struct iovec){0}, 0, MADV_COLD, 0) >= 0);
}
