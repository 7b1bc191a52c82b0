/* No attack: what the others start to show that something of theirs runs.
 * Stopped by: nothing
 */
#include "attack.h"

int main(void) {
    return SUCCEEDED;
}
