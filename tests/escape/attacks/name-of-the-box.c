/* Learns the name of the box.
 * Stopped by: seccomp, uts
 */
#include "attack.h"

int main(void) {
    struct utsname names;
    return when(uname(&names) == 0 && strcmp(names.nodename, "cage") != 0);
}
