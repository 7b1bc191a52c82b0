/* Reads a file of its agent in a thread of its own.
 * Stopped by: seccomp, landlock
 */
#include "attack.h"

static void *reads(void *found) {
    *(int *)found = open("/workspace/other.txt", O_RDONLY) >= 0;
    return NULL;
}

int main(void) {
    pthread_t thread;
    int found = 0;
    if (pthread_create(&thread, NULL, reads, &found) != 0)
        return STOPPED;
    pthread_join(thread, NULL);
    return when(found);
}
