/*
 * What a codebook learns from a batch, on a device against core: stk_ema_update, and k-means' two
 * updates, which share their sums. The same bits, whatever the rows, their codes and their number.
 *
 *   make cuda-test here; test/cuda/bin/test_ema [RUNS] where there is a device
 *
 * RUNS of each full-size problem, 20; 0: small problems only, for compute-sanitizer; -1: few of them,
 * for its slower tools.
 */
#include "core/kmeans.h"
#include "device.h"
#include "update.h"

static unsigned long wrong_in_all;

static void
say(const char *what, size_t compared, unsigned long wrong)
{
	printf("%-6s %-60s %10zu compared %8lu wrong\n", wrong ? "FAILED" : "ok", what, compared,
		   wrong);
	fflush(stdout);
	wrong_in_all += wrong;
}

/* How a batch's rows are spread over the codes. */
enum
{
	EVEN,       /* at random */
	ONE,        /* all have one code */
	FEW,        /* nine of ten have one of two codes */
	IN_ORDER,   /* code after code */
	EVERY_OTHER /* odd codes have none */
};

static const char *const spreads[] = {"even", "one code", "few codes", "in order", "every other"};

#define SPREADS (sizeof(spreads) / sizeof(spreads[0]))

static void
spread_codes(int spread, uint16_t *codes, size_t n, uint32_t size, uint64_t *seed)
{
	uint32_t one = (uint32_t) below(size, seed);

	for (size_t i = 0; i < n; i++)
	{
		uint32_t code = (uint32_t) below(size, seed);

		if (spread == ONE || (spread == FEW && below(10, seed)))
			code = spread == ONE || below(3, seed) ? one : size - 1;
		if (spread == IN_ORDER)
			code = (uint32_t) (i * size / n);
		if (spread == EVERY_OTHER)
			code -= code % 2;
		codes[i] = (uint16_t) code;
	}
}

/* A codebook's averages here and there. */
typedef struct state
{
	uint32_t size;
	size_t dim;
	stk_ema e; /* core's */
	float *codewords;
	stk_ema there;
} state;

static size_t
values_of(const state *s)
{
	return s->size * s->dim;
}

/* Averages as after some training: counts small and large, sums of all sizes, some codes idle. */
static state
make_state(uint32_t size, size_t dim, uint64_t *seed)
{
	state s = {.size = size, .dim = dim};

	s.codewords = malloc(values_of(&s) * sizeof(float));
	must(stk_ema_init(&s.e, &stk_malloc, size, dim, s.codewords, NULL) == STK_OK, "averages", "");
	fill(s.codewords, values_of(&s), 1, seed);
	for (uint32_t k = 0; k < size; k++)
	{
		s.e.counts[k] =
			below(3, seed) ? fabs(next_float(seed)) * ldexp(1, 5 - (int) below(30, seed)) : 0;
		s.e.idle[k] = below(9, seed) ? (uint32_t) below(4, seed) : UINT32_MAX;
		for (size_t i = 0; i < dim; i++)
			s.e.sums[k * dim + i] = s.e.counts[k] * (double) next_float(seed);
	}
	s.there = s.e;
	s.there.codewords = device_memory(values_of(&s) * sizeof(float));
	s.there.sums = device_memory(values_of(&s) * sizeof(double));
	s.there.counts = device_memory(size * sizeof(double));
	s.there.idle = device_memory(size * sizeof(uint32_t));
	return s;
}

static void
free_state(state *s)
{
	MUST_CUDA(cudaFree(s->there.codewords));
	MUST_CUDA(cudaFree(s->there.sums));
	MUST_CUDA(cudaFree(s->there.counts));
	MUST_CUDA(cudaFree(s->there.idle));
	stk_ema_free(&s->e);
	free(s->codewords);
}

static void
send_state(const state *s)
{
	MUST_CUDA(cudaMemcpy(s->there.codewords, s->e.codewords, values_of(s) * sizeof(float),
						 cudaMemcpyHostToDevice));
	MUST_CUDA(cudaMemcpy(s->there.sums, s->e.sums, values_of(s) * sizeof(double),
						 cudaMemcpyHostToDevice));
	MUST_CUDA(
		cudaMemcpy(s->there.counts, s->e.counts, s->size * sizeof(double), cudaMemcpyHostToDevice));
	MUST_CUDA(
		cudaMemcpy(s->there.idle, s->e.idle, s->size * sizeof(uint32_t), cudaMemcpyHostToDevice));
}

/* How many of n things of `bytes` bytes on the device differ from those here. */
static unsigned long
differing(const void *here, const void *there, size_t n, size_t bytes)
{
	unsigned long wrong = 0;
	char *copy = malloc(n * bytes);

	MUST_CUDA(cudaMemcpy(copy, there, n * bytes, cudaMemcpyDeviceToHost));
	if (memcmp(copy, here, n * bytes))
	{
		for (size_t i = 0; i < n; i++)
			wrong += memcmp(copy + i * bytes, (const char *) here + i * bytes, bytes) != 0;
	}
	free(copy);
	return wrong;
}

static unsigned long
differing_state(const state *s)
{
	return differing(s->e.codewords, s->there.codewords, values_of(s), sizeof(float)) +
		   differing(s->e.sums, s->there.sums, values_of(s), sizeof(double)) +
		   differing(s->e.counts, s->there.counts, s->size, sizeof(double)) +
		   differing(s->e.idle, s->there.idle, s->size, sizeof(uint32_t));
}

/* A batch there. */
typedef struct batch
{
	size_t n;
	const float *x;
	const uint16_t *codes;
	stk_device_members *members;
	float *x_there;
	uint16_t *codes_there;
	stk_update_failure *failure;
} batch;

/* `apart`: rows begin so many numbers behind an aligned address. */
static batch
make_batch(const float *x, const uint16_t *codes, size_t n, uint32_t size, size_t dim, size_t apart)
{
	stk_error err = {.level = -1};
	batch b = {.n = n, .x = x, .codes = codes};

	must(stk_device_members_create(n, size, dim, 0, &b.members, &err) == STK_OK, "members",
		 err.message);
	b.x_there = (float *) device_memory((n * dim + apart) * sizeof(float)) + apart;
	b.codes_there = device_memory(n * sizeof(uint16_t));
	b.failure = device_memory(sizeof(*b.failure));
	MUST_CUDA(cudaMemcpy(b.x_there, x, n * dim * sizeof(float), cudaMemcpyHostToDevice));
	MUST_CUDA(cudaMemcpy(b.codes_there, codes, n * sizeof(uint16_t), cudaMemcpyHostToDevice));
	return b;
}

static void
free_batch(batch *b, size_t apart)
{
	stk_device_members_free(b->members);
	MUST_CUDA(cudaFree(b->x_there - apart));
	MUST_CUDA(cudaFree(b->codes_there));
	MUST_CUDA(cudaFree(b->failure));
}

/* Returns the first row that is not finite. */
static stk_update_failure
update_there(const state *s, const stk_ema_rule *rule, const batch *b)
{
	stk_update_failure failure = STK_UPDATE_NO_FAILURE;
	stk_error err = {.level = -1};
	stk_ema_call call = {.e = s->there,
						 .rule = *rule,
						 .members = b->members,
						 .x = b->x_there,
						 .n = b->n,
						 .codes = b->codes_there,
						 .failure = b->failure};

	MUST_CUDA(cudaMemset(b->failure, 0xff, sizeof(failure)));
	must(stk_ema_launch(&call, 0, &err) == STK_OK, "update", err.message);
	MUST_CUDA(cudaMemcpy(&failure, b->failure, sizeof(failure), cudaMemcpyDeviceToHost));
	return failure;
}

static stk_exec
all_cores(void)
{
	static stk_crew *crew;
	stk_exec exec = *plain_exec();

	if (!crew)
		must(stk_crew_start((int) sysconf(_SC_NPROCESSORS_ONLN), &crew) == STK_OK, "crew", "");
	exec.pool = stk_crew_pool(crew, STK_URGENT);
	return exec;
}

/* k-means' updates of the same rows: `persistent`, then not. */
static unsigned long
compare_means(const state *s, const batch *b, bool unit)
{
	stk_exec exec = all_cores();
	stk_kmeans_work w;
	unsigned long wrong = 0;
	stk_error err = {.level = -1};
	float *centroids = malloc(values_of(s) * sizeof(float));
	double *counts = malloc(s->size * sizeof(double));
	uint8_t *moved = device_memory(s->size);
	uint32_t *changed = device_memory(sizeof(uint32_t));
	stk_means_call call = {.members = b->members,
						   .x = b->x_there,
						   .n = b->n,
						   .centroids = s->there.codewords,
						   .counts = s->there.counts,
						   .unit = unit,
						   .moved = moved,
						   .changed = changed};
	stk_kmeans km = {
		.dim = s->dim, .size = s->size, .centroids = centroids, .counts = counts, .unit = unit};

	must(stk_kmeans_work_init(&w, b->n, s->dim, s->size, &exec) == STK_OK, "work", "");
	memcpy(centroids, s->e.codewords, values_of(s) * sizeof(float));
	for (uint32_t k = 0; k < s->size; k++)
		counts[k] = floor(s->e.counts[k]);
	send_state(s);
	MUST_CUDA(
		cudaMemcpy(s->there.counts, counts, s->size * sizeof(double), cudaMemcpyHostToDevice));
	must(stk_members_group_launch(b->members, b->codes_there, 1, b->n, 0, &err) == STK_OK, "group",
		 err.message);
	/* A second time, what is set between launches would show. */
	for (int turn = 0; turn < 3; turn++)
	{
		uint32_t how_many;
		bool any = false;

		call.persistent = turn < 2;
		MUST_CUDA(cudaMemset(moved, 0, s->size));
		MUST_CUDA(cudaMemset(changed, 0, sizeof(uint32_t)));
		memset(w.moved, 0, s->size);
		must(stk_means_launch(&call, 0, &err) == STK_OK, "means", err.message);
		if (call.persistent)
			must(stk_kmeans_add_batch(&km, &w, b->x, b->n, b->codes) == STK_OK, "add_batch", "");
		else
			must(stk_kmeans_update(&km, &w, b->x, b->n, b->codes, &any) == STK_OK, "update", "");
		wrong += differing(centroids, call.centroids, values_of(s), sizeof(float));
		wrong += differing(counts, call.counts, s->size, sizeof(double));
		wrong += differing(w.moved, moved, s->size, 1);
		MUST_CUDA(cudaMemcpy(&how_many, changed, sizeof(how_many), cudaMemcpyDeviceToHost));
		for (uint32_t k = 0; k < s->size; k++)
			how_many -= w.moved[k];
		wrong +=
			how_many != 0 || (!call.persistent && any != (memchr(w.moved, 1, s->size) != NULL));
	}
	stk_kmeans_work_free(&w);
	MUST_CUDA(cudaFree(moved));
	MUST_CUDA(cudaFree(changed));
	free(centroids);
	free(counts);
	return wrong;
}

/* Rounds of updates of one batch, each from what the last one left. */
static unsigned long
compare(state *s, const batch *b, int rounds, uint64_t *seed)
{
	static const double decays[] = {0.99, 0, 1, 0.5};
	static const uint32_t restarts[] = {0, 1, 3};
	stk_exec exec = all_cores();
	stk_error err = {.level = -1};
	unsigned long wrong = 0;

	for (int round = 0; round < rounds; round++)
	{
		stk_ema_rule rule = {.decay = decays[below(4, seed)],
							 .restart_after = restarts[below(3, seed)],
							 .unit = below(3, seed) == 0,
							 .seed = next_bits(seed),
							 .level = (int) below(32, seed),
							 .step = (uint32_t) next_bits(seed)};

		send_state(s);
		must(stk_ema_update(&s->e, &rule, &exec, b->x, b->n, b->codes, &err) == STK_OK, "core",
			 err.message);
		wrong += update_there(s, &rule, b) != STK_UPDATE_NO_FAILURE;
		wrong += differing_state(s);
	}
	wrong += compare_means(s, b, false) + compare_means(s, b, true);
	return wrong;
}

static const size_t ragged_rows[] = {1,   2,   7,   8,   9,   31,   33,  255,
									 256, 257, 511, 512, 513, 1000, 2049};
static const uint32_t ragged_sizes[] = {1,   2,   31,   33,   100,  256, 257,
										896, 897, 1023, 1024, 1025, 3000};
static const int ragged_dims[] = {1, 2, 3, 4, 7, 8, 12, 63, 64, 66, 128, 130, 132, 260, 384, 770};

#define PICK(from, seed) ((from)[below(sizeof(from) / sizeof((from)[0]), seed)])

/* Small problems of one kind of rows, spread in all ways. */
static void
test_kind(const hostile_kind *kind, int problems, uint64_t *seed)
{
	size_t compared = 0;
	unsigned long wrong = 0;
	char what[96];

	for (int p = 0; p < problems; p++)
	{
		hostile_set rows = {
			.dim = (size_t) PICK(ragged_dims, seed), .n = PICK(ragged_rows, seed), .size = 3};
		uint32_t size = PICK(ragged_sizes, seed);
		size_t apart = below(5, seed);
		uint16_t *codes = malloc(rows.n * sizeof(uint16_t));
		state s = make_state(size, rows.dim, seed);
		batch b;

		rows.x = malloc(rows.n * rows.dim * sizeof(float));
		rows.c = malloc(3 * rows.dim * sizeof(float));
		kind->make(&rows, seed);
		spread_codes(p % (int) SPREADS, codes, rows.n, size, seed);
		b = make_batch(rows.x, codes, rows.n, size, rows.dim, apart);
		wrong += compare(&s, &b, 3, seed);
		compared += 3 * values_of(&s);
		free_batch(&b, apart);
		free_state(&s);
		free(rows.x);
		free(rows.c);
		free(codes);
	}
	snprintf(what, sizeof(what), "%s", kind->name);
	say(what, compared, wrong);
}

/* Rows that are not finite: the first is named, and their codes are as they were. */
static void
test_failures(int problems, uint64_t *seed)
{
	unsigned long wrong = 0;

	for (int p = 0; p < problems; p++)
	{
		size_t n = PICK(ragged_rows, seed), dim = (size_t) PICK(ragged_dims, seed);
		uint32_t size = PICK(ragged_sizes, seed);
		float *x = malloc(n * dim * sizeof(float));
		uint16_t *codes = malloc(n * sizeof(uint16_t));
		state s = make_state(size, dim, seed);
		stk_ema_rule rule = {.decay = 0.9, .restart_after = 1, .seed = next_bits(seed)};
		size_t first = n;
		float *after = malloc(values_of(&s) * sizeof(float));
		batch b;

		fill(x, n * dim, 1, seed);
		spread_codes(p % (int) SPREADS, codes, n, size, seed);
		for (size_t bad = 1 + below(4, seed); bad > 0; bad--)
		{
			size_t row = below(n, seed);

			x[row * dim + below(dim, seed)] = p % 3 ? NAN : p % 2 ? INFINITY : -INFINITY;
			first = row < first ? row : first;
		}
		b = make_batch(x, codes, n, size, dim, 0);
		send_state(&s);
		wrong += update_there(&s, &rule, &b) != first;
		MUST_CUDA(cudaMemcpy(after, s.there.codewords, values_of(&s) * sizeof(float),
							 cudaMemcpyDeviceToHost));
		for (size_t i = 0; i < n; i++)
		{
			bool finite = true;

			for (size_t j = 0; j < dim; j++)
				finite &= isfinite(x[i * dim + j]) != 0;
			wrong += !finite && memcmp(after + codes[i] * dim, s.e.codewords + codes[i] * dim,
									   dim * sizeof(float)) != 0;
		}
		for (size_t i = 0; i < values_of(&s); i++)
			wrong += !isfinite(after[i]);
		free_batch(&b, 0);
		free_state(&s);
		free(x);
		free(codes);
		free(after);
	}
	say("rows that are not finite", (size_t) problems, wrong);
}

/* Full-size runs again and again, each from the same averages: all as core's. */
static void
repeat(size_t n, size_t dim, uint32_t size, int spread, bool unit, int runs, uint64_t *seed)
{
	float *x = malloc(n * dim * sizeof(float));
	uint16_t *codes = malloc(n * sizeof(uint16_t));
	state s = make_state(size, dim, seed);
	state before = {.size = size, .dim = dim};
	stk_ema_rule rule = {.decay = 0.99, .restart_after = 2, .unit = unit, .seed = 3, .step = 4};
	stk_exec exec = all_cores();
	stk_error err = {.level = -1};
	unsigned long wrong = 0;
	char what[96];
	batch b;

	must(x && codes, "rows", "out of memory");
	fill(x, n < 100000 ? n * dim : 100000 * dim, 1, seed);
	for (size_t r = 100000; r < n; r++)
		memcpy(x + r * dim, x + r % 99991 * dim, dim * sizeof(float));
	spread_codes(spread, codes, n, size, seed);
	b = make_batch(x, codes, n, size, dim, 0);
	before = make_state(size, dim, seed);
	memcpy(before.e.codewords, s.e.codewords, values_of(&s) * sizeof(float));
	memcpy(before.e.sums, s.e.sums, values_of(&s) * sizeof(double));
	memcpy(before.e.counts, s.e.counts, size * sizeof(double));
	memcpy(before.e.idle, s.e.idle, size * sizeof(uint32_t));
	must(stk_ema_update(&s.e, &rule, &exec, x, n, codes, &err) == STK_OK, "core", err.message);
	for (int run = 0; run < runs; run++)
	{
		stk_ema kept = s.there;

		send_state(&before);
		s.there = before.there;
		wrong += update_there(&s, &rule, &b) != STK_UPDATE_NO_FAILURE;
		wrong += differing_state(&s);
		s.there = kept;
	}
	snprintf(what, sizeof(what), "%zu x %zu, %u codes, %s%s, %d runs", n, dim, size,
			 spreads[spread], unit ? ", unit" : "", runs);
	say(what, (size_t) runs * values_of(&s), wrong);
	free_batch(&b, 0);
	free_state(&s);
	free_state(&before);
	free(x);
	free(codes);
}

int
main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : 20;
	int problems = runs < 0 ? 1 : runs == 0 ? 5 : 40;
	uint64_t seed = 20261122;

	for (size_t i = 0; i < HOSTILE_KINDS; i += runs < 0 ? 5 : 1)
		test_kind(&hostile_kinds[i], problems, &seed);
	if (runs >= 0)
		test_failures(problems, &seed);
	for (int spread = 0; spread < (int) SPREADS && runs > 0; spread++)
	{
		repeat(65536, 64, 256, spread, false, runs, &seed);
		repeat(100000, 128, 512, spread, true, runs, &seed);
		repeat(300001, 30, 5000, spread, false, runs, &seed);
	}
	if (runs > 1)
	{
		repeat(1000000, 128, 256, EVEN, true, runs, &seed);
		repeat(1000000, 16, 65536, EVEN, false, runs, &seed);
		repeat(1000000, 128, 256, ONE, false, runs, &seed);
		repeat(8500000, 256, 300, EVEN, false, 2, &seed);
	}
	printf("%s: %lu wrong in all\n", wrong_in_all ? "FAILED" : "all is well", wrong_in_all);
	return wrong_in_all ? 1 : 0;
}
