/* Goes above its root by dots.
 * Stopped by: root
 */
#include "attack.h"

int main(void) {
    return when(chdir("/../../../ledger") == 0);
}
