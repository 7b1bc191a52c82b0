/* Sees the ledger.
 * Stopped by: root
 */
#include "attack.h"

int main(void) {
    struct stat status;
    return tried(stat("/ledger", &status));
}
