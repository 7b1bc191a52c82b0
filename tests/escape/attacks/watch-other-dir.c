/* Watches the names in a directory that was not decided.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return when(inotify_add_watch(inotify_init1(0), "/workspace/other-dir", IN_CREATE) >= 0);
}
