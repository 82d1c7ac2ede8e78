/*
 * Training by batches on a device against core's: the same codebook, counts and reports, bit for
 * bit, of k-means' mini-batches and of moving averages.
 *
 *   make cuda-test here; test/cuda/bin/test_batches [RUNS] where there is a device
 *
 * RUNS of each full-size problem, 20; 0: small problems only, for compute-sanitizer.
 */
#include "core/ema.h"
#include "core/rqkmeans.h"
#include "trainer.h"

static unsigned long wrong_in_all;

static void
say(const char *what, size_t compared, unsigned long wrong)
{
	printf("%-6s %-52s %8zu trainings, %lu wrong\n", wrong ? "FAILED" : "ok", what, compared,
		   wrong);
	fflush(stdout);
	wrong_in_all += wrong;
}

/* A problem. */
typedef struct plan
{
	bool averages;
	stk_metric metric;
	int levels;
	uint32_t size; /* of each level */
	size_t n;
	int dim;
	size_t batch;
	int epochs;
	uint32_t restart_after;
	stk_init init;
	uint64_t seed;
} plan;

static outcome *
train(const plan *p, const float *x, const stk_accelerator *a)
{
	outcome *o = outcome_create((size_t) p->levels * p->size, (size_t) p->dim);
	size_t values = p->n * (size_t) p->dim;
	float *rows = malloc(values * sizeof(float));
	stk_exec exec;

	memcpy(rows, x, values * sizeof(float));
	exec = exec_of(a, values * o->total);
	if (p->averages)
	{
		stk_ema_options opt = {.metric = p->metric,
							   .levels = p->levels,
							   .dim = p->dim,
							   .epochs = p->epochs,
							   .batch_size = p->batch,
							   .init = p->init,
							   .seed = p->seed,
							   .decay = 0.95,
							   .restart_after = p->restart_after,
							   .progress = take_report,
							   .progress_ctx = o};

		for (int l = 0; l < p->levels; l++)
			opt.sizes[l] = p->size;
		o->status = stk_ema_train(&opt, &exec, rows, p->n, o->codewords, o->counts, &o->err);
	}
	else
	{
		stk_rqkmeans_options opt = {.metric = p->metric,
									.levels = p->levels,
									.dim = p->dim,
									.epochs = p->epochs,
									.batch_size = p->batch,
									.init = p->init,
									.seed = p->seed,
									.progress = take_report,
									.progress_ctx = o};

		for (int l = 0; l < p->levels; l++)
			opt.sizes[l] = p->size;
		o->status = stk_rqkmeans_train(&opt, &exec, rows, p->n, o->codewords, o->counts, &o->err);
	}
	free(rows);
	return o;
}

/* `runs` trainings there, each against the one here. */
static unsigned long
compare(const plan *p, const float *x, int runs)
{
	spy *s = the_spy();
	outcome *expected = train(p, x, NULL);
	unsigned long wrong = 0;

	for (int run = 0; run < runs; run++)
	{
		unsigned long before = s->batches;
		outcome *o = train(p, x, &s->accelerator);

		wrong += differ(o, expected) > 0;
		/* An error of the first batch's is the processor's. */
		wrong += s->batches == before && expected->status == STK_OK && p->epochs > 1;
		outcome_free(o);
	}
	outcome_free(expected);
	return wrong;
}

static void
test_hostile(int problems, uint64_t *seed)
{
	static const size_t batches[] = {0, 1, 7, 255, 256, 257, 1000};
	static const int dims[] = {1, 3, 8, 30, 64, 65, 130};
	static const uint32_t sizes[] = {1, 2, 7, 40, 130};
	unsigned long wrong = 0;
	size_t done = 0;

	for (size_t kind = 0; kind < HOSTILE_KINDS; kind++)
	{
		for (int i = 0; i < problems; i++)
		{
			plan p = {.averages = (kind + (size_t) i) % 2,
					  .metric = (stk_metric) below(3, seed),
					  .levels = 1 + (int) below(3, seed),
					  .size = sizes[below(5, seed)],
					  .n = 1 + below(600, seed),
					  .dim = dims[below(7, seed)],
					  .batch = batches[below(7, seed)],
					  .epochs = 3,
					  .restart_after = (uint32_t) below(4, seed),
					  .init = (stk_init) below(3, seed),
					  .seed = next_bits(seed)};
			hostile_set rows = {.dim = (size_t) p.dim, .n = p.n, .size = 2};

			if (p.batch == 0 && !p.averages)
				p.batch = p.n;
			if (p.batch == 1 || p.batch == 7)
				p.n = 1 + below(40, seed);
			rows.n = p.n;
			rows.x = malloc(p.n * rows.dim * sizeof(float));
			rows.c = malloc(2 * rows.dim * sizeof(float));
			hostile_kinds[kind].make(&rows, seed);
			wrong += compare(&p, rows.x, 1);
			done++;
			free(rows.x);
			free(rows.c);
		}
	}
	say("hostile rows, any plan", done, wrong);
}

static void
full_size(const char *name, plan p, int runs, uint64_t *seed)
{
	size_t values = p.n * (size_t) p.dim;
	float *x = malloc(values * sizeof(float));
	char what[96];

	fill(x, values, 1, seed);
	for (size_t i = 0; i < p.n; i += 5)
		memcpy(x + i * (size_t) p.dim, x + below(64, seed) * (size_t) p.dim,
			   (size_t) p.dim * sizeof(float));
	snprintf(what, sizeof(what), "%s, %zu x %d, %d x %u", name, p.n, p.dim, p.levels, p.size);
	say(what, (size_t) runs, compare(&p, x, runs));
	free(x);
}

int
main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : 20;
	uint64_t seed = 20261123;
	plan p = {.averages = true,
			  .levels = 3,
			  .size = 256,
			  .n = 60000,
			  .dim = 64,
			  .batch = 8192,
			  .epochs = 2,
			  .restart_after = 3,
			  .init = STK_INIT_KMEANSII,
			  .seed = 9};

	test_hostile(runs == 0 ? 1 : 8, &seed);
	if (runs > 0)
	{
		full_size("moving averages", p, runs, &seed);
		p.averages = false;
		full_size("mini-batches", p, runs, &seed);
		p.metric = STK_COSINE;
		p.dim = 384;
		p.n = 12101;
		p.batch = 640;
		full_size("mini-batches, cosine", p, runs, &seed);
		p.averages = true;
		full_size("moving averages, cosine", p, runs, &seed);
		p.size = 3000;
		p.batch = 5000;
		p.metric = STK_IP;
		full_size("moving averages, inner product", p, runs < 3 ? runs : 3, &seed);
	}
	printf("%lu epochs by the device, %lu failures\n", the_spy()->batches, the_spy()->failures);
	wrong_in_all += the_spy()->failures;
	printf("%s: %lu wrong in all\n", wrong_in_all ? "FAILED" : "all is well", wrong_in_all);
	return wrong_in_all ? 1 : 0;
}
