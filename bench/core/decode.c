/*
 * Decoding in core: a million ids of three levels of 256 as a set, a beam of 50, logits given. One
 * query, 256 one after the other and 256 that share what they expand, an exclusion of 1,000 ids,
 * quotas, a filter to a thousandth, best-first, and draws.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bench.h"
#include "core/decode.h"
#include "core/trie_cache.h"

#define LEVELS 3
#define CODES 256
#define IDS 1000000
#define QUERIES 256
#define K 10
#define TIMES 15
#define CACHE_BYTES (64 << 20)

/* splitmix64 */
static uint64_t
random_bits(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static int
compare_numbers(const void *x, const void *y)
{
	uint32_t p = *(const uint32_t *) x;
	uint32_t q = *(const uint32_t *) y;

	return (p > q) - (p < q);
}

/* A set of n random ids. */
static void
make_set(size_t n, uint64_t seed, stk_semset *set)
{
	uint32_t *numbers = bench_alloc(n, sizeof(uint32_t));
	uint8_t *bytes = bench_alloc(n, STK_SEMID_HEADER + 2 * LEVELS);
	const uint8_t **ids = bench_alloc(n, sizeof(uint8_t *));
	size_t *lens = bench_alloc(n, sizeof(size_t));
	uint8_t *form;
	size_t len;
	stk_error err = {0};

	for (size_t i = 0; i < n; i++)
		numbers[i] = (uint32_t) random_bits(&seed) & 0xffffff;
	qsort(numbers, n, sizeof(uint32_t), compare_numbers);
	for (size_t i = 0; i < n; i++)
	{
		stk_semid id = {1, LEVELS, {numbers[i] >> 16, numbers[i] >> 8 & 255, numbers[i] & 255}};

		ids[i] = bytes + i * (STK_SEMID_HEADER + 2 * LEVELS);
		lens[i] = stk_semid_pack(&id, bytes + i * (STK_SEMID_HEADER + 2 * LEVELS));
	}
	bench_check("set", stk_semset_build(ids, lens, n, 0, &stk_malloc, NULL, &form, &len, &err),
				&err);
	bench_check("set", stk_semset_view(form, len, set, &err), &err);
	free(numbers);
	free(bytes);
	free(ids);
	free(lens);
}

typedef struct problem
{
	stk_semset all, thousandth, excluded;
	stk_query queries[QUERIES];
	stk_decode_options options;
	const stk_semset *within;
	const stk_semset *exclude;
	size_t n; /* queries of one call */
	bool shared;
} problem;

/* One query over a trie: K ids are taken. */
static void
search(const problem *p, size_t i, stk_trie *trie, const stk_root *roots, size_t n_roots)
{
	stk_decode_options options = p->options;
	stk_decode *d;
	stk_error err = {0};
	bool found = true;

	options.stream = i;
	bench_check(
		"search",
		stk_decode_start(&d, &p->queries[i], trie, roots, n_roots, &options, &stk_malloc, &err),
		&err);
	for (int k = 0; k < K && found; k++)
	{
		stk_hit hit;

		bench_check("search", stk_decode_next(d, &found, &hit), NULL);
		if (found)
			bench_check("search", stk_decode_took(d, &hit), NULL);
	}
	stk_decode_free(d);
}

static void
run(void *arg)
{
	problem *p = arg;
	stk_semset_trie set;
	stk_trie_cache *cache = NULL;
	stk_restricted *restricted = NULL;
	stk_root root = {1, 0};
	const stk_root *roots = &root;
	size_t n_roots = 1;
	stk_trie *trie;

	stk_semset_trie_init(&set, &p->all, &stk_malloc);
	trie = &set.trie;
	if (p->within || p->exclude)
	{
		bench_check(
			"restriction",
			stk_restricted_create(&restricted, trie, roots, 1, p->within, p->exclude, &stk_malloc),
			NULL);
		trie = stk_restricted_trie(restricted);
		roots = stk_restricted_roots(restricted, &n_roots);
	}
	if (p->shared)
	{
		bench_check("cache", stk_trie_cache_create(&cache, trie, CACHE_BYTES, &stk_malloc), NULL);
		trie = stk_trie_cache_trie(cache);
	}
	for (size_t i = 0; i < p->n; i++)
		search(p, i, trie, roots, n_roots);
	stk_trie_cache_free(cache);
	stk_restricted_free(restricted);
	stk_semset_trie_reset(&set);
}

static void
make_queries(problem *p, stk_norm norm)
{
	uint64_t seed = 7;
	uint32_t sizes[LEVELS] = {CODES, CODES, CODES};

	for (int i = 0; i < QUERIES; i++)
	{
		float z[LEVELS * CODES];
		uint8_t *datum;
		size_t len;
		stk_error err = {0};

		for (int j = 0; j < LEVELS * CODES; j++)
		{
			float sum = 0;

			/* About normal, of standard deviation 2. */
			for (int t = 0; t < 12; t++)
				sum += (float) (random_bits(&seed) >> 40) * 0x1p-24f;
			z[j] = 2 * (sum - 6);
		}
		bench_check("query",
					stk_query_from_logits(z, LEVELS, sizes, 0, norm, NULL, 0, &stk_malloc, &datum,
										  &len, &err),
					&err);
		bench_check("query", stk_query_view(datum, len, &p->queries[i], &err), &err);
	}
}

static double
print_row(const char *name, problem *p)
{
	bench_time took = bench_measure(TIMES, run, p);

	printf("%-36s %10.4f %10.4f %12.0f\n", name, took.shortest * 1e3 / (double) p->n,
		   took.median * 1e3 / (double) p->n, (double) p->n / took.shortest);
	return took.shortest / (double) p->n;
}

static void
bench_norm(problem *p, stk_norm norm)
{
	problem q = *p;
	double plain, one, shared, t;

	printf("\nnorm %s\n%-36s %10s %10s %12s\n", stk_norm_name(norm), "", "ms", "median",
		   "queries/s");
	make_queries(&q, norm);
	q.n = 1;
	plain = print_row("one query", &q);
	q.n = QUERIES;
	one = print_row("256 queries, one by one", &q);
	q.shared = true;
	shared = print_row("256 queries, shared", &q);
	bench_goal(shared * 3 <= one, "a batch of 256 is 3 times as fast", "%.2f", one / shared);
	q.shared = false;
	q.n = 1;
	q.exclude = &p->excluded;
	t = print_row("exclusion of 1,000", &q);
	bench_goal(t <= 1.5 * plain, "at most 1.5 times the plain search", "%.2f", t / plain);
	q.exclude = NULL;
	q.options.per_prefix[1] = 3;
	q.options.per_prefix[2] = 1;
	t = print_row("quotas, 3 and 1", &q);
	bench_goal(t <= 1.5 * plain, "at most 1.5 times the plain search", "%.2f", t / plain);
	q.options = p->options;
	q.within = &p->thousandth;
	t = print_row("within a thousandth", &q);
	bench_goal(t <= plain, "no slower than unfiltered", "%.2f", t / plain);
	q.within = NULL;
	q.options.exact = true;
	print_row("exact", &q);
	q.options.exact = false;
	if (norm != STK_NORM_MASKED)
		return;
	q.options.temperature = 1;
	print_row("drawn", &q);
	q.options.sampler = STK_SAMPLER_RECTOKENS;
	print_row("drawn as RecTokens does", &q);
}

int
main(void)
{
	static problem p;

	make_set(IDS, 1, &p.all);
	make_set(IDS / 1000, 2, &p.thousandth);
	make_set(1000, 3, &p.excluded);
	stk_decode_defaults(&p.options);
	printf("%u ids, %d levels of %d, beam %zu, %d results\n", p.all.ids, LEVELS, CODES,
		   p.options.beam_size, K);
	bench_norm(&p, STK_NORM_FULL);
	bench_norm(&p, STK_NORM_MASKED);
	return 0;
}
