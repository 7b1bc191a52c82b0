/* Maps memory that is written and executed.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    return when(mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
}
