#include "worker/selftest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/rq.h"
#include "engine/crew.h"
#include "worker/device.h"
#include "worker/hash.h"

#define THREADS 4
#define ROWS 600
#define DIM 48
#define LEVELS 3
#define CODES 100
#define BEAM 4
#define CODEWORDS (LEVELS * CODES)

/* A small problem, and two ways to compute it. */
typedef struct selftest
{
	stk_engine *cores;
	stk_engine *device; /* NULL: there is none */
	stk_engine *engine; /* of the two, the one to be tested */
	char no_device[STK_TEXT_BYTES];
	stk_cpu cpu;
	stk_crew *crew;
	stk_exec fast;      /* what the worker computes with */
	stk_exec reference; /* portable C, one thread */
	float *x;           /* [ROWS][DIM] */
	float *codewords;   /* [CODEWORDS][DIM] */
	bool failed;
} selftest;

static void
say(selftest *t, bool ok, const char *what, const char *why)
{
	printf("%s  %s%s%s\n", ok ? "ok    " : "FAILED", what, why[0] ? ": " : "", why);
	t->failed |= !ok;
}

/* Numbers in [-1, 1) that repeat (splitmix64), so that every run checks the same. */
static void
fill(float *x, size_t n, uint64_t state)
{
	for (size_t i = 0; i < n; i++)
	{
		uint64_t z = (state += 0x9E3779B97F4A7C15);

		z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
		z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
		x[i] = (float) ((double) ((z ^ (z >> 31)) >> 40) * 0x1p-23 - 1);
	}
}

static void
check_kernel(selftest *t, const stk_kernel *kernel)
{
	stk_error err = {.level = -1};
	char what[64];
	bool ok;

	if (!kernel)
		return;
	ok = stk_kernel_probe(kernel, &err) == STK_OK;
	snprintf(what, sizeof(what), "arithmetic of %s", kernel->name);
	say(t, ok, what, err.message);
}

static void
check_hash(selftest *t)
{
	static const uint8_t expected[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea};
	uint8_t hash[STK_HASH_BYTES];
	stk_error err = {.level = -1};
	bool ok =
		stk_hash("abc", 3, hash, &err) == STK_OK && memcmp(hash, expected, sizeof(expected)) == 0;

	say(t, ok, "SHA-256", err.message);
}

static stk_codebook
codebook(const float *codewords)
{
	stk_codebook cb = {.metric = STK_L2, .levels = LEVELS, .dim = DIM};

	for (int l = 0; l < LEVELS; l++)
	{
		cb.sizes[l] = CODES;
		cb.codewords[l] = codewords + (size_t) l * CODES * DIM;
	}
	return cb;
}

static void
check_encode(selftest *t, int beam)
{
	static uint16_t expected[ROWS * LEVELS], got[ROWS * LEVELS];
	stk_codebook cb = codebook(t->codewords);
	stk_engine_ops const *ops = t->engine->ops;
	stk_error err = {.level = -1};
	stk_resident *resident = NULL;
	stk_rq *rq = NULL;
	char what[96];
	stk_status status = stk_rq_create(&cb, &t->reference, STK_FILTER_NONE, &rq, &err);

	memset(got, 0xff, sizeof(got));
	if (status == STK_OK)
		status = stk_rq_encode(rq, &t->reference, t->x, ROWS, beam, expected, NULL, &err);
	if (status == STK_OK)
		status = ops->load(t->engine, &t->fast, &cb, beam > 1, &resident, &err);
	if (status == STK_OK)
		status = ops->encode(t->engine, &t->fast, resident, t->x, ROWS, beam, got, &err);
	snprintf(what, sizeof(what), "encode %d rows, beam %d, %d threads", ROWS, beam, THREADS);
	say(t, status == STK_OK && memcmp(expected, got, sizeof(got)) == 0, what, err.message);
	stk_rq_free(rq);
	if (resident)
		ops->unload(t->engine, resident);
}

static stk_status
read_rows(void *ctx, size_t first, size_t count, float *x, stk_error *err)
{
	const selftest *t = ctx;

	(void) err;
	memcpy(x, t->x + first * DIM, count * DIM * sizeof(float));
	return STK_OK;
}

static void
check_train(selftest *t, const char *name, stk_train_plan plan)
{
	static float vectors[2][CODEWORDS * DIM];
	static double counts[2][CODEWORDS];
	stk_rows rows = {ROWS, read_rows, t};
	stk_train_result expected = {.codewords = vectors[0], .counts = counts[0]};
	stk_train_result got = {.codewords = vectors[1], .counts = counts[1]};
	stk_error err = {.level = -1};
	char what[96];
	stk_status status = stk_train(&plan, &t->reference, &rows, NULL, NULL, NULL, &expected, &err);

	memset(vectors[1], 0xff, sizeof(vectors[1]));
	if (status == STK_OK)
		status =
			t->engine->ops->train(t->engine, &t->fast, &plan, &rows, NULL, NULL, NULL, &got, &err);
	snprintf(what, sizeof(what), "train by %s, %d threads", name, THREADS);
	say(t,
		status == STK_OK && memcmp(vectors[0], vectors[1], sizeof(vectors[0])) == 0 &&
			memcmp(counts[0], counts[1], sizeof(counts[0])) == 0 &&
			expected.rows.mse == got.rows.mse,
		what, err.message);
}

static stk_status
begin(selftest *t, int threads, stk_error *err)
{
	stk_status status = stk_cpu_choose(STK_SIMD_AUTO, &t->cpu, err);

	if (status == STK_OK)
		status = stk_engine_cpu_open(&stk_malloc, &t->cores, err);
	if (status == STK_OK)
		status = stk_crew_start(threads, &t->crew);
	t->x = malloc((ROWS + CODEWORDS) * DIM * sizeof(float));
	if (status != STK_OK || !t->x)
		return status != STK_OK ? status : STK_ENOMEM;
	t->codewords = t->x + (size_t) ROWS * DIM;
	fill(t->x, (ROWS + CODEWORDS) * DIM, 1);
	t->fast =
		(stk_exec){.a = stk_malloc, .cpu = &t->cpu, .pool = stk_crew_pool(t->crew, STK_URGENT)};
	t->reference = (stk_exec){.a = stk_malloc, .cpu = &stk_cpu_portable};
	t->device = stk_device_find(t->cores, "all", t->no_device, sizeof(t->no_device));
	return STK_OK;
}

static void
end(selftest *t)
{
	if (t->device)
		t->device->ops->close(t->device);
	if (t->crew)
		stk_crew_stop(t->crew);
	if (t->cores)
		t->cores->ops->close(t->cores);
	free(t->x);
}

static void
check_engine(selftest *t, stk_engine *engine)
{
	stk_train_plan plan = {.method = STK_TRAIN_RQKMEANS,
						   .metric = STK_L2,
						   .levels = LEVELS,
						   .sizes = {CODES, CODES, CODES},
						   .dim = DIM,
						   .epochs = 3,
						   .seed = 7,
						   .beam = 1};

	t->engine = engine;
	printf("engine %s: %s\n", engine->ops->name, engine->device);
	check_encode(t, 1);
	if (engine == t->cores)
		check_encode(t, BEAM);
	check_train(t, "rqkmeans", plan);
	plan.method = STK_TRAIN_EMA;
	plan.decay = 0.9;
	plan.batch_size = ROWS / 4;
	check_train(t, "ema", plan);
}

int
stk_selftest(void)
{
	selftest t = {0};
	stk_error err = {.message = "out of memory", .level = -1};

	if (begin(&t, THREADS, &err) != STK_OK)
		say(&t, false, "start", err.message);
	else
	{
		check_kernel(&t, t.cpu.binary32);
		check_kernel(&t, t.cpu.bfloat16);
		check_hash(&t);
		check_engine(&t, t.cores);
		if (t.device)
			check_engine(&t, t.device);
		else
			printf("no engine cuda: %s\n", t.no_device);
	}
	end(&t);
	puts(t.failed ? "the selftest failed" : "all is well");
	return t.failed ? 1 : 0;
}

static void
print_speed(const stk_engine *e, const stk_speed *s)
{
	printf("%s\t%s\t%.1f us + %.3g ns a kB of rows + %.3g s a 10^12 multiply-adds\n", e->ops->name,
		   e->device, s->fixed * 1e6, s->per_byte * 1e9 * 1024, s->per_multiply_add * 1e12);
}

int
stk_print_engines(void)
{
	selftest t = {0};
	stk_error err = {.message = "out of memory", .level = -1};
	stk_speeds speeds = {.rate = 0};
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	stk_status status = begin(&t, cores > 1 ? (int) cores : 1, &err);
	stk_shop shop = {.cores = t.cores, .device = t.device, .cpu = t.cpu};

	if (status == STK_OK)
		status = stk_speeds_measure(&shop, t.fast.pool, &speeds);
	if (status != STK_OK)
		fprintf(stderr, "semtokd: could not measure the engines: %s\n", err.message);
	else
	{
		print_speed(t.cores, &speeds.cores);
		if (t.device)
		{
			print_speed(t.device, &speeds.device);
			/* Rows are read once, in 4 bytes a number, for each codeword of all levels. */
			for (int codes = 256; codes <= 4096; codes *= 4)
				printf("auto\ta device from %.3g multiply-adds on, with %d codewords\n",
					   stk_speeds_threshold(&speeds, codes / 4.0), codes);
		}
		else
			printf("no engine cuda: %s\n", t.no_device);
	}
	end(&t);
	return status == STK_OK ? 0 : 1;
}
