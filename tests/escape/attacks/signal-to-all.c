/* Sends a signal to every process that it can reach.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    if (fork() == 0) {
        poll(NULL, 0, 1000);
        _exit(0);
    }
    return tried(kill(-1, SIGCONT));
}
