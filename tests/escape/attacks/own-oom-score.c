/* Makes itself the last to be killed when memory runs out.
 * Stopped by: root, landlock
 */
#include "attack.h"

int main(void) {
    return tried(open("/proc/self/oom_score_adj", O_WRONLY));
}
