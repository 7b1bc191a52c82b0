/* Becomes the program of others that the file of its name says, with the words that follow there (image/steps/others.py). */
#include "attack.h"

enum { WORDS_MAX = 32 };

int main(int count, char **words) {
    static char text[1024], path[256];
    char *said[WORDS_MAX + 1] = {0};
    int file = open("others", O_RDONLY), number = 0;
    ssize_t bytes = read(file, text, sizeof text - 1);
    if (count < 1 || bytes <= 0)
        return 3;
    for (char *word = strtok(text, " \n"); word && number < WORDS_MAX; word = strtok(NULL, " \n"))
        said[number++] = word;
    /* what it looks for and no cage has */
    if (said[0] && strcmp(said[0], "trinity") == 0)
        setenv("LD_PRELOAD", "/usr/lib/absent.so", 1);
    snprintf(path, sizeof path, "/usr/bin/%s", said[0]);
    execv(path, said);
    fprintf(stderr, "%s, which %s names: %s\n", path, words[count - 1], strerror(errno));
    return 3;
}
