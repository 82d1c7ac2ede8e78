/*
 * Codebooks that are good together: greedy training, then refinement for a beam of 5, ours beside
 * FAISS's ResidualQuantizer (Train_refine_codebook) and LocalSearchQuantizer; encoded by whoever
 * trained them.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bench.h"
#include "common/data.h"
#include "common/rival.h"
#include "common/train.h"
#include "core/refine.h"
#include "core/rq.h"

#define LEVELS 3
#define CODES 256
#define BEAM 5
#define MOST_ERROR 0.2285
#define MOST_ERROR_LONG 0.215

/* A way of training: greedy iterations from a start, then rounds of refinement for a beam. */
typedef struct plan
{
	const char *name;
	stk_init init;
	int epochs;
	int rounds;
	int beam;
} plan;

static const plan plans[] = {
	{"ours, k-means++, 5 + 18 rounds", STK_INIT_KMEANSPP, 5, 18, BEAM},
	{"ours, k-means||, 5 + 3 rounds", STK_INIT_KMEANSII, 5, 3, BEAM},
	{"ours, k-means||, 5 + 20 rounds", STK_INIT_KMEANSII, 5, 20, BEAM},
	{"ours, k-means||, 5 + 60, beam 16", STK_INIT_KMEANSII, 5, 60, 16},
};

#define PLANS (sizeof(plans) / sizeof(plans[0]))

typedef struct problem
{
	bench_rows rows;
	float *work; /* a copy that training may overwrite */
	bench_codebook cb;
	const stk_exec *exec;
	uint16_t *codes; /* [n][LEVELS] */
} problem;

static void
print_row(const char *name, int beam, double seconds, double faiss, bench_quality q)
{
	printf("%-34s %5d %9.2f", name, beam, seconds);
	if (isfinite(faiss))
		printf(" %8.2f", faiss / seconds);
	else
		printf(" %8s", "-");
	printf(" %9.5f %8llu\n", q.error, (unsigned long long) q.ids);
}

static double
run_rival(problem *p, const char *method, const char *name, double faiss)
{
	bench_answer answer;
	double seconds;

	bench_rival(&answer, "faiss_refine.py",
				"rows=%s method=%s codewords=%s codes=%s dim=%zu levels=%d bits=8 beam=%d "
				"threads=%d",
				bench_file("rows"), method, bench_file("codewords"), bench_file("codes"),
				p->rows.dim, LEVELS, BEAM, BENCH_THREADS);
	bench_read(bench_file("codewords"), p->cb.codewords, bench_codebook_floats(&p->cb),
			   sizeof(float));
	bench_read(bench_file("codes"), p->codes, p->rows.n * LEVELS, sizeof(uint16_t));
	seconds = bench_value(&answer, "shortest");
	print_row(name, BEAM, seconds, isnan(faiss) ? seconds : faiss,
			  bench_judge(p->exec, &p->cb, p->rows.x, p->rows.n, p->codes));
	return seconds;
}

/* Train and refine; seconds out. */
static bench_quality
run_plan(problem *p, const plan *plan, double faiss, double *seconds)
{
	stk_rqkmeans_options opt = bench_options(&p->cb, plan->epochs, plan->init, 1);
	stk_refine_options refine = {.beam = plan->beam, .rounds = plan->rounds, .seed = 1};
	stk_codebook view = bench_codebook_view(&p->cb);
	stk_error err = {0};
	bench_quality q;
	double began = bench_now();
	stk_rq *rq;

	memcpy(p->work, p->rows.x, p->rows.n * p->rows.dim * sizeof(float));
	bench_train(p->exec, &opt, p->work, p->rows.n, &p->cb);
	bench_check(
		"refinement",
		stk_refine(&refine, p->exec, &view, p->rows.x, p->rows.n, p->cb.codewords, NULL, &err),
		&err);
	*seconds = bench_now() - began;
	bench_check("codebook", stk_rq_create(&view, p->exec, STK_FILTER_BEST, &rq, &err), &err);
	bench_check("encoding",
				stk_rq_encode(rq, p->exec, p->rows.x, p->rows.n, plan->beam, p->codes, NULL, &err),
				&err);
	stk_rq_free(rq);
	q = bench_judge(p->exec, &p->cb, p->rows.x, p->rows.n, p->codes);
	print_row(plan->name, plan->beam, *seconds, faiss, q);
	return q;
}

int
main(void)
{
	problem p = {.rows = bench_rows_load("beauty", SIZE_MAX)};
	double faiss = NAN, quickest = INFINITY, best = INFINITY;
	bench_exec e;

	printf("Refined codebooks, %d levels of %d codewords, %d threads: one run each\n\n", LEVELS,
		   CODES, BENCH_THREADS);
	bench_exec_start(&e, STK_SIMD_AUTO, BENCH_THREADS);
	p.exec = &e.exec;
	p.work = bench_alloc(p.rows.n * p.rows.dim, sizeof(float));
	p.cb = bench_codebook_new(LEVELS, CODES, p.rows.dim);
	p.codes = bench_alloc(p.rows.n * LEVELS, sizeof(uint16_t));
	printf("%s, %zu x %zu\n", p.rows.name, p.rows.n, p.rows.dim);
	printf("%-34s %5s %9s %8s %9s %8s\n", "", "beam", "seconds", "x FAISS", "error", "ids");
	if (bench_rivals())
	{
		bench_write(bench_file("rows"), p.rows.x, p.rows.n * p.rows.dim, sizeof(float));
		faiss = run_rival(&p, "rq", "FAISS RQ Train_refine_codebook", NAN);
		run_rival(&p, "lsq", "FAISS LocalSearchQuantizer", faiss);
	}
	for (size_t i = 0; i < PLANS; i++)
	{
		double seconds;
		bench_quality q = run_plan(&p, &plans[i], faiss, &seconds);

		if (q.error <= MOST_ERROR)
			quickest = fmin(quickest, seconds);
		best = fmin(best, q.error);
	}
	printf("\nseconds: all of training; error: mean squared distance of a row from the sum of its\n"
		   "codewords, encoded with the beam; ids: distinct among the rows\n\n");
	if (!p.rows.real || isnan(faiss))
		bench_goal_open("error at most 0.2285 in a third of FAISS's time",
						p.rows.real ? "the rival is not installed" : "the data set is not here");
	else
		bench_goal(quickest <= faiss / 3, "error at most 0.2285 in a third of FAISS's time",
				   "%.2f s of %.2f s", quickest, faiss / 3);
	if (p.rows.real)
		bench_goal(best <= MOST_ERROR_LONG, "error at most 0.215 with more time", "%.5f", best);
	bench_exec_stop(&e);
	bench_rows_free(&p.rows);
	bench_codebook_free(&p.cb);
	free(p.work);
	free(p.codes);
	return 0;
}
