/* Makes a file in a directory that was not decided.
 * Stopped by: landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/workspace/other-dir/new.txt", O_WRONLY | O_CREAT, 0600));
}
