/* Linked with every selftest: lines go out as they end, as on the terminal that the oldest of them were written
 * for. Into a file they would go at the end, and once more from every child. */
#include <stdio.h>

static void __attribute__((constructor)) by_lines(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
}
