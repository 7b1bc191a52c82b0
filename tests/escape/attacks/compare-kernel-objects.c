/* Compares kernel objects of two processes by kcmp(2).
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(syscall(SYS_kcmp, getpid(), getpid(), 0, 0, 1));
}
