/*
 * How the time of greedy encoding grows with the rows, the dimension, the codewords and the levels:
 * four sweeps around one middle, on made-up rows.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/bench.h"
#include "common/data.h"
#include "common/train.h"
#include "core/rq.h"

#define POINTS 5
#define TIMES 9

typedef struct shape
{
	size_t n, dim;
	uint32_t size;
	int levels;
} shape;

typedef struct problem
{
	shape s;
	const stk_exec *exec;
	stk_rq *rq;
	const float *x;
	uint16_t *codes;
} problem;

static void
encode(void *arg)
{
	problem *p = arg;
	stk_error err = {0};

	bench_check("encoding", stk_rq_encode(p->rq, p->exec, p->x, p->s.n, 1, p->codes, NULL, &err),
				&err);
}

/* Milliseconds to encode rows of this shape. */
static double
measure(const stk_exec *exec, const shape *s)
{
	problem p = {.s = *s, .exec = exec};
	bench_codebook cb = bench_codebook_new(s->levels, s->size, s->dim);
	stk_codebook view = bench_codebook_view(&cb);
	float *x = bench_alloc(s->n * s->dim, sizeof(float));
	stk_error err = {0};
	double took;

	bench_fill_clustered(x, s->n, s->dim, 1);
	/* Each level finer than the one before, as training would leave them. */
	for (int l = 0; l < s->levels; l++)
	{
		float *level = cb.codewords + (size_t) l * s->size * s->dim;

		bench_fill_normal(level, s->size * s->dim, 100 + (uint64_t) l);
		for (size_t i = 0; i < s->size * s->dim; i++)
			level[i] = ldexpf(level[i], -l);
	}
	bench_check("codebook", stk_rq_create(&view, exec, STK_FILTER_BEST, &p.rq, &err), &err);
	p.x = x;
	p.codes = bench_alloc(s->n * (size_t) s->levels, sizeof(uint16_t));
	took = bench_measure(TIMES, encode, &p).shortest * 1e3;
	stk_rq_free(p.rq);
	bench_codebook_free(&cb);
	free(x);
	free(p.codes);
	return took;
}

int
main(void)
{
	static const shape middle = {20000, 128, 256, 3};
	static const struct
	{
		const char *name;
		size_t values[POINTS];
	} sweeps[] = {
		{"rows", {5000, 10000, 20000, 40000, 80000}},
		{"dimension", {32, 64, 128, 256, 512}},
		{"codewords", {64, 128, 256, 512, 1024}},
		{"levels", {1, 2, 3, 4, 6}},
	};
	bench_exec e;

	printf("How encoding grows, %d threads: shortest of %d\n\n", BENCH_THREADS, TIMES);
	bench_exec_start(&e, STK_SIMD_AUTO, BENCH_THREADS);
	printf("around %zu rows, %zu dimensions, %u codewords, %d levels; made-up rows\n", middle.n,
		   middle.dim, middle.size, middle.levels);
	for (size_t i = 0; i < sizeof(sweeps) / sizeof(sweeps[0]); i++)
	{
		double first = 0;

		printf("\n%-10s %8s %12s %22s\n", sweeps[i].name, "ms", "GFLOP/s", "ms for each, of first");
		for (size_t j = 0; j < POINTS; j++)
		{
			size_t value = sweeps[i].values[j];
			shape s = middle;
			double ms, each;

			if (i == 0)
				s.n = value;
			else if (i == 1)
				s.dim = value;
			else if (i == 2)
				s.size = (uint32_t) value;
			else
				s.levels = (int) value;
			ms = measure(&e.exec, &s);
			each = ms / (double) value;
			if (j == 0)
				first = each;
			printf("%-10zu %8.2f %12.0f %22.2f\n", value, ms,
				   2e-6 * (double) s.n * (double) s.dim * s.size * s.levels / ms, each / first);
		}
	}
	bench_exec_stop(&e);
	return 0;
}
