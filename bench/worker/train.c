/*
 * The training that bench/worker/train.sh asks of SQL, in this process: prints its shortest
 * seconds, and the error that it comes to.
 *
 *   worker-train SAMPLE ROWS      so many of the rows that the script's table has: text embeddings,
 *                                 repeated with another first value each time
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bench.h"
#include "common/data.h"
#include "core/philox.h"
#include "core/train.h"

#define TIMES 3

typedef struct problem
{
	float *x; /* [n][dim] */
	size_t n, dim;
	const stk_exec *exec;
	stk_train_plan plan;
	stk_train_result result;
} problem;

static stk_status
read_rows(void *ctx, size_t first, size_t count, float *x, stk_error *err)
{
	const problem *p = ctx;

	(void) err;
	memcpy(x, p->x + first * p->dim, count * p->dim * sizeof(float));
	return STK_OK;
}

static void
train(void *arg)
{
	problem *p = arg;
	stk_rows rows = {.n = p->n, .read = read_rows, .ctx = p};
	stk_error err;

	bench_check("train", stk_train(&p->plan, p->exec, &rows, NULL, NULL, NULL, &p->result, &err),
				&err);
}

int
main(int argc, char **argv)
{
	bench_rows data = bench_rows_load("beauty", SIZE_MAX);
	problem p = {.n = argc > 1 ? (size_t) atol(argv[1]) : 65536, .dim = data.dim};
	size_t rows = argc > 2 ? (size_t) atol(argv[2]) : 1000000;
	bench_time took;
	bench_exec e;

	/* As semtok.train's defaults are. */
	p.plan = (stk_train_plan){.method = STK_TRAIN_RQKMEANS,
							  .metric = STK_L2,
							  .levels = 3,
							  .sizes = {256, 256, 256},
							  .dim = (int) data.dim,
							  .epochs = 25,
							  .init = STK_INIT_KMEANSII,
							  .seed = 42,
							  .empty = STK_EMPTY_KEEP,
							  .beam = 1};
	p.x = bench_alloc(p.n * p.dim, sizeof(float));
	for (size_t i = 0; i < p.n; i++)
	{
		size_t row = stk_below(stk_random(7, STK_RANDOM_ORDER, 0, 0, i), rows);

		memcpy(p.x + i * p.dim, data.x + row % data.n * p.dim, p.dim * sizeof(float));
		p.x[i * p.dim] = (float) ((double) (row + 1) / 1e8);
	}
	p.result.codewords = bench_alloc(3 * 256 * p.dim, sizeof(float));
	p.result.counts = bench_alloc(3 * 256, sizeof(double));
	bench_exec_start(&e, STK_SIMD_AUTO, BENCH_THREADS);
	p.exec = &e.exec;
	took = bench_measure(TIMES, train, &p);
	printf("%.4f %.6f\n", took.shortest, p.result.rows.mse);
	bench_exec_stop(&e);
	return 0;
}
