/* Makes as many processes as it can.
 * Stopped by: limits
 */
#include "attack.h"

int main(void) {
    int made = 0;
    while (made < 40) {
        pid_t child = fork();
        if (child == 0) {
            poll(NULL, 0, 2000);
            _exit(0);
        }
        if (child < 0)
            break;
        made++;
    }
    return when(made >= 40);
}
