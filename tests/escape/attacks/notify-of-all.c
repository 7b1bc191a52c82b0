/* Opens a fanotify group without privilege.
 * Kernel: CONFIG_FANOTIFY
 */
#include "attack.h"

int main(void) {
    return tried(fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID, O_RDONLY));
}
