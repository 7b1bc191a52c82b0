/* Learns which slot it is in by its user on the box.
 * Stopped by: user
 */
#include "attack.h"

int main(void) {
    return when(getuid() >= 100000);
}
