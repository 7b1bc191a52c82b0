/* Plants a symbolic link in its directory.
 * Stopped by: seccomp, landlock
 */
#include "attack.h"

int main(void) {
    return when(symlink("/etc/passwd", "planted") == 0 && unlink("planted") == 0);
}
