/*
 * Rows for the tests of the quantizer: random and hostile numbers, data sets where they exist, the
 * reference rule written as plainly as can be, and an allocator that runs out.
 */
#ifndef UNIT_ROWS_H
#define UNIT_ROWS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/codebook.h"
#include "core/exec.h"

/*
 * How long the tests may take, as rows of the longest: SEMTOK_UNIT_ROWS, or 1,000,000. Sanitizers
 * give 100,000; emulators and valgrind, many times slower, give less.
 */
static inline size_t
unit_rows(void)
{
	const char *rows = getenv("SEMTOK_UNIT_ROWS");

	return rows ? (size_t) atol(rows) : 1000000;
}

/* One of three sizes of a test: for a plain run, under a sanitizer, and for what is slower. */
static inline size_t
unit_size(size_t plain, size_t sanitized, size_t slow)
{
	return unit_rows() > 100000 ? plain : unit_rows() == 100000 ? sanitized : slow;
}

/* splitmix64 */
static inline uint64_t
next_bits(uint64_t *state)
{
	uint64_t z = (*state += 0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
	return z ^ (z >> 31);
}

/* Uniform in [-1, 1), on a grid of 2^-23. */
static inline float
next_float(uint64_t *state)
{
	return (float) ((double) (next_bits(state) >> 40) * 0x1p-23 - 1);
}

static inline void
fill(float *x, size_t n, float scale, uint64_t *state)
{
	for (size_t i = 0; i < n; i++)
		x[i] = scale * next_float(state);
}

static inline double
plain_dot(const float *x, const float *y, size_t dim)
{
	double lane[8] = {0, 0, 0, 0, 0, 0, 0, 0};

	for (size_t i = 0; i < dim; i++)
		lane[i % 8] = lane[i % 8] + (double) x[i] * (double) y[i];
	return ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
		   ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static inline double
plain_score(const float *x, const float *c, size_t dim, bool inner_product)
{
	if (inner_product)
		return -plain_dot(x, c, dim);
	return 0.5 * plain_dot(c, c, dim) - plain_dot(x, c, dim);
}

static inline uint16_t
plain_nearest(const float *x, const float *codewords, size_t size, size_t dim, bool inner_product)
{
	size_t best = 0;
	double best_score = plain_score(x, codewords, dim, inner_product);

	for (size_t k = 1; k < size; k++)
	{
		double s = plain_score(x, codewords + k * dim, dim, inner_product);

		if (s < best_score)
		{
			best = k;
			best_score = s;
		}
	}
	return (uint16_t) best;
}

/* x [dim] as cb's metric measures it. */
static inline void
plain_prepare(const stk_codebook *cb, const float *x, float *r)
{
	double norm = sqrt(plain_dot(x, x, (size_t) cb->dim));

	for (int i = 0; i < cb->dim; i++)
		r[i] = cb->metric == STK_COSINE ? (float) ((double) x[i] / norm) : x[i];
}

/*
 * Up to max rows of a data set in the shared folder (SEMTOK_SHARED, or shared beside the
 * checkout); NULL when it is not there. The caller frees them.
 */
static inline float *
shared_rows(const char *name, size_t max, size_t *n, size_t *dim)
{
	const char *root = getenv("SEMTOK_SHARED");
	char path[1024];
	int32_t d;
	FILE *file;
	float *x = NULL;

	snprintf(path, sizeof(path), "%s/data/%s", root ? root : "../shared", name);
	file = fopen(path, "rb");
	if (!file)
		return NULL;
	*n = 0;
	while (*n < max && fread(&d, sizeof(d), 1, file) == 1)
	{
		*dim = (size_t) d;
		if (!x)
			x = malloc(max * *dim * sizeof(float));
		if (fread(x + *n * *dim, sizeof(float), *dim, file) != *dim)
			break;
		(*n)++;
	}
	fclose(file);
	return x;
}

/* malloc, the best vector unit of this machine, this thread. */
static inline const stk_exec *
plain_exec(void)
{
	static stk_cpu cpu;
	static stk_exec exec;

	if (!exec.cpu)
	{
		stk_cpu_choose(STK_SIMD_AUTO, &cpu, NULL);
		exec = (stk_exec){.a = stk_malloc, .cpu = &cpu};
	}
	return &exec;
}

/* The same with another allocator and monitor. */
static inline stk_exec
exec_with(const stk_allocator *a, const stk_monitor *monitor)
{
	stk_exec exec = *plain_exec();

	exec.a = *a;
	exec.monitor = monitor;
	return exec;
}

/* An allocator that fails once `left` allocations have been made, and counts what lives. */
typedef struct short_memory
{
	long left;
	long live;
} short_memory;

static inline void *
short_alloc(void *ctx, size_t size)
{
	short_memory *m = ctx;

	if (m->left-- <= 0)
		return NULL;
	m->live++;
	return malloc(size ? size : 1);
}

static inline void *
short_realloc(void *ctx, void *ptr, size_t size)
{
	short_memory *m = ctx;

	if (m->left-- <= 0)
		return NULL;
	if (!ptr)
		m->live++;
	return realloc(ptr, size ? size : 1);
}

static inline void
short_free(void *ctx, void *ptr)
{
	short_memory *m = ctx;

	if (ptr)
		m->live--;
	free(ptr);
}

static inline stk_allocator
short_allocator(short_memory *m)
{
	return (stk_allocator){short_alloc, short_realloc, short_free, m};
}

/* A monitor that says stop at the n-th look. */
static inline bool
stop_countdown(void *ctx)
{
	return --*(long *) ctx < 0;
}

#endif
