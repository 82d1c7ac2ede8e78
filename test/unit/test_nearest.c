/*
 * Every vector unit and filter against the rule written plainly, on a million hostile rows each:
 * codes and scores, batches and single rows, with and without threads.
 *
 * SEMTOK_UNIT_ROWS is about how many rows each filter gets (1,000,000).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/fpenv.h"
#include "core/nearest.h"
#include "engine/crew.h"
#include "hostile.h"

#define MAX_THREADS 3

static const size_t dims[] = {1, 2, 3, 7, 17, 31, 33, 100, 129};
static const uint32_t sizes[] = {1, 2, 15, 33, 255, 257, 600, 1500};

#define DIMS (sizeof(dims) / sizeof(dims[0]))
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

/* One way to decide rows, and what it has decided so far. */
typedef struct way
{
	stk_simd simd;
	stk_filter filter;
	const char *name;
	bool there;
	stk_cpu cpu;
	stk_nearest_stats stats;
} way;

static way ways[] = {
	{.simd = STK_SIMD_AVX512, .filter = STK_FILTER_BFLOAT16, .name = "avx512 bfloat16"},
	{.simd = STK_SIMD_AVX512, .filter = STK_FILTER_BINARY32, .name = "avx512 binary32"},
	{.simd = STK_SIMD_AVX512, .filter = STK_FILTER_NONE, .name = "avx512 reference"},
	{.simd = STK_SIMD_AVX2, .filter = STK_FILTER_BINARY32, .name = "avx2 binary32"},
	{.simd = STK_SIMD_AVX2, .filter = STK_FILTER_NONE, .name = "avx2 reference"},
	{.simd = STK_SIMD_NEON, .filter = STK_FILTER_BINARY32, .name = "neon binary32"},
	{.simd = STK_SIMD_NEON, .filter = STK_FILTER_NONE, .name = "neon reference"},
	{.simd = STK_SIMD_SCALAR, .filter = STK_FILTER_BINARY32, .name = "scalar binary32"},
	{.simd = STK_SIMD_SCALAR, .filter = STK_FILTER_NONE, .name = "scalar reference"},
};

#define WAYS (sizeof(ways) / sizeof(ways[0]))

static stk_crew *pools[MAX_THREADS + 1]; /* [0] stays NULL: this thread alone */

/* What the plain rule says of a set's rows. */
typedef struct truth
{
	uint16_t *codes;
	double *scores;
} truth;

static int
set_up(void **state)
{
	(void) state;
	for (int t = 1; t <= MAX_THREADS; t++)
	{
		if (stk_crew_start(t, &pools[t]) != STK_OK)
			return -1;
	}
	for (size_t w = 0; w < WAYS; w++)
	{
		ways[w].there = stk_cpu_choose(ways[w].simd, &ways[w].cpu, NULL) == STK_OK;
		if (ways[w].there && ways[w].filter == STK_FILTER_BFLOAT16)
			ways[w].there = ways[w].cpu.bfloat16 != NULL;
		/* A path has its binary32 filter, or the probe is wrong; it may lack bfloat16. */
		if (ways[w].there && !ways[w].cpu.binary32)
			return -1;
	}
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	for (int t = 1; t <= MAX_THREADS; t++)
		stk_crew_stop(pools[t]);
	return 0;
}

static stk_exec
exec_of(const way *w, int threads)
{
	stk_exec exec = {.a = stk_malloc, .cpu = &w->cpu};

	if (threads > 0)
		exec.pool = stk_crew_pool(pools[threads], STK_BACKGROUND);
	return exec;
}

static truth
find_truth(const hostile_set *s)
{
	truth t = {malloc(s->n * sizeof(uint16_t)), malloc(s->n * sizeof(double))};
	double *half = malloc(s->size * sizeof(double));

	for (uint32_t k = 0; k < s->size; k++)
	{
		const float *c = s->c + k * s->dim;

		half[k] = s->inner_product ? 0 : 0.5 * plain_dot(c, c, s->dim);
	}
	for (size_t i = 0; i < s->n; i++)
	{
		t.scores[i] = INFINITY;
		for (uint32_t k = 0; k < s->size; k++)
		{
			double score = half[k] - plain_dot(s->x + i * s->dim, s->c + k * s->dim, s->dim);

			if (score < t.scores[i])
			{
				t.scores[i] = score;
				t.codes[i] = (uint16_t) k;
			}
		}
	}
	free(half);
	return t;
}

/* Rows first .. first + n - 1 came out right; scores may be NULL. */
static void
assert_right(const hostile_set *s, const truth *t, size_t first, size_t n, const uint16_t *codes,
			 const double *scores, const char *kind, const char *how, const way *w)
{
	for (size_t i = 0; i < n; i++)
	{
		if (codes[i] != t->codes[first + i])
			fail_msg("%s, %s, %s: %zu x %zu%s, row %zu has code %d, not %d", w->name, kind, how,
					 (size_t) s->size, s->dim, s->inner_product ? ", inner product" : "", first + i,
					 codes[i], t->codes[first + i]);
		if (scores && scores[i] != t->scores[first + i])
			fail_msg("%s, %s, %s: %zu x %zu%s, row %zu has score %a, not %a", w->name, kind, how,
					 (size_t) s->size, s->dim, s->inner_product ? ", inner product" : "", first + i,
					 scores[i], t->scores[first + i]);
	}
}

static void
pack_for(stk_pack *p, const stk_exec *exec, const way *w, bool centred, const hostile_set *s)
{
	assert_int_equal(stk_pack_init(p, exec, w->filter, centred, s->size, s->dim, s->inner_product),
					 STK_OK);
	assert_int_equal(stk_pack_fill(p, s->c, NULL), STK_OK);
	/* No other filter stood in for the one that is meant. */
	if (w->filter != STK_FILTER_NONE)
		assert_ptr_equal(p->kernel,
						 w->filter == STK_FILTER_BFLOAT16 ? w->cpu.bfloat16 : w->cpu.binary32);
}

/* All rows at once, on as many threads as this set's number says. */
static void
decide_all(const hostile_set *s, const truth *t, const char *kind, size_t number, way *w)
{
	stk_exec exec = exec_of(w, (int) (number % (MAX_THREADS + 1)));
	uint16_t *codes = malloc(s->n * sizeof(uint16_t));
	double *scores = number & 1 ? malloc(s->n * sizeof(double)) : NULL;
	stk_nearest_stats stats = {0};
	stk_pack p;

	memset(codes, 0xff, s->n * sizeof(uint16_t));
	pack_for(&p, &exec, w, true, s);
	assert_int_equal(stk_nearest_rows(&exec, &p, s->x, s->n, codes, scores, &stats), STK_OK);
	assert_right(s, t, 0, s->n, codes, scores, kind, "all at once", w);
	assert_int_equal(stats.rows, s->n);
	assert_true(stats.undecided + stats.reference <= s->n);
	assert_true(stats.candidates >= 2 * stats.undecided);
	assert_true(stats.candidates <= s->n * s->size);
	if (w->filter == STK_FILTER_NONE)
		assert_int_equal(stats.reference, s->n);
	stk_nearest_stats_add(&w->stats, &stats);
	stk_pack_free(&p);
	free(scores);
	free(codes);
}

/* The first n rows in batches of any size, one row more often than not. */
static void
decide_some(const hostile_set *s, const truth *t, const char *kind, bool centred, size_t n,
			uint64_t *seed, const way *w)
{
	stk_exec exec = exec_of(w, 0);
	uint16_t codes[40];
	double scores[40];
	stk_pack p;
	void *scratch;

	pack_for(&p, &exec, w, centred, s);
	scratch = malloc(stk_nearest_scratch(&p, 40));
	for (size_t first = 0, batch; first < n; first += batch)
	{
		bool scored = next_bits(seed) & 1;

		batch = next_bits(seed) & 1 ? 1 : 1 + below(40, seed);
		batch = batch < n - first ? batch : n - first;
		memset(codes, 0xff, sizeof(codes));
		assert_int_equal(stk_nearest(&p, scratch, s->x + first * s->dim, batch, codes,
									 scored ? scores : NULL, NULL, NULL),
						 STK_OK);
		assert_right(s, t, first, batch, codes, scored ? scores : NULL, kind,
					 centred ? "in pieces" : "in pieces, not centred", w);
	}
	free(scratch);
	stk_pack_free(&p);
}

/* Rows for one set, fewer where one takes long, so that all sets come to what is wanted. */
static size_t
rows_for(size_t dim, uint32_t size)
{
	size_t cost = dim * size;
	size_t n = cost < 600 ? 12000 : 12000 * 600 / cost;
	size_t scaled_n = (size_t) ((double) n * ((double) unit_rows() / 2000000));

	return scaled_n < 13 ? 13 : scaled_n;
}

static void
try_kind(size_t kind)
{
	uint64_t seed = 100 + kind;
	hostile_set s;

	for (size_t number = 0; number < 2 * DIMS; number++)
	{
		truth t;

		s.dim = dims[number / 2];
		s.size = sizes[(number + kind) % SIZES];
		s.inner_product = number & 1;
		s.n = rows_for(s.dim, s.size);
		s.c = malloc(s.size * s.dim * sizeof(float));
		s.x = malloc(s.n * s.dim * sizeof(float));
		hostile_kinds[kind].make(&s, &seed);
		t = find_truth(&s);
		for (size_t w = 0; w < WAYS; w++)
		{
			if (!ways[w].there)
				continue;
			decide_all(&s, &t, hostile_kinds[kind].name, number + kind, &ways[w]);
			decide_some(&s, &t, hostile_kinds[kind].name, false, s.n / 8 + 1, &seed, &ways[w]);
			decide_some(&s, &t, hostile_kinds[kind].name, true, s.n / 16 + 1, &seed, &ways[w]);
		}
		free(s.c);
		free(s.x);
		free(t.codes);
		free(t.scores);
	}
}

static void
hostile_rows(void **state)
{
	stk_fpenv env = stk_fpenv_enter();

	try_kind((size_t) *state);
	stk_fpenv_leave(env);
}

static void
path(void **state)
{
	const way *w = *state;

	if (!w->there)
		skip();
	print_message("# %s: %llu rows, %llu undecided with %llu candidates, %llu the reference's\n",
				  w->name, (unsigned long long) w->stats.rows,
				  (unsigned long long) w->stats.undecided, (unsigned long long) w->stats.candidates,
				  (unsigned long long) w->stats.reference);
	assert_true(w->stats.rows >= unit_rows());
	if (w->filter != STK_FILTER_NONE)
	{
		/* The sets are hostile, and the filter decides all the same. */
		assert_true(w->stats.undecided > w->stats.rows / 50);
		assert_true(w->stats.reference > w->stats.rows / 50);
		assert_true(w->stats.undecided + w->stats.reference < w->stats.rows);
	}
}

int
main(void)
{
	struct CMUnitTest tests[HOSTILE_KINDS + WAYS];
	size_t n = 0;

	for (size_t kind = 0; kind < HOSTILE_KINDS; kind++)
		tests[n++] = (struct CMUnitTest){.name = hostile_kinds[kind].name,
										 .test_func = hostile_rows,
										 .initial_state = (void *) kind};
	for (size_t w = 0; w < WAYS; w++)
		tests[n++] =
			(struct CMUnitTest){.name = ways[w].name, .test_func = path, .initial_state = &ways[w]};
	return cmocka_run_group_tests_name("nearest codeword", tests, set_up, tear_down);
}
