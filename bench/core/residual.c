/*
 * Residual k-means on text embeddings: three levels of 256 codewords, 25 iterations each, ours and
 * FAISS's k-means level by level.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bench.h"
#include "common/data.h"
#include "common/peak.h"
#include "common/rival.h"
#include "common/train.h"

#define LEVELS 3
#define CODES 256
#define EPOCHS 25
#define TIMES 3
#define MOST_ERROR 0.2493

typedef struct problem
{
	bench_rows rows;
	float *work; /* a copy that training may overwrite */
	bench_codebook cb;
	stk_rqkmeans_options opt;
	const stk_exec *exec;
} problem;

static void
train(void *arg)
{
	problem *p = arg;

	memcpy(p->work, p->rows.x, p->rows.n * p->rows.dim * sizeof(float));
	bench_train(p->exec, &p->opt, p->work, p->rows.n, &p->cb);
}

static bench_quality
print_row(const char *name, const problem *p, bench_time took, double faiss)
{
	bench_quality q = bench_judge(p->exec, &p->cb, p->rows.x, p->rows.n, NULL);

	printf("%-30s %8.0f %8.0f", name, took.shortest * 1e3, took.median * 1e3);
	if (isfinite(faiss))
		printf(" %8.2f", faiss / took.shortest);
	else
		printf(" %8s", "-");
	printf(" %9.5f %8llu\n", q.error, (unsigned long long) q.ids);
	return q;
}

int
main(void)
{
	problem p = {.rows = bench_rows_load("beauty", SIZE_MAX)};
	double faiss = NAN;
	static const struct
	{
		const char *name;
		stk_init init;
	} starts[] = {{"random rows", STK_INIT_RANDOM},
				  {"k-means++", STK_INIT_KMEANSPP},
				  {"k-means||, the default", STK_INIT_KMEANSII}};
	bench_quality quality[3];
	bench_time took[3];
	bench_trained t;
	bench_exec e;

	printf("Residual k-means, %d levels of %d codewords, %d iterations, %d threads: shortest of "
		   "%d\n\n",
		   LEVELS, CODES, EPOCHS, BENCH_THREADS, TIMES);
	bench_exec_start(&e, STK_SIMD_AUTO, BENCH_THREADS);
	p.exec = &e.exec;
	p.work = bench_alloc(p.rows.n * p.rows.dim, sizeof(float));
	p.cb = bench_codebook_new(LEVELS, CODES, p.rows.dim);
	printf("%s, %zu x %zu\n", p.rows.name, p.rows.n, p.rows.dim);
	printf("%-30s %8s %8s %8s %9s %8s\n", "", "ms", "median", "x FAISS", "error", "ids");
	if (bench_train_faiss(&p.rows, EPOCHS, false, NULL, TIMES, &p.cb, &t))
	{
		faiss = t.time.shortest;
		print_row("FAISS Kmeans, random rows", &p, t.time, faiss);
		bench_train_faiss(&p.rows, EPOCHS, true, NULL, TIMES, &p.cb, &t);
		print_row("FAISS Kmeans, k-means++", &p, t.time, faiss);
	}
	for (int i = 0; i < 3; i++)
	{
		char name[64];

		p.opt = bench_options(&p.cb, EPOCHS, starts[i].init, 1);
		took[i] = bench_measure(TIMES, train, &p);
		snprintf(name, sizeof(name), "ours, %s", starts[i].name);
		quality[i] = print_row(name, &p, took[i], faiss);
	}

	printf("\nerror: mean squared distance of a row from the sum of its codewords, found greedily\n"
		   "ids: distinct among the rows\n\n");
	for (int i = 0; i < 3; i++)
	{
		char what[96];

		snprintf(what, sizeof(what), "%s: as fast as FAISS", starts[i].name);
		bench_goal_times(what, 3, 2, faiss / took[i].shortest);
		snprintf(what, sizeof(what), "%s: error at most %g", starts[i].name, MOST_ERROR);
		if (p.rows.real)
			bench_goal(quality[i].error <= MOST_ERROR, what, "%.5f", quality[i].error);
		else
			bench_goal_open(what, "the data set is not here");
	}
	bench_exec_stop(&e);
	bench_rows_free(&p.rows);
	bench_codebook_free(&p.cb);
	free(p.work);
	return 0;
}
