/* Makes as many threads as it can.
 * Stopped by: limits, seccomp
 */
#include "attack.h"

static void *waits(void *nothing) {
    poll(NULL, 0, 2000);
    return nothing;
}

int main(void) {
    int made = 0;
    pthread_t thread;
    while (made < 40 && pthread_create(&thread, NULL, waits, NULL) == 0)
        made++;
    return when(made >= 40);
}
