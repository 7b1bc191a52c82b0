/* Learns its own number on the box.
 * Stopped by: pid
 */
#include "attack.h"

int main(void) {
    return when(syscall(SYS_set_tid_address, NULL) > 60);
}
