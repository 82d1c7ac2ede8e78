/*
 * The nearest of 512 codewords for 50,000 rows of 128 dimensions: each of our paths as a share of
 * what the processor could do, beside FAISS's flat index, and who was wrong.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/bench.h"
#include "common/data.h"
#include "common/peak.h"
#include "common/rival.h"
#include "common/train.h"
#include "core/fpenv.h"

#define CODES 512
#define EPOCHS 5
#define TIMES 10
#define TIMES_SLOW 2
/* Its threads suffer more from whatever else runs. */
#define TIMES_RIVAL 30

typedef struct path
{
	const char *name;
	stk_simd simd;
	stk_filter filter;
	bench_unit unit;
} path;

static const path paths[] = {
	{"bf16 filter, AVX-512", STK_SIMD_AVX512, STK_FILTER_BFLOAT16, BENCH_BF16},
	{"fp32 filter, AVX-512", STK_SIMD_AVX512, STK_FILTER_BINARY32, BENCH_FP32},
	{"fp32 filter, AVX2", STK_SIMD_AVX2, STK_FILTER_BINARY32, BENCH_FP32},
	{"fp32 filter, NEON", STK_SIMD_NEON, STK_FILTER_BINARY32, BENCH_FP32},
	{"fp32 filter, portable C", STK_SIMD_SCALAR, STK_FILTER_BINARY32, BENCH_FP32},
};

#define PATHS (sizeof(paths) / sizeof(paths[0]))

/* What the goals are judged by. */
typedef struct outcome
{
	double fp32_share, bf16_share; /* of the peak */
	double times_faiss;
	size_t wrong;
} outcome;

/* One data set with its codewords and true answers. */
typedef struct problem
{
	bench_rows rows;
	bench_codebook cb;
	uint16_t *truth;      /* [n] */
	double *truth_score;  /* [n] */
	const stk_exec *exec; /* of the path being measured */
	const stk_pack *pack;
	uint16_t *codes; /* [n] */
	stk_nearest_stats stats;
} problem;

/* |c|^2 / 2 - x.c in binary64 by the reference's rule, written once more for the proof. */
static double
plain_score(const float *x, const float *c, size_t dim)
{
	double dot[8] = {0}, norm[8] = {0};

	for (size_t i = 0; i < dim; i++)
	{
		dot[i % 8] += (double) x[i] * (double) c[i];
		norm[i % 8] += (double) c[i] * (double) c[i];
	}
#define TOTAL(lane)                                                                                \
	(((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7])))
	return 0.5 * TOTAL(norm) - TOTAL(dot);
#undef TOTAL
}

static void
find_truth(void *arg, size_t row, int thread)
{
	problem *p = arg;
	const float *x = p->rows.x + row * p->rows.dim;

	(void) thread;
	p->truth_score[row] = INFINITY;
	for (uint32_t k = 0; k < CODES; k++)
	{
		double score = plain_score(x, p->cb.codewords + k * p->cb.dim, p->cb.dim);

		if (score < p->truth_score[row])
		{
			p->truth_score[row] = score;
			p->truth[row] = (uint16_t) k;
		}
	}
}

static void
find_nearest(void *arg)
{
	problem *p = arg;

	p->stats = (stk_nearest_stats){0};
	bench_check("nearest",
				stk_nearest_rows(p->exec, p->pack, p->rows.x, p->rows.n, p->codes, NULL, &p->stats),
				NULL);
}

static size_t
count_wrong(const problem *p)
{
	size_t wrong = 0;

	for (size_t i = 0; i < p->rows.n; i++)
		wrong += p->codes[i] != p->truth[i];
	return wrong;
}

/* Of a rival: equally near codewords are all right. */
static size_t
count_farther(const problem *p)
{
	size_t farther = 0;

	for (size_t i = 0; i < p->rows.n; i++)
		farther +=
			plain_score(p->rows.x + i * p->rows.dim, p->cb.codewords + p->codes[i] * p->cb.dim,
						p->cb.dim) > p->truth_score[i];
	return farther;
}

static double
gigaflops(const problem *p, double seconds)
{
	return 2e-9 * (double) p->rows.n * CODES * (double) p->rows.dim / seconds;
}

/* Seconds that FAISS takes; NAN without it. */
static double
run_faiss(problem *p)
{
	bench_answer answer;
	double seconds;

	if (!bench_rivals())
		return NAN;
	bench_write(bench_file("rows"), p->rows.x, p->rows.n * p->rows.dim, sizeof(float));
	bench_write(bench_file("codewords"), p->cb.codewords, CODES * p->cb.dim, sizeof(float));
	bench_rival(&answer, "faiss_nearest.py",
				"rows=%s codewords=%s codes=%s dim=%zu threads=%d times=%d", bench_file("rows"),
				bench_file("codewords"), bench_file("codes"), p->rows.dim, BENCH_THREADS,
				TIMES_RIVAL);
	bench_read(bench_file("codes"), p->codes, p->rows.n, sizeof(uint16_t));
	seconds = bench_value(&answer, "shortest");
	printf("%-26s %8.1f %8.1f %9.0f %7s %8s %6zu\n", "FAISS IndexFlatL2", seconds * 1e3,
		   bench_value(&answer, "median") * 1e3, gigaflops(p, seconds), "", "1.00",
		   count_farther(p));
	return seconds;
}

/* One path; nothing where this machine has not got it. */
static void
run_path(problem *p, const path *way, double faiss, outcome *out)
{
	bench_exec e;
	stk_pack pack;
	stk_fpenv env;
	bench_time took;
	double share, began, packing;
	size_t wrong;

	if (!bench_exec_start(&e, way->simd, BENCH_THREADS))
		return;
	if (way->filter == STK_FILTER_BFLOAT16 && !e.cpu.bfloat16)
	{
		bench_exec_stop(&e);
		return;
	}
	env = stk_fpenv_enter();
	bench_check("pack", stk_pack_init(&pack, &e.exec, way->filter, true, CODES, p->cb.dim, false),
				NULL);
	began = bench_now();
	bench_check("packing", stk_pack_fill(&pack, p->cb.codewords, NULL), NULL);
	packing = bench_now() - began;
	stk_fpenv_leave(env);
	p->exec = &e.exec;
	p->pack = &pack;
	took = bench_measure(way->simd == STK_SIMD_SCALAR ? TIMES_SLOW : TIMES, find_nearest, p);
	share = gigaflops(p, took.shortest) / bench_peak(way->simd, way->unit, e.exec.pool);
	wrong = count_wrong(p);
	printf("%-26s %8.1f %8.1f %9.0f", way->name, took.shortest * 1e3, took.median * 1e3,
		   gigaflops(p, took.shortest));
	if (isfinite(share))
		printf(" %5.0f %%", share * 100);
	else
		printf(" %7s", "-");
	if (isfinite(faiss))
		printf(" %8.2f", faiss / took.shortest);
	else
		printf(" %8s", "-");
	printf(" %6zu %8.2f %% %6.1f %7.2f\n", wrong,
		   100.0 * (double) (p->stats.undecided + p->stats.reference) / (double) p->rows.n,
		   p->stats.undecided ? (double) p->stats.candidates / (double) p->stats.undecided : 0,
		   packing * 1e3);
	out->wrong += wrong;
	if (way->unit == BENCH_BF16)
		out->bf16_share = share;
	else if (way->simd == STK_SIMD_AVX512)
		out->fp32_share = share;
	if (faiss / took.shortest > out->times_faiss)
		out->times_faiss = faiss / took.shortest;
	stk_pack_free(&pack);
	bench_exec_stop(&e);
}

static outcome
run_problem(const char *name)
{
	problem p = {.rows = bench_rows_load(name, 50000)};
	outcome out = {0};
	bench_exec e;
	stk_rqkmeans_options opt;
	double faiss;
	float *copy;

	p.cb = bench_codebook_new(1, CODES, p.rows.dim);
	p.truth = bench_alloc(p.rows.n, sizeof(uint16_t));
	p.truth_score = bench_alloc(p.rows.n, sizeof(double));
	p.codes = bench_alloc(p.rows.n, sizeof(uint16_t));
	bench_exec_start(&e, STK_SIMD_AUTO, BENCH_THREADS);
	opt = bench_options(&p.cb, EPOCHS, STK_INIT_RANDOM, 1);
	copy = bench_copy(p.rows.x, p.rows.n * p.rows.dim);
	bench_train(&e.exec, &opt, copy, p.rows.n, &p.cb);
	free(copy);
	stk_run(e.exec.pool, find_truth, &p, p.rows.n);
	bench_exec_stop(&e);

	printf("%s, %zu x %zu\n", p.rows.name, p.rows.n, p.rows.dim);
	printf("%-26s %8s %8s %9s %7s %8s %6s %10s %6s %7s\n", "", "ms", "median", "GFLOP/s", "of peak",
		   "x FAISS", "wrong", "re-scored", "left", "pack ms");
	faiss = run_faiss(&p);
	out.times_faiss = isfinite(faiss) ? 0 : NAN;
	for (size_t i = 0; i < PATHS; i++)
		run_path(&p, &paths[i], faiss, &out);
	printf("\n");
	bench_rows_free(&p.rows);
	bench_codebook_free(&p.cb);
	free(p.truth);
	free(p.truth_score);
	free(p.codes);
	return out;
}

static void
judge_peaks(const outcome *real, size_t wrong)
{
	bench_goal(wrong == 0, "no wrong code against binary64", "%zu", wrong);
	if (real->fp32_share > 0)
		bench_goal(real->fp32_share >= 0.85, "fp32 filter at 85 % of the fp32 peak", "%.0f %%",
				   real->fp32_share * 100);
	else
		bench_goal_open("fp32 filter at 85 % of the fp32 peak", "no AVX-512");
	if (real->bf16_share > 0)
		bench_goal(real->bf16_share >= 0.65, "bf16 filter at 65 % of the bf16 peak", "%.0f %%",
				   real->bf16_share * 100);
	else
		bench_goal_open("bf16 filter at 65 % of the bf16 peak", "no AVX-512 with bf16");
}

int
main(void)
{
	static const char *const names[] = {"mnist128", "sift5k", "clustered", "normal"};
	outcome outcomes[sizeof(names) / sizeof(names[0])];
	size_t wrong = 0;
	char what[96];

	printf("Nearest of %d codewords, %d threads: shortest of %d\n\n", CODES, BENCH_THREADS, TIMES);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		outcomes[i] = run_problem(names[i]);
		wrong += outcomes[i].wrong;
	}
	printf(
		"re-scored: rows that the filter left undecided; left: codewords they were left with\n"
		"wrong: ours against the reference in binary64; FAISS's only where another is nearer\n\n");
	judge_peaks(&outcomes[0], wrong);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		snprintf(what, sizeof(what), "%s: as fast as FAISS", names[i]);
		bench_goal_times(what, 4, 2.4, outcomes[i].times_faiss);
	}
	return 0;
}
