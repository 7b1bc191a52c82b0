/* What the attacks share: the headers that they need, and the three ways in which one ends.
 *
 * An attack is a program that runs in a cage as a program of the toolbox does, in /workspace/mine, which it
 * may write; /workspace/other.txt and /workspace/other-dir are its agent's too, and were not decided. Its exit
 * code says what came of it: 0 it succeeded, 1 it was stopped, 2 this kernel has nothing to try it on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

enum { SUCCEEDED = 0, STOPPED = 1, NOT_HERE = 2 };

#define MIB (1024 * 1024)

/* The end of an attack that is one system call. */
static inline int tried(long result) {
    return result >= 0 ? SUCCEEDED : errno == ENOSYS ? NOT_HERE : STOPPED;
}

/* The end of an attack that is to be true. */
static inline int when(int holds) {
    return holds ? SUCCEEDED : STOPPED;
}

/* Writes to every page of memory, whatever the compiler thinks of it. */
static inline void touch(volatile char *memory, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 4096)
        memory[at] = 1;
    memory[bytes - 1] = 1;
}

/* Copies the attack's own program, by its own right to read it, to where it may write. */
static inline int copy_of_itself(const char *to) {
    static char bytes[65536];
    int from = open("/usr/bin/wc", O_RDONLY), into = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
    ssize_t count = -1;
    while (from >= 0 && into >= 0 && (count = read(from, bytes, sizeof bytes)) > 0)
        if (write(into, bytes, (size_t)count) != count)
            return -1;
    close(from);
    close(into);
    return count == 0 ? 0 : -1;
}

/* Runs a program in a child; its exit code, or -1 when it could not be started or was killed. */
static inline int ran(const char *path, char *const words[]) {
    pid_t child = fork();
    if (child == 0) {
        execv(path, words);
        _exit(126);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}
