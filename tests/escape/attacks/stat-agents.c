/* Sees other agents' directories.
 * Stopped by: root
 */
#include "attack.h"

int main(void) {
    struct stat status;
    return tried(stat("/data/agents", &status));
}
