/* Gives a file of its own the set-user-id bit.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return tried(chmod("in.txt", 04755));
}
