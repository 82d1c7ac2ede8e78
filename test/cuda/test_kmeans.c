/*
 * Training by k-means on a device against core's: the same codebook, counts and reports, bit for
 * bit, whatever the rows are.
 *
 *   make cuda-test here; test/cuda/bin/test_kmeans [RUNS] where there is a device
 *
 * RUNS of each full-size problem, 20; 0: small problems only, for compute-sanitizer; -1: few of them,
 * for its slower tools.
 */
#include "core/kmeans.h"
#include "core/rqkmeans.h"
#include "trainer.h"

static unsigned long wrong_in_all;

static void
say(const char *what, size_t compared, unsigned long wrong, const char *unit)
{
	printf("%-6s %-44s %12zu %s, %lu wrong\n", wrong ? "FAILED" : "ok", what, compared, unit,
		   wrong);
	fflush(stdout);
	wrong_in_all += wrong;
}

static outcome *
train(const stk_rqkmeans_options *plan, const float *x, size_t n, const stk_accelerator *a)
{
	stk_rqkmeans_options opt = *plan;
	size_t dim = (size_t) opt.dim;
	size_t total = 0;
	outcome *o;
	float *rows = malloc((n * dim + 1) * sizeof(float));
	stk_exec exec;

	memcpy(rows, x, n * dim * sizeof(float));
	for (int l = 0; l < opt.levels; l++)
		total += opt.sizes[l];
	exec = exec_of(a, n * dim * total);
	o = outcome_create(total, dim);
	opt.progress = take_report;
	opt.progress_ctx = o;
	o->status = stk_rqkmeans_train(&opt, &exec, rows, n, o->codewords, o->counts, &o->err);
	free(rows);
	return o;
}

/* One training here and there. */
static unsigned long
compare(const char *what, const stk_rqkmeans_options *opt, const float *x, size_t n)
{
	spy *s = the_spy();
	unsigned long failures = s->failures;
	outcome *here = train(opt, x, n, NULL);
	outcome *there = train(opt, x, n, &s->accelerator);
	unsigned long wrong = differ(here, there) + (s->failures - failures);

	if (wrong)
		printf("       %s: metric %d, %zu rows, dim %d, %d levels, size %u, init %d, empty %d, "
			   "balance %g, epochs %d: %lu wrong, status %d and %d, reports %d and %d\n",
			   what, (int) opt->metric, n, opt->dim, opt->levels, opt->sizes[0], (int) opt->init,
			   (int) opt->empty, opt->balance, opt->epochs, wrong, (int) here->status,
			   (int) there->status, here->reports, there->reports);
	outcome_free(here);
	outcome_free(there);
	return wrong;
}

static const int dims[] = {1, 2, 3, 7, 8, 15, 16, 33, 63, 64, 65, 96, 127, 128, 129, 200, 384};
static const uint32_t sizes[] = {1, 2, 3, 7, 16, 31, 64, 127, 128, 129, 200, 300};
static const size_t rows[] = {1, 2, 5, 31, 32, 255, 256, 257, 300, 511, 513, 1000, 1500};

/* Any plan that runs Lloyd's iterations. */
static stk_rqkmeans_options
any_plan(size_t run, uint64_t *seed)
{
	stk_rqkmeans_options opt = {.metric = (stk_metric) (run % 3),
								.levels = 1 + (int) (run / 3 % 4),
								.dim = dims[below(sizeof(dims) / sizeof(dims[0]), seed)],
								.epochs = 1 + (int) below(12, seed),
								.init = (stk_init) below(3, seed),
								.seed = run,
								.empty = (stk_empty) (run % 5 < 3 ? 0 : run % 5 - 2),
								.balance = run % 11 == 10 ? 1.25 : 0,
								.look_every = (int) below(14, seed)};

	for (int l = 0; l < opt.levels; l++)
		opt.sizes[l] = sizes[below(sizeof(sizes) / sizeof(sizes[0]), seed)];
	return opt;
}

/* Every kind of hostile rows, every kind of plan. */
static void
hostile_rows(size_t trainings)
{
	uint64_t seed = 1;
	size_t compared = 0;
	unsigned long wrong = 0;

	for (; compared < trainings; compared++)
	{
		const hostile_kind *kind = &hostile_kinds[compared % HOSTILE_KINDS];
		stk_rqkmeans_options opt = any_plan(compared, &seed);
		hostile_set s = {.dim = (size_t) opt.dim,
						 .n = rows[below(sizeof(rows) / sizeof(rows[0]), &seed)],
						 .size = opt.sizes[0],
						 .inner_product = opt.metric == STK_IP};

		s.c = malloc(s.size * s.dim * sizeof(float));
		s.x = malloc(s.n * s.dim * sizeof(float));
		kind->make(&s, &seed);
		wrong += compare(kind->name, &opt, s.x, s.n);
		free(s.c);
		free(s.x);
	}
	say("hostile rows, any plan", compared, wrong, "trainings");
}

/* Sizes of levels beyond what one digit sorts, and long rows. */
static void
large_shapes(void)
{
	static const struct
	{
		size_t n;
		int dim;
		uint32_t size;
	} shapes[] = {{5000, 20, 1024}, {5000, 9, 1025}, {6000, 16, 4096}, {3000, 5, 40000},
				  {700, 2000, 50},  {300, 5003, 20}, {2000, 768, 256}};
	uint64_t seed = 2;
	unsigned long wrong = 0;
	size_t count = sizeof(shapes) / sizeof(shapes[0]);

	for (size_t i = 0; i < count; i++)
	{
		size_t values = shapes[i].n * (size_t) shapes[i].dim;
		float *x = malloc(values * sizeof(float));
		stk_rqkmeans_options opt = {.metric = (stk_metric) (i % 3),
									.levels = 2,
									.sizes = {shapes[i].size, 7},
									.dim = shapes[i].dim,
									.epochs = 3,
									.look_every = 3};

		fill(x, values, 1, &seed);
		wrong += compare("large", &opt, x, shapes[i].n);
		free(x);
	}
	say("large shapes", count, wrong, "trainings");
}

/* Codes and scores of given centroids. */
static void
nearest_alone(size_t count)
{
	uint64_t seed = 3;
	size_t compared = 0;
	unsigned long wrong = 0;
	spy *s = the_spy();

	for (size_t run = 0; run < count; run++)
	{
		size_t kind = run % HOSTILE_KINDS;
		hostile_set set = {.dim = (size_t) dims[run % (sizeof(dims) / sizeof(dims[0]))],
						   .n = 1 + below(700, &seed),
						   .size = 1 + (uint32_t) below(400, &seed),
						   .inner_product = run % 2};
		stk_accelerator_rows *there = NULL;
		stk_accelerator_centroids c = {.size = set.size, .inner_product = set.inner_product};
		uint16_t *codes = malloc(set.n * sizeof(uint16_t));
		double *scores = malloc(set.n * sizeof(double));
		stk_status status;

		set.c = malloc(set.size * set.dim * sizeof(float));
		set.x = malloc(set.n * set.dim * sizeof(float));
		hostile_kinds[kind].make(&set, &seed);
		c.centroids = set.c;
		status = s->of->ops->rows_create(s->of->ctx, set.x, set.n, set.dim, NULL, &there);
		if (status == STK_OK)
			status = s->of->ops->nearest(s->of->ctx, there, &c, codes, scores, NULL);
		wrong += status != STK_OK;
		for (size_t i = 0; i < set.n && status == STK_OK; i++)
		{
			const float *x = set.x + i * set.dim;
			uint16_t code = plain_nearest(x, set.c, set.size, set.dim, set.inner_product);
			double score = plain_score(x, set.c + code * set.dim, set.dim, set.inner_product);

			wrong += codes[i] != code || scores[i] != score;
		}
		compared += set.n;
		if (there)
			s->of->ops->rows_free(s->of->ctx, there);
		free(set.c);
		free(set.x);
		free(codes);
		free(scores);
	}
	say("nearest centroids and their scores", compared, wrong, "rows");
}

static bool
stop_at(void *ctx)
{
	long *left = ctx;

	return (*left)-- <= 0;
}

/* Told to stop anywhere, it stops, and trains as before afterwards. */
static void
canceled(void)
{
	uint64_t seed = 4;
	float *x = malloc(3000 * 24 * sizeof(float));
	float *own = malloc(3000 * 24 * sizeof(float));
	stk_rqkmeans_options opt = {
		.metric = STK_L2, .levels = 2, .sizes = {40, 40}, .dim = 24, .epochs = 9, .look_every = 2};
	float codewords[80 * 24];
	unsigned long wrong = 0;
	size_t count = 0;
	bool over = false;

	fill(x, 3000 * 24, 1, &seed);
	for (long calls = 0; !over; calls += 1 + calls / 20, count++)
	{
		long left = calls;
		stk_monitor monitor = {stop_at, &left};
		stk_exec exec = exec_of(&the_spy()->accelerator, 0);
		stk_status status;

		exec.monitor = &monitor;
		memcpy(own, x, 3000 * 24 * sizeof(float));
		status = stk_rqkmeans_train(&opt, &exec, own, 3000, codewords, NULL, NULL);
		over = status == STK_OK;
		wrong += !over && status != STK_ECANCELED;
	}
	wrong += compare("after cancelling", &opt, x, 3000);
	say("cancelled", count, wrong, "trainings");
	free(x);
	free(own);
}

/* Rows like those of a model: clusters of all sizes. */
static void
make_clusters(float *x, size_t n, size_t dim, uint64_t *seed)
{
	size_t count = 300;
	float *centres = malloc(count * dim * sizeof(float));

	fill(centres, count * dim, 1, seed);
	for (size_t i = 0; i < n; i++)
	{
		size_t at = below(1 + below(count, seed), seed);

		fill(x + i * dim, dim, 0.5f, seed);
		for (size_t j = 0; j < dim; j++)
			x[i * dim + j] += centres[at * dim + j];
	}
	free(centres);
}

/* Many runs at full size: what a race breaks, it breaks now and then. */
static void
full_size(const char *what, const float *x, size_t n, const stk_rqkmeans_options *opt, int runs)
{
	outcome *here = train(opt, x, n, NULL);
	unsigned long wrong = 0;
	unsigned long failures = the_spy()->failures;

	for (int run = 0; run < runs; run++)
	{
		outcome *there = train(opt, x, n, &the_spy()->accelerator);

		wrong += differ(here, there);
		outcome_free(there);
	}
	outcome_free(here);
	say(what, (size_t) runs, wrong + (the_spy()->failures - failures), "trainings");
}

static void
full_sizes(int runs)
{
	size_t n = 50000, dim = 128;
	float *x = malloc(n * dim * sizeof(float));
	uint64_t seed = 5;
	stk_rqkmeans_options opt = {.metric = STK_L2,
								.levels = 1,
								.sizes = {512},
								.dim = 128,
								.epochs = 25,
								.init = STK_INIT_RANDOM,
								.look_every = 25};

	fill(x, n * dim, 1, &seed);
	full_size("50,000 x 128, K 512, uniform", x, n, &opt, runs);
	make_clusters(x, n, dim, &seed);
	opt.init = STK_INIT_KMEANSPP;
	full_size("50,000 x 128, K 512, clusters, k-means++", x, n, &opt, runs);
	for (size_t i = 0; i < n * dim; i++)
		x[i] = (float) below(3, &seed) - 1;
	opt.metric = STK_COSINE;
	opt.levels = 3;
	opt.epochs = 6;
	opt.sizes[0] = opt.sizes[1] = opt.sizes[2] = 256;
	full_size("50,000 x 128, 3 x 256, ties, cosine", x, n, &opt, runs);
	free(x);
}

int
main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : 20;

	nearest_alone(runs < 0 ? 6 : 60);
	hostile_rows(runs > 0 ? 8 * HOSTILE_KINDS : runs == 0 ? HOSTILE_KINDS : 4);
	if (runs >= 0)
		canceled();
	if (runs > 0)
	{
		large_shapes();
		full_sizes(runs);
	}
	printf("%lu runs of Lloyd's iterations and %lu assignments by the device, %lu failures\n",
		   the_spy()->lloyds, the_spy()->nearests, the_spy()->failures);
	wrong_in_all += the_spy()->lloyds == 0;
	printf(wrong_in_all ? "FAILED\n" : "all ok\n");
	return wrong_in_all != 0;
}
