/* Fills what its agent may have of the disk, gives it back, and fills it again. */
#include "attack.h"

static char block[MIB];

int main(void) {
    char name[16];
    for (;;) {
        for (int number = 0;; number++) {
            snprintf(name, sizeof name, "fill-%d", number % 64);
            int file = open(name, O_WRONLY | O_CREAT | O_APPEND, 0644);
            ssize_t written = file < 0 ? -1 : write(file, block, sizeof block);
            close(file);
            if (written < (ssize_t)sizeof block)
                break;
        }
        for (int number = 0; number < 64; number++) {
            snprintf(name, sizeof name, "fill-%d", number);
            close(open(name, O_WRONLY | O_TRUNC));
        }
    }
}
