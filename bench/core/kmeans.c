/*
 * k-means of 50,000 rows of 128 dimensions, 512 codewords, 25 iterations: ours beside FAISS's, and
 * beside the textbook's on plain loops, on one large matrix product and on tiles of it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/bench.h"
#include "common/blas.h"
#include "common/lloyd.h"
#include "common/peak.h"
#include "common/rival.h"
#include "common/train.h"

#define CODES 512
#define EPOCHS 25
#define TIMES 3
/* Plain loops are too slow for all of them: their time is for one iteration, times EPOCHS. */
#define LOOP_EPOCHS 1

/* One data set, the start that all share, and what is being measured. */
typedef struct problem
{
	bench_rows rows;
	float *work;  /* a copy of the rows that ours may sort */
	float *start; /* [CODES][dim] */
	bench_codebook cb;
	stk_rqkmeans_options opt;
	bench_way way;
	const stk_exec *exec; /* NULL: start one */
} problem;

static void
train_ours(void *arg)
{
	problem *p = arg;
	bench_exec e = {0};

	if (!p->exec)
		bench_exec_start(&e, STK_SIMD_AUTO, BENCH_THREADS);
	bench_train(p->exec ? p->exec : &e.exec, &p->opt, p->work, p->rows.n, &p->cb);
	bench_exec_stop(&e);
}

static void
train_textbook(void *arg)
{
	problem *p = arg;
	bench_exec e = {0};

	for (size_t i = 0; i < CODES * p->cb.dim; i++)
		p->cb.codewords[i] = p->start[i];
	if (!p->exec)
		bench_exec_start(&e, STK_SIMD_AUTO, BENCH_THREADS);
	bench_lloyd(p->way, &p->rows, p->opt.epochs, p->exec ? p->exec->pool : e.exec.pool, &p->cb);
	bench_exec_stop(&e);
}

static double
objective(const stk_exec *exec, const problem *p)
{
	return bench_judge(exec, &p->cb, p->rows.x, p->rows.n, NULL).error;
}

static void
print_row(const char *name, const bench_trained *t, double faiss, double error)
{
	printf("%-34s %8.0f %8.0f", name, t->time.shortest * 1e3, t->time.median * 1e3);
	if (isfinite(faiss))
		printf(" %8.2f", faiss / t->time.shortest);
	else
		printf(" %8s", "-");
	if (isfinite(error))
		printf(" %14.7g", error);
	else
		printf(" %14s", "");
	if (isfinite(t->memory))
		printf(" %8.1f", t->memory / 1024);
	printf("\n");
}

/* The same training, timed on threads that are there, and its memory in a process of its own. */
static bench_trained
measure(problem *p, const stk_exec *exec, void (*train)(void *arg), int times)
{
	bench_trained t;

	/* More iterations need no more memory. */
	int epochs = p->opt.epochs;

	p->exec = NULL;
	p->opt.epochs = 2;
	t.memory = bench_memory(train, p);
	p->exec = exec;
	p->opt.epochs = epochs;
	t.time = bench_measure(times, train, p);
	return t;
}

static bench_trained
measure_textbook(problem *p, const stk_exec *exec, bench_way way)
{
	bench_trained t;

	p->way = way;
	p->opt.epochs = way == BENCH_LOOPS ? LOOP_EPOCHS : EPOCHS;
	t = measure(p, exec, train_textbook, way == BENCH_LOOPS ? 1 : TIMES);
	t.time.shortest *= (double) EPOCHS / p->opt.epochs;
	t.time.median *= (double) EPOCHS / p->opt.epochs;
	return t;
}

typedef struct outcome
{
	double times_faiss; /* from the same start */
	double objective, faiss_objective;
	double seconds, best_other; /* of the four ways */
	double memory;              /* kB */
} outcome;

static outcome
run_problem(const char *name, bool all_ways)
{
	problem p = {.rows = bench_rows_load(name, 50000)};
	size_t floats = p.rows.n * p.rows.dim;
	outcome out = {NAN, NAN, NAN, NAN, INFINITY, NAN};
	double faiss = NAN;
	bench_trained ours, plus, t;
	bench_exec e;

	bench_exec_start(&e, STK_SIMD_AUTO, BENCH_THREADS);
	p.cb = bench_codebook_new(1, CODES, p.rows.dim);
	p.start = bench_alloc(CODES * p.rows.dim, sizeof(float));
	p.work = bench_copy(p.rows.x, floats);
	p.opt = bench_options(&p.cb, EPOCHS, STK_INIT_RANDOM, 1);
	printf("%s, %zu x %zu\n", p.rows.name, p.rows.n, p.rows.dim);
	printf("%-34s %8s %8s %8s %14s %8s\n", "", "ms", "median", "x FAISS", "objective", "MB");

	ours = measure(&p, &e.exec, train_ours, TIMES);
	out.objective = objective(&e.exec, &p);
	bench_start(&e.exec, &p.opt, p.work, p.rows.n, p.start);
	if (bench_train_faiss(&p.rows, EPOCHS, false, p.start, TIMES, &p.cb, &t))
	{
		faiss = t.time.shortest;
		out.faiss_objective = objective(&e.exec, &p);
		print_row("FAISS Kmeans, the same start", &t, faiss, out.faiss_objective);
		bench_train_faiss(&p.rows, EPOCHS, true, NULL, TIMES, &p.cb, &t);
		print_row("FAISS Kmeans, its k-means++", &t, faiss, objective(&e.exec, &p));
	}
	print_row("ours, the same start (random rows)", &ours, faiss, out.objective);
	p.opt.init = STK_INIT_KMEANSPP;
	plus = measure(&p, &e.exec, train_ours, TIMES);
	print_row("ours, k-means++", &plus, faiss, objective(&e.exec, &p));
	out.times_faiss = faiss / ours.time.shortest;
	out.seconds = ours.time.shortest;
	out.memory = ours.memory;
	if (all_ways && bench_blas())
	{
		t = measure_textbook(&p, &e.exec, BENCH_TILES);
		out.best_other = t.time.shortest;
		print_row("textbook on tiled sgemm (OpenBLAS)", &t, faiss, objective(&e.exec, &p));
		t = measure_textbook(&p, &e.exec, BENCH_PRODUCT);
		out.best_other = fmin(out.best_other, t.time.shortest);
		print_row("textbook on one sgemm (OpenBLAS)", &t, faiss, objective(&e.exec, &p));
	}
	if (all_ways)
	{
		t = measure_textbook(&p, &e.exec, BENCH_LOOPS);
		out.best_other = fmin(out.best_other, t.time.shortest);
		print_row("textbook in plain loops (1 of 25)", &t, faiss, NAN);
	}
	printf("\n");
	bench_exec_stop(&e);
	bench_rows_free(&p.rows);
	bench_codebook_free(&p.cb);
	free(p.start);
	free(p.work);
	return out;
}

static void
judge(const char *name, const outcome *out)
{
	char what[96];

	snprintf(what, sizeof(what), "%s: as fast as FAISS from the same start", name);
	bench_goal_times(what, 3.5, 2, out->times_faiss);
	snprintf(what, sizeof(what), "%s: objective no worse than FAISS's", name);
	bench_goal_objective(what, out->objective, out->faiss_objective);
}

int
main(void)
{
	outcome real, normal;

	printf("k-means, %d codewords, %d iterations, %d threads: shortest of %d\n\n", CODES, EPOCHS,
		   BENCH_THREADS, TIMES);
	real = run_problem("mnist128", true);
	normal = run_problem("normal", false);
	printf("objective: mean squared distance to the nearest codeword, exactly, after training\n"
		   "MB: the most memory beside the rows\n\n");
	judge("mnist128", &real);
	judge("normal", &normal);
	bench_goal(real.seconds < real.best_other, "ours the fastest of four ways",
			   "%.0f ms, the next %.0f ms", real.seconds * 1e3, real.best_other * 1e3);
	bench_goal(real.memory * 1024 < 50000.0 * CODES * sizeof(float) / 10,
			   "memory far below rows x codewords", "%.1f MB of %.0f MB", real.memory / 1024,
			   50000.0 * CODES * sizeof(float) / 0x1p20);
	return 0;
}
