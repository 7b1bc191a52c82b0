/* Makes a named pipe.
 * Stopped by: seccomp, landlock
 */
#include "attack.h"

int main(void) {
    return when(mkfifo("pipe", 0600) == 0 && unlink("pipe") == 0);
}
