/* Executes a program that exists in memory alone.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(int count, char **words) {
    if (count == 0 || (words[0] != NULL && strcmp(words[0], "again") == 0))
        return SUCCEEDED;
    int memory = (int)syscall(SYS_memfd_create, "x", 0), itself = open("/usr/bin/wc", O_RDONLY);
    static char bytes[65536];
    ssize_t read_now;
    while (memory >= 0 && (read_now = read(itself, bytes, sizeof bytes)) > 0)
        if (write(memory, bytes, (size_t)read_now) != read_now)
            return STOPPED;
    char *const again[] = {"wc", "--", "/workspace/always", NULL};
    syscall(SYS_execveat, memory, "", again, NULL, AT_EMPTY_PATH);
    return STOPPED;
}
