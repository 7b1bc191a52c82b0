/* Enters a domain of its own that grants everything, and reads what was not decided.
 * Stopped by: landlock
 */
#include "attack.h"

int main(void) {
    struct landlock_ruleset_attr handled = {.handled_access_fs = LANDLOCK_ACCESS_FS_READ_FILE};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0);
    struct landlock_path_beneath_attr all = {
        .allowed_access = LANDLOCK_ACCESS_FS_READ_FILE, .parent_fd = open("/", O_PATH)};
    if (rules < 0 || syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &all, 0) != 0 ||
        syscall(SYS_landlock_restrict_self, rules, 0) != 0)
        return STOPPED;
    return tried(open("/workspace/other.txt", O_RDONLY));
}
