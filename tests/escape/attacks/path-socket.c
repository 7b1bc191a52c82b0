/* Makes a socket that other cages of its agent could connect to by a path.
 * Stopped by: seccomp, landlock
 */
#include "attack.h"

int main(void) {
    int made = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "meet"};
    return when(made >= 0 && bind(made, (struct sockaddr *)&at, sizeof at) == 0 && unlink("meet") == 0);
}
