/* Takes a handle of a file that was not decided, to open it later elsewhere.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    struct {
        struct file_handle head;
        unsigned char bytes[64];
    } handle = {.head.handle_bytes = 64};
    int mount = 0;
    return tried(name_to_handle_at(AT_FDCWD, "/workspace/other.txt", &handle.head, &mount, 0));
}
