/*
 * semtokd: computes what backends ask for, in a process of its own.
 */
#include <stdio.h>
#include <string.h>

int
main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
	{
		puts("semtokd " SEMTOK_VERSION);
		return 0;
	}
	fprintf(stderr, "usage: semtokd --version\n");
	return 2;
}
