/* What trinity opens on its way and a cage has none of: /dev/zero and what is in /proc. Without the first it does not
 * begin; without the others it reads by null pointers. What it tries itself goes by system calls, and not by these. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char none[1];
static DIR *const empty = (DIR *)none;

static void *of_libc(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

static int is_of_proc(const char *path) {
    return strncmp(path, "/proc/", 6) == 0;
}

/* it maps anonymous memory by it: any descriptor does */
int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int);
    va_end(more);
    int (*of)(const char *, int, ...) = (int (*)(const char *, int, ...))of_libc("open");
    return strcmp(path, "/dev/zero") == 0 ? dup(1) : of(path, flags, mode);
}

/* a file that says nothing */
FILE *fopen(const char *path, const char *mode) {
    FILE *(*of)(const char *, const char *) = (FILE * (*)(const char *, const char *))of_libc("fopen");
    return is_of_proc(path) ? fmemopen(none, 1, "r") : of(path, mode);
}

/* a directory with nothing in it */
DIR *opendir(const char *path) {
    DIR *(*of)(const char *) = (DIR * (*)(const char *))of_libc("opendir");
    return is_of_proc(path) ? empty : of(path);
}

struct dirent *readdir(DIR *directory) {
    struct dirent *(*of)(DIR *) = (struct dirent * (*)(DIR *))of_libc("readdir");
    return directory == empty ? NULL : of(directory);
}

int closedir(DIR *directory) {
    int (*of)(DIR *) = (int (*)(DIR *))of_libc("closedir");
    return directory == empty ? 0 : of(directory);
}
