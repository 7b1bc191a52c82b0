/* Takes 160 MiB by private copies of a file's pages.
 * Stopped by: limits
 */
#include "attack.h"

int main(void) {
    int file = open("/usr/bin/wc", O_RDONLY);
    for (int number = 0; number < 16000; number++) {
        char *page = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
        if (page == MAP_FAILED)
            return STOPPED;
        for (int at = 0; at < 16384; at += 4096)
            page[at] = 1;
        if (number * 16384L > 160L * MIB)
            return SUCCEEDED;
    }
    return SUCCEEDED;
}
