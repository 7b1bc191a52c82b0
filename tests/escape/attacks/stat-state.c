/* Sees the state of the box.
 * Stopped by: root
 */
#include "attack.h"

int main(void) {
    struct stat status;
    return tried(stat("/state", &status));
}
