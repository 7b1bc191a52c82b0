/* Reads a file of its agent in a child of its own.
 * Stopped by: landlock
 */
#include "attack.h"

int main(void) {
    pid_t child = fork();
    if (child == 0)
        _exit(open("/workspace/other.txt", O_RDONLY) >= 0 ? 7 : 8);
    int status = 0;
    return when(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7);
}
