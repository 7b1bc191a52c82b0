/* Sets a flag of a file by ioctl(2).
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return when(ioctl(open("in.txt", O_RDONLY), FS_IOC_SETFLAGS, &(long){FS_NODUMP_FL}) == 0);
}
