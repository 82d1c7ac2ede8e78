/*
 * Each way of training at its defaults and at the best of eight points, three seeds.
 *
 * The eight points are the same for all: half, once, twice and four times the epochs (or rounds of
 * refinement) of the defaults, each encoded greedily and with a beam of 8, where a method has one;
 * the best is that of the least error on the rows held out, by the first seed.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rival.h"
#include "core/rq.h"
#include "core/rqvae.h"
#include "core/train.h"
#include "methods.h"

#define LEVELS 3
#define CODES 256
#define SEEDS 3
#define POINTS 8
#define WIDE 8

/* How long and how wide a run is, beside its method's defaults. */
typedef struct point
{
	double length; /* times the epochs, or rounds */
	int beam;
} point;

static const point defaults = {1, 1};
static const point points[POINTS] = {{0.5, 1}, {0.5, WIDE}, {1, 1}, {1, WIDE},
									 {2, 1},   {2, WIDE},   {4, 1}, {4, WIDE}};

/* The problem that all methods are given. */
typedef struct problem
{
	const stk_exec *exec;
	quality_data data;
	uint16_t *codes; /* [n][LEVELS] of the method that ran last */
	float *again;    /* [n][dim] what they decode to */
} problem;

typedef struct method
{
	const char *name;
	/* Run it, and leave codes and what they decode to in the problem; false: it is not here. */
	bool (*run)(const struct method *m, problem *p, const point *at, uint64_t seed,
				double *seconds);
	bool narrow; /* it encodes greedily only */

	/* Ours: a plan, or that of an RQ-VAE's preset, for so many epochs as `epochs` says. */
	stk_train_plan plan;
	stk_rqvae_preset preset;

	/* Rivals': the script, and what it is told. */
	const char *script;
	const char *told;
	int epochs;
} method;

static int
scaled(int number, double length)
{
	return number == 0 ? 0 : (int) fmax(1, round(number * length));
}

typedef struct memory_rows
{
	const float *x;
	size_t dim;
} memory_rows;

static stk_status
read_memory(void *ctx, size_t first, size_t count, float *x, stk_error *err)
{
	const memory_rows *rows = ctx;

	(void) err;
	memcpy(x, rows->x + first * rows->dim, count * rows->dim * sizeof(float));
	return STK_OK;
}

/* Encode all rows and decode the codes again. */
static void
use_codebook(problem *p, const stk_codebook *cb, int beam)
{
	size_t n = p->data.all.n, dim = p->data.all.dim;
	stk_error err = {0};
	stk_rq *rq;

	bench_check("codebook", stk_rq_create(cb, p->exec, STK_FILTER_BEST, &rq, &err), &err);
	bench_check("encoding",
				stk_rq_encode(rq, p->exec, p->data.all.x, n, beam, p->codes, NULL, &err), &err);
	for (size_t i = 0; i < n; i++)
		bench_check("decoding",
					stk_rq_reconstruct(cb, p->exec, p->codes + i * LEVELS, LEVELS,
									   p->again + i * dim, &err),
					&err);
	stk_rq_free(rq);
}

static bool
run_ours(const method *m, problem *p, const point *at, uint64_t seed, double *seconds)
{
	size_t dim = p->data.all.dim;
	memory_rows memory = {p->data.all.x, dim};
	stk_rows rows = {p->data.train_n, read_memory, &memory};
	stk_train_plan plan = m->plan;
	stk_codebook cb = {.metric = STK_L2, .levels = LEVELS, .dim = (int) dim};
	stk_train_result result = {0};
	stk_error err = {0};
	double began;

	plan.levels = LEVELS;
	plan.dim = (int) dim;
	plan.seed = seed;
	plan.beam = at->beam;
	if (plan.refine)
		plan.refine = scaled(plan.refine, at->length);
	else
		plan.epochs = scaled(plan.epochs, at->length);
	result.codewords = bench_alloc(LEVELS * CODES * dim, sizeof(float));
	result.counts = bench_alloc(LEVELS * CODES, sizeof(double));
	for (int l = 0; l < LEVELS; l++)
	{
		plan.sizes[l] = cb.sizes[l] = CODES;
		cb.codewords[l] = result.codewords + (size_t) l * CODES * dim;
	}
	began = bench_now();
	bench_check(m->name, stk_train(&plan, p->exec, &rows, NULL, NULL, NULL, &result, &err), &err);
	*seconds = bench_now() - began;
	use_codebook(p, &cb, at->beam);
	free(result.codewords);
	free(result.counts);
	return true;
}

/* The RQ-VAE trained last: points that differ by the beam alone share it. */
typedef struct trained
{
	const method *by; /* NULL: none yet */
	double length;
	uint64_t seed;
	double seconds;
	stk_train_plan plan;
	stk_rqvae_state state;
} trained;

static void
train_rqvae(const method *m, const problem *p, double length, uint64_t seed, trained *t)
{
	size_t dim = p->data.all.dim;
	float *x = bench_copy(p->data.all.x, p->data.train_n * dim);
	stk_rqvae_hooks hooks = {0};
	stk_error err = {0};
	double began = bench_now();

	if (t->by)
		stk_rqvae_state_free(&t->state);
	*t = (trained){.by = m, .length = length, .seed = seed};
	t->plan = (stk_train_plan){
		.metric = STK_L2, .levels = LEVELS, .dim = (int) dim, .seed = seed, .beam = 1};
	for (int l = 0; l < LEVELS; l++)
		t->plan.sizes[l] = CODES;
	stk_rqvae_defaults(m->preset, &t->plan);
	t->plan.epochs = scaled(m->epochs ? m->epochs : t->plan.epochs, length);
	bench_check(m->name, stk_rqvae_state_init(&t->state, &t->plan, &p->exec->a), NULL);
	bench_check(
		m->name,
		stk_rqvae_train(&t->plan, p->exec, x, p->data.train_n, NULL, 0, &hooks, &t->state, &err),
		&err);
	t->seconds = bench_now() - began;
	free(x);
}

static bool
run_rqvae(const method *m, problem *p, const point *at, uint64_t seed, double *seconds)
{
	static trained last;
	stk_codebook cb;

	if (last.by != m || last.length != at->length || last.seed != seed)
		train_rqvae(m, p, at->length, seed, &last);
	*seconds = last.seconds;
	stk_rqvae_codebook(&last.plan, &last.state, stk_rqvae_result(&last.plan, &last.state), &cb);
	use_codebook(p, &cb, at->beam);
	return true;
}

static bool
run_rival(const method *m, problem *p, const point *at, uint64_t seed, double *seconds)
{
	size_t n = p->data.all.n, dim = p->data.all.dim;
	bench_answer answer;

	bench_write(bench_file("rows"), p->data.all.x, n * dim, sizeof(float));
	if (!bench_rival(&answer, m->script,
					 "rows=%s codes=%s again=%s method=%s dim=%zu train=%zu levels=%d size=%d "
					 "epochs=%d beam=%d seed=%llu threads=%d",
					 bench_file("rows"), bench_file("codes"), bench_file("again"), m->told, dim,
					 p->data.train_n, LEVELS, CODES, scaled(m->epochs, at->length), at->beam,
					 (unsigned long long) seed, BENCH_THREADS))
		return false;
	*seconds = bench_value(&answer, "seconds");
	if (isnan(*seconds))
		return false;
	bench_read(bench_file("codes"), p->codes, n * LEVELS, sizeof(uint16_t));
	bench_read(bench_file("again"), p->again, n * dim, sizeof(float));
	return true;
}

/* RecTokens' own tokenizers and its preset of ours are trained on as many batches. */
#define RQVAE_EPOCHS 100

static const method methods[] = {
	{.name = "ours: rqkmeans",
	 .run = run_ours,
	 .plan = {.method = STK_TRAIN_RQKMEANS, .epochs = 25, .init = STK_INIT_KMEANSII}},
	{.name = "ours: refined",
	 .run = run_ours,
	 .plan = {.method = STK_TRAIN_RQKMEANS, .epochs = 5, .init = STK_INIT_KMEANSII, .refine = 20}},
	{.name = "ours: balanced",
	 .run = run_ours,
	 .plan =
		 {.method = STK_TRAIN_RQKMEANS, .epochs = 25, .init = STK_INIT_KMEANSII, .balance = 1.5}},
	{.name = "ours: ema",
	 .run = run_ours,
	 .plan = {.method = STK_TRAIN_EMA,
			  .epochs = 25,
			  .batch_size = 1024,
			  .init = STK_INIT_KMEANSII,
			  .decay = 0.99,
			  .restart_after = 20}},
	{.name = "ours: rqvae", .run = run_rqvae, .preset = STK_RQVAE_OURS},
	{.name = "ours: rqvae, rectokens",
	 .run = run_rqvae,
	 .narrow = true,
	 .preset = STK_RQVAE_RECTOKENS,
	 .epochs = RQVAE_EPOCHS},
	{.name = "FAISS: ResidualQuantizer",
	 .run = run_rival,
	 .script = "faiss_codes.py",
	 .told = "rq",
	 .epochs = 10},
	{.name = "FAISS: the same, refined",
	 .run = run_rival,
	 .script = "faiss_codes.py",
	 .told = "refined",
	 .epochs = 10},
	{.name = "FAISS: LocalSearchQuantizer",
	 .run = run_rival,
	 .narrow = true,
	 .script = "faiss_codes.py",
	 .told = "lsq",
	 .epochs = 25},
	{.name = "RecTokens: RQKMeansTokenizer",
	 .run = run_rival,
	 .narrow = true,
	 .script = "rectokens_codes.py",
	 .told = "rqkmeans",
	 .epochs = 20},
	{.name = "RecTokens: RQVAETokenizer",
	 .run = run_rival,
	 .narrow = true,
	 .script = "rectokens_codes.py",
	 .told = "rqvae",
	 .epochs = RQVAE_EPOCHS},
};

#define METHODS (sizeof(methods) / sizeof(methods[0]))

/* Mean and standard deviation of a column over the seeds. */
static void
print_figure(const quality *of, int n, size_t column, int width, int decimals)
{
	double mean = 0, squares = 0;

	for (int i = 0; i < n; i++)
		mean += *(const double *) ((const char *) &of[i] + column) / n;
	for (int i = 0; i < n; i++)
	{
		double d = *(const double *) ((const char *) &of[i] + column) - mean;

		squares += d * d;
	}
	printf(" %*.*f", width, decimals, mean);
	if (n > 1)
		printf("±%-*.*f", decimals + 2, decimals, sqrt(squares / (n - 1)));
}

static void
print_row(const char *name, const char *which, const quality *of, int n)
{
	printf("%-29s %-9s", name, which);
	print_figure(of, n, offsetof(quality, error), 7, of[0].error < 100 ? 4 : 0);
	print_figure(of, n, offsetof(quality, unique), 6, 4);
	print_figure(of, n, offsetof(quality, entropy), 5, 3);
	print_figure(of, n, offsetof(quality, first), 5, 3);
	print_figure(of, n, offsetof(quality, second), 5, 3);
	print_figure(of, n, offsetof(quality, listed[0]), 5, 3);
	print_figure(of, n, offsetof(quality, listed[1]), 5, 3);
	print_figure(of, n, offsetof(quality, seconds), 7, 2);
	printf("\n");
	fflush(stdout);
}

/* A method at one point, with seeds from .. to - 1; false: it is not here. */
static bool
try_point(const method *m, problem *p, const point *at, int from, int to, quality *of)
{
	for (int seed = from; seed < to; seed++)
	{
		double seconds;

		if (!m->run(m, &p[seed], at, (uint64_t) seed + 1, &seconds))
			return false;
		of[seed] = quality_judge(p[seed].exec, &p[seed].data, p[seed].codes, LEVELS, p[seed].again);
		of[seed].seconds = seconds;
	}
	return true;
}

static void
try_method(const method *m, problem *p, bool grid)
{
	quality of[SEEDS], best[SEEDS];
	const point *at = NULL;
	char which[32];

	if (!try_point(m, p, &defaults, 0, SEEDS, of))
	{
		printf("%-29s not here\n", m->name);
		return;
	}
	print_row(m->name, "defaults", of, SEEDS);
	for (int i = 0; grid && i < POINTS; i++)
	{
		if (m->narrow && points[i].beam > 1)
			continue;
		try_point(m, p, &points[i], 0, 1, of);
		if (!at || of[0].error < best[0].error)
		{
			best[0] = of[0];
			at = &points[i];
		}
	}
	if (!at)
		return;
	try_point(m, p, at, 1, SEEDS, best);
	snprintf(which, sizeof(which), "x%g, %d", at->length, at->beam);
	print_row("", which, best, SEEDS);
}

int
quality_run(const char *name)
{
	const char *rows = getenv("ROWS");
	const char *only = getenv("ONLY");
	problem p[SEEDS];
	bench_exec e;

	printf("Ids of %d levels of %d codes by each way of training, on rows held out: %s\n\n", LEVELS,
		   CODES, name);
	bench_exec_start(&e, STK_SIMD_AUTO, BENCH_THREADS);
	for (int seed = 0; seed < SEEDS; seed++)
	{
		size_t n;

		p[seed].exec = &e.exec;
		p[seed].data = quality_data_load(&e.exec, name, rows ? strtoul(rows, NULL, 10) : SIZE_MAX,
										 (uint64_t) seed + 1);
		n = p[seed].data.all.n;
		p[seed].codes = bench_alloc(n * LEVELS, sizeof(uint16_t));
		p[seed].again = bench_alloc(n * p[seed].data.all.dim, sizeof(float));
	}
	printf("%s, %zu x %zu, of which %zu are held out; mean and standard deviation of %d seeds, "
		   "each with\n"
		   "a split of its own; %d threads\n\n",
		   p[0].data.all.name, p[0].data.all.n, p[0].data.all.dim,
		   p[0].data.all.n - p[0].data.train_n, SEEDS, BENCH_THREADS);
	printf("%-29s %-9s %14s %14s %11s %11s %11s %11s %11s %12s\n", "", "length", "error", "unique",
		   "entropy", "code 1", "codes 1, 2", "of 10", "of 100", "seconds");
	for (size_t i = 0; i < METHODS; i++)
	{
		if (!only || strstr(methods[i].name, only))
			try_method(&methods[i], p, !getenv("DEFAULTS_ONLY"));
	}
	printf("\nlength: times the default epochs or rounds, and the beam of encoding, of the best of "
		   "%d\n"
		   "points; error: mean squared distance of a row held out from what its id decodes to; "
		   "unique:\n"
		   "distinct ids of all rows; entropy: of a level's codes, nats; code 1, codes 1, 2: share "
		   "of a\n"
		   "row's %d nearest that begin with its codes; of 10, of 100: share of them among so many "
		   "nearest\n"
		   "by what ids decode to; seconds: of training\n",
		   POINTS, NEIGHBOURS);
	for (int seed = 0; seed < SEEDS; seed++)
	{
		quality_data_free(&p[seed].data);
		free(p[seed].codes);
		free(p[seed].again);
	}
	bench_exec_stop(&e);
	return 0;
}
