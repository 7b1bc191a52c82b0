/* Makes files with nothing in them until no more may be, for as long as it is let. */
#include "attack.h"

int main(void) {
    char name[32];
    for (unsigned long number = 0;; number++) {
        snprintf(name, sizeof name, "inode-%lu", number);
        close(open(name, O_WRONLY | O_CREAT | O_EXCL, 0644));
    }
}
