/*
 * The rows that the benchmarks run on: real data where the shared folder is (SEMTOK_SHARED, or
 * shared beside the checkout), otherwise made-up rows of the same shape, and the name says so.
 */
#ifndef BENCH_DATA_H
#define BENCH_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bench_rows
{
	float *x; /* [n][dim] */
	size_t n;
	size_t dim;
	bool real;
	char name[64];
} bench_rows;

/*
 * By name: "beauty" (12,101 x 384, text embeddings of unit length), "sasrec32", "sift5k",
 * "glove50", "wikilda8", "mnist" (60,000 x 784), "mnist128" (its first 50,000 rows projected to 128
 * dimensions), "clustered" and "normal" (50,000 x 128, made up by intent). At most max rows. Ends
 * the program when there is no such name. Free with bench_rows_free.
 */
extern bench_rows bench_rows_load(const char *name, size_t max);
extern void bench_rows_free(bench_rows *rows);
/* A copy of n floats: trainers work in place. */
extern float *bench_copy(const float *x, size_t n);

/* Standard normal numbers; rows around 1,000 centres. */
extern void bench_fill_normal(float *x, size_t n, uint64_t seed);
extern void bench_fill_clustered(float *x, size_t n, size_t dim, uint64_t seed);

#endif
