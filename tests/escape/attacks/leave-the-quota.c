/* Gives a file of its own another project number, so that its quota does not count it.
 * Stopped by: seccomp, user
 */
#include "attack.h"

int main(void) {
    int file = open("quota.txt", O_RDWR | O_CREAT, 0600);
    struct fsxattr set;
    if (file < 0 || ioctl(file, FS_IOC_FSGETXATTR, &set) != 0)
        return STOPPED;
    uint32_t before = set.fsx_projid;
    set.fsx_projid = 77;
    int left = ioctl(file, FS_IOC_FSSETXATTR, &set) == 0;
    set.fsx_projid = before;
    ioctl(file, FS_IOC_FSSETXATTR, &set);
    return when(left && before != 77);
}
