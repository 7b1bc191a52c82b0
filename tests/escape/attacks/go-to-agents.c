/* Makes the directory of all agents its own.
 * Stopped by: root
 */
#include "attack.h"

int main(void) {
    return tried(chdir("/data/agents"));
}
