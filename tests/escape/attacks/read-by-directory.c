/* Reads a file of its agent through a descriptor of the directory above.
 * Stopped by: landlock
 */
#include "attack.h"

int main(void) {
    int above = open("..", O_PATH | O_DIRECTORY);
    return when(above >= 0 && openat(above, "other.txt", O_RDONLY) >= 0);
}
