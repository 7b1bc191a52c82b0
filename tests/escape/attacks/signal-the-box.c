/* Finds other processes of the box by a signal of number 0.
 * Stopped by: seccomp, pid
 */
#include "attack.h"

int main(void) {
    for (pid_t number = 60; number < 400; number++)
        if (kill(number, 0) == 0 || errno == EPERM)
            return SUCCEEDED;
    return STOPPED;
}
