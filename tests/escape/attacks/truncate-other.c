/* Empties a file of its agent by opening it.
 * Stopped by: landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/workspace/other.txt", O_WRONLY | O_TRUNC));
}
