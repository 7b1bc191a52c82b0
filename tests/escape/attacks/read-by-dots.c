/* Reads a file of its agent by a path with dots.
 * Stopped by: landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("../mine/../other.txt", O_RDONLY));
}
