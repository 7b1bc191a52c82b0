/* Lists the whole workspace.
 * Stopped by: landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/workspace", O_RDONLY | O_DIRECTORY));
}
