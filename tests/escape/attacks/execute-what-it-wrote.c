/* Writes instructions, makes them executable, runs them.
 * Stopped by: seccomp
 */
#include "attack.h"

int main(void) {
    unsigned char *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(code, "\xb8\x07\x00\x00\x00\xc3", 6); /* mov eax, 7; ret */
    if (mprotect(code, 4096, PROT_READ | PROT_EXEC) != 0)
        return STOPPED;
    int (*run)(void) = (int (*)(void))(uintptr_t)code;
    return when(run() == 7);
}
