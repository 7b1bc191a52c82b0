/* Learns from a child's number how many processes the box has started.
 * Stopped by: pid
 */
#include "attack.h"

int main(void) {
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    return when(child > 60);
}
