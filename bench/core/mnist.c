/*
 * k-means of MNIST's 60,000 images of 784 pixels, 256 codewords, 25 iterations: ours beside FAISS
 * and scikit-learn, all from the same initial codewords, then ours from the start of its own.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/bench.h"
#include "common/data.h"
#include "common/peak.h"
#include "common/rival.h"
#include "common/train.h"

#define CODES 256
#define EPOCHS 25
#define TIMES 2

typedef struct problem
{
	bench_rows rows;
	float *work; /* a copy that training may sort */
	bench_codebook cb;
	stk_rqkmeans_options opt;
	const stk_exec *exec;
} problem;

static void
train(void *arg)
{
	problem *p = arg;

	bench_train(p->exec, &p->opt, p->work, p->rows.n, &p->cb);
}

/* Returns the objective. */
static double
print_row(const char *name, const problem *p, bench_time took)
{
	double error = bench_judge(p->exec, &p->cb, p->rows.x, p->rows.n, NULL).error;

	printf("%-34s %8.0f %8.0f %14.8g\n", name, took.shortest * 1e3, took.median * 1e3, error);
	return error;
}

static void
judge(const char *start, const char *rival, bench_time theirs, double their_error, bench_time ours,
	  double our_error)
{
	char what[96];

	snprintf(what, sizeof(what), "%s: faster than %s", start, rival);
	bench_goal(ours.shortest < theirs.shortest, what, "%.2f times",
			   theirs.shortest / ours.shortest);
	snprintf(what, sizeof(what), "%s: objective no worse than %s's", start, rival);
	bench_goal_objective(what, our_error, their_error);
}

int
main(void)
{
	problem p = {.rows = bench_rows_load("mnist", SIZE_MAX)};
	float *start = bench_alloc(CODES * p.rows.dim, sizeof(float));
	double error, faiss_error = NAN, sklearn_error = NAN;
	bench_trained faiss, sklearn;
	double default_error;
	bench_time took, default_took;
	bench_exec e;

	printf("k-means of MNIST, %d codewords, %d iterations, %d threads: shortest of %d\n\n", CODES,
		   EPOCHS, BENCH_THREADS, TIMES);
	bench_exec_start(&e, STK_SIMD_AUTO, BENCH_THREADS);
	p.exec = &e.exec;
	p.cb = bench_codebook_new(1, CODES, p.rows.dim);
	p.opt = bench_options(&p.cb, EPOCHS, STK_INIT_RANDOM, 1);
	p.work = bench_copy(p.rows.x, p.rows.n * p.rows.dim);
	printf("%s, %zu x %zu\n", p.rows.name, p.rows.n, p.rows.dim);
	printf("%-34s %8s %8s %14s\n", "", "ms", "median", "objective");
	took = bench_measure(TIMES, train, &p);
	error = print_row("ours, the same start (random rows)", &p, took);
	p.opt.init = STK_INIT_KMEANSII;
	default_took = bench_measure(TIMES, train, &p);
	default_error = print_row("ours, k-means||, the default", &p, default_took);
	p.opt.init = STK_INIT_RANDOM;
	bench_start(&e.exec, &p.opt, p.work, p.rows.n, start);
	if (bench_train_faiss(&p.rows, EPOCHS, false, start, TIMES, &p.cb, &faiss))
		faiss_error = print_row("FAISS Kmeans", &p, faiss.time);
	if (bench_train_sklearn(&p.rows, EPOCHS, start, TIMES, &p.cb, &sklearn))
		sklearn_error = print_row("scikit-learn KMeans, lloyd", &p, sklearn.time);

	printf(
		"\nobjective: mean squared distance to the nearest codeword, exactly, after training\n\n");
	if (bench_rivals())
	{
		judge("the same start", "FAISS", faiss.time, faiss_error, took, error);
		judge("the same start", "scikit-learn", sklearn.time, sklearn_error, took, error);
		judge("the default", "FAISS", faiss.time, faiss_error, default_took, default_error);
		judge("the default", "scikit-learn", sklearn.time, sklearn_error, default_took,
			  default_error);
	}
	else
		bench_goal_open("faster than FAISS and scikit-learn", "the rivals are not installed");
	bench_exec_stop(&e);
	bench_rows_free(&p.rows);
	bench_codebook_free(&p.cb);
	free(p.work);
	free(start);
	return 0;
}
