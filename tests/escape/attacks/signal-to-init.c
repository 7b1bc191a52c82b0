/* Sends a signal to the process that its cage began with.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(kill(1, SIGCONT));
}
