/* Lists a directory that was not decided.
 * Stopped by: landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/workspace/other-dir", O_RDONLY | O_DIRECTORY));
}
