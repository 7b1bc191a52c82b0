/* Lets ld.so run a file that it wrote.
 * Stopped by: noexec
 */
#include "attack.h"

int main(void) {
    char *const words[] = {"ld.so", "/workspace/mine/prog", "--", "/workspace/always", NULL};
    return when(copy_of_itself("/workspace/mine/prog") == 0 &&
                    ran("/lib64/ld-linux-x86-64.so.2", words) == 0);
}
