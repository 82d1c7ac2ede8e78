/*
 * Rivals, measured in the same run on the same data: a script in bench/rivals reads raw files that
 * we write, and prints "name value" lines.
 */
#ifndef BENCH_RIVAL_H
#define BENCH_RIVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Are the rivals installed (bench/rivals/setup)? When not, the first call prints how. */
extern bool bench_rivals(void);

/* A name for a file that is removed when the program ends. The text lives as long. */
extern const char *bench_file(const char *name);
/* Write, or read exactly, n values of `size` bytes; ends the program when that fails. */
extern void bench_write(const char *path, const void *values, size_t n, size_t size);
extern void bench_read(const char *path, void *values, size_t n, size_t size);

typedef struct bench_answer
{
	int n;
	char names[16][32];
	double values[16];
} bench_answer;

/*
 * Run bench/rivals/SCRIPT with arguments by printf. False, and nothing printed, when the rivals
 * are not installed; a script that fails ends the program.
 */
extern bool bench_rival(bench_answer *answer, const char *script, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* A value of the answer; NAN when there is none of that name. */
extern double bench_value(const bench_answer *answer, const char *name);

/* The first line that bench/rivals/SCRIPT prints; false when the rivals are not installed. */
extern bool bench_rival_text(const char *script, char *line, size_t size);

#endif
