/*
 * Best-first, beam and walks against brute force over stk_query_cost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "catalog.h"
#include "core/explog.h"
#include "core/query.h"
#include "core/search.h"
#include "failing.h"

/* A query with what it points into. */
typedef struct fixture
{
	uint8_t *datum;
	size_t len;
	stk_query q;
} fixture;

static void
fixture_view(fixture *f)
{
	stk_error err = {0};

	if (stk_query_check(f->datum, f->len, &err) != STK_OK)
		fail_msg("%s", err.message);
	assert_int_equal(stk_query_view(f->datum, f->len, &f->q, &err), STK_OK);
}

/* A set of a part of the catalog and of ids that are not in it. */
static uint8_t *
random_set(prng *r, const catalog *c, uint32_t codes, size_t *len)
{
	catalog mixed;
	stk_semid *ids = calloc(c->n + 8, sizeof(stk_semid));
	size_t n = 0;
	uint8_t *set;
	stk_error err;

	for (size_t i = 0; i < c->n; i++)
		if (prng_below(r, 2) == 0)
			ids[n++] = c->ids[i];
	for (int i = 0; i < 8 && c->n > 0; i++)
	{
		ids[n] = c->ids[prng_below(r, (uint32_t) c->n)];
		ids[n].codes[prng_below(r, (uint32_t) ids[n].levels)] = (uint16_t) prng_below(r, codes);
		n++;
	}
	catalog_init(&mixed, ids, n, false);
	assert_int_equal(stk_semset_build(mixed.pointers, mixed.lens, mixed.n, 0, &stk_malloc, NULL,
									  &set, len, &err),
					 STK_OK);
	catalog_free(&mixed);
	return set;
}

/*
 * Logits: ties abound when they are small integers. Sizes may leave some of the catalog's codes
 * out.
 */
static void
random_logits_query(fixture *f, prng *r, const catalog *c, uint32_t codes, int levels,
					stk_norm norm, bool with_set)
{
	uint32_t sizes[STK_MAX_LEVELS];
	float *z;
	size_t n = 0;
	size_t set_len = 0;
	uint8_t *set = with_set ? random_set(r, c, codes, &set_len) : NULL;
	int style = (int) prng_below(r, 3);
	stk_error err;

	for (int l = 0; l < levels; l++)
	{
		sizes[l] = prng_below(r, 4) == 0 ? 1 + prng_below(r, codes) : codes;
		n += sizes[l];
	}
	z = calloc(n, sizeof(float));
	for (size_t i = 0; i < n; i++)
	{
		if (style == 0)
			z[i] = (float) prng_below(r, 3);
		else if (style == 1)
			z[i] = prng_below(r, 5) == 0 ? -INFINITY : (float) (prng_uniform(r) * 8);
		else
			z[i] = (float) (prng_uniform(r) * 1000 - 500);
	}
	/* A level that no softmax can normalise would be an error. */
	for (size_t l = 0, at = 0; l < (size_t) levels; at += sizes[l++])
		z[at] = 1;
	assert_int_equal(stk_query_from_logits(z, levels, sizes, prng_below(r, 2) ? 1 : 0, norm, set,
										   set_len, &stk_malloc, &f->datum, &f->len, &err),
					 STK_OK);
	free(z);
	free(set);
	fixture_view(f);
}

static void
random_neighbors_query(fixture *f, prng *r, uint32_t codes, int levels)
{
	stk_codebook cb = {.metric = (stk_metric) prng_below(r, 3), .levels = levels};
	float *memory, *gram = NULL, *x;
	bool ties = prng_below(r, 2) == 0;
	bool close = prng_below(r, 4) == 0;
	size_t at = 0;
	stk_error err = {0};

	cb.dim = 1 + (int) prng_below(r, 9);
	if (close)
		cb.metric = STK_L2;
	memory = calloc(((size_t) levels * codes + 1) * (size_t) cb.dim, sizeof(float));
	for (int l = 0; l < levels; l++)
	{
		cb.sizes[l] = prng_below(r, 4) == 0 ? 1 + prng_below(r, codes) : codes;
		cb.codewords[l] = memory + at;
		for (size_t i = 0; i < cb.sizes[l] * (size_t) cb.dim; i++)
			memory[at++] =
				ties ? (float) prng_below(r, 3) - 1 : (float) ((prng_uniform(r) - 0.5) / (1 + l));
	}
	x = memory + at;
	for (int i = 0; i < cb.dim; i++)
		x[i] = ties ? (float) prng_below(r, 3) - 1 : (float) prng_uniform(r);
	x[0] = 1;
	if (close)
	{
		/*
		 * Far away across the codewords' directions: distances differ in their last bits only, so
		 * that a bound that rounds in another order than they do would come out above them.
		 */
		for (size_t i = 0; i < at; i++)
			memory[i] = i % (size_t) cb.dim == 0 ? 0 : (float) ((prng_uniform(r) - 0.5) * 3e-5);
		for (int i = 1; i < cb.dim; i++)
			x[i] = 0;
		x[0] = 1000;
	}
	if (cb.metric != STK_IP)
		assert_int_equal(stk_query_gram(&cb, &stk_malloc, &gram, NULL), STK_OK);
	if (stk_query_neighbors(&cb, 0, x, gram, &stk_malloc, &f->datum, &f->len, &err) != STK_OK)
		fail_msg("%s", err.message);
	free(gram);
	free(memory);
	fixture_view(f);
}

typedef struct expected
{
	double cost;
	size_t id;
} expected;

static int
compare_expected(const void *x, const void *y)
{
	const expected *a = x;
	const expected *b = y;

	if (a->cost != b->cost)
		return a->cost < b->cost ? -1 : 1;
	return (a->id > b->id) - (a->id < b->id);
}

static bool
same_bits(double x, double y)
{
	return memcmp(&x, &y, sizeof(x)) == 0;
}

/* Have both ids the same tokenizer and the same first codes? */
static bool
shares(const stk_semid *a, const stk_semid *b, int levels)
{
	return a->tokenizer == b->tokenizer && a->levels >= levels && b->levels >= levels &&
		   memcmp(a->codes, b->codes, (size_t) levels * sizeof(uint16_t)) == 0;
}

static void
assert_hit(const catalog *c, const stk_hit *hit, size_t id, double cost)
{
	const stk_semid *want = &c->ids[id];
	uint64_t items = 0;

	for (size_t i = id; i < c->n && shares(&c->ids[i], want, want->levels); i++)
		items += c->items[i];
	assert_true(same_bits(hit->cost, cost));
	assert_int_equal(hit->posting, id);
	assert_int_equal(hit->items, items);
	assert_int_equal(hit->id.tokenizer, want->tokenizer);
	assert_int_equal(hit->id.levels, want->levels);
	assert_memory_equal(hit->id.codes, want->codes, (size_t) want->levels * sizeof(uint16_t));
}

/* All hits of a search, compared with what is expected. */
static void
assert_search(catalog *c, const stk_query *q, int beam, const expected *want, size_t n)
{
	stk_search *s;
	stk_hit hit;
	bool found;
	stk_error err;

	assert_int_equal(
		stk_search_start(&s, q, &c->trie, c->roots, c->n_roots, beam, &stk_malloc, &err), STK_OK);
	for (size_t i = 0; i < n; i++)
	{
		assert_int_equal(stk_search_next(s, &found, &hit), STK_OK);
		assert_true(found);
		assert_hit(c, &hit, want[i].id, want[i].cost);
	}
	for (int i = 0; i < 2; i++)
	{
		assert_int_equal(stk_search_next(s, &found, &hit), STK_OK);
		assert_false(found);
	}
	stk_search_free(s);
}

/* The oracle: every id's cost, sorted. */
static expected *
brute_force(const catalog *c, const stk_query *q, size_t *n)
{
	expected *all = calloc(c->n + 1, sizeof(expected));

	*n = 0;
	for (size_t i = 0; i < c->n; i++)
	{
		double cost = stk_query_cost(q, c->bytes[i], c->lens[i]);

		assert_false(isnan(cost));
		if (cost < INFINITY)
			all[(*n)++] = (expected){cost, i};
	}
	qsort(all, *n, sizeof(expected), compare_expected);
	return all;
}

static void
check_exact(catalog *c, const stk_query *q)
{
	size_t n;
	expected *want = brute_force(c, q, &n);

	assert_search(c, q, 0, want, n);
	/* A beam that is never full finds everything too. */
	assert_search(c, q, 1 << 20, want, n);
	free(want);
}

static void
test_oracle(void **state)
{
	prng r = {1};

	(void) state;
	for (int round = 0; round < 3000; round++)
	{
		catalog c;
		fixture f = {0};
		uint32_t codes = 1 + prng_below(&r, round % 7 == 0 ? 300 : 6);
		int levels = 1 + (int) prng_below(&r, round % 11 == 0 ? 12 : 4);
		int deepest = levels + (int) prng_below(&r, 3);
		int shallowest = 1 + (int) prng_below(&r, (uint32_t) deepest);

		catalog_random(&c, &r, prng_below(&r, 60), 1 + prng_below(&r, 3), shallowest, deepest,
					   codes, prng_below(&r, 2));
		if (round % 3 == 0)
			random_neighbors_query(&f, &r, codes, levels);
		else
		{
			stk_norm norm = (stk_norm) prng_below(&r, 3);

			random_logits_query(&f, &r, &c, codes, levels, norm,
								norm == STK_NORM_MASKED || prng_below(&r, 2));
		}
		check_exact(&c, &f.q);
		free(f.datum);
		catalog_free(&c);
	}
}

/* Larger catalogs, where bounds prune. */
static void
test_oracle_large(void **state)
{
	prng r = {2};

	(void) state;
	for (int round = 0; round < 30; round++)
	{
		catalog c;
		fixture f = {0};

		catalog_random(&c, &r, 3000, 2, 2, 5, 16, round % 2);
		if (round % 3 == 0)
			random_neighbors_query(&f, &r, 16, 3);
		else
			random_logits_query(&f, &r, &c, 16, 3, (stk_norm) (round % 3), true);
		check_exact(&c, &f.q);
		free(f.datum);
		catalog_free(&c);
	}
}

/* Beam search written plainly: candidates of a level in a list, sorted. */
typedef struct prefix
{
	double sum;
	size_t id; /* the first id with this prefix */
} prefix;

static int
compare_prefixes(const void *x, const void *y)
{
	const prefix *a = x;
	const prefix *b = y;

	if (a->sum != b->sum)
		return a->sum < b->sum ? -1 : 1;
	return (a->id > b->id) - (a->id < b->id);
}

/* The term of an id's level l in a LEVELS or MASKED query. */
static double
term_of(const catalog *c, const stk_query *q, size_t id, int l)
{
	uint16_t code = c->ids[id].codes[l];
	float z[512];
	double cost[512];
	size_t n = 0;
	size_t mine = 0;

	if (code >= q->sizes[l])
		return INFINITY;
	if (q->kind == STK_QUERY_LEVELS)
		return q->cost[l][code];
	for (size_t i = 0; i < c->n; i++)
	{
		const stk_semid *other = &c->ids[i];

		if (!shares(other, &c->ids[id], l) || other->levels <= l || other->codes[l] >= q->sizes[l])
			continue;
		if (i > 0 && shares(other, &c->ids[i - 1], l + 1))
			continue;
		if (other->codes[l] == code)
			mine = n;
		z[n++] = q->logits[l][other->codes[l]];
	}
	if (stk_softmax_costs(z, n, cost) != STK_OK)
		return INFINITY;
	return cost[mine];
}

static void
check_beam(catalog *c, const stk_query *q, size_t width)
{
	prefix *now = calloc(c->n + 1, sizeof(prefix));
	prefix *then = calloc(c->n + 1, sizeof(prefix));
	expected *want = calloc(c->n + 1, sizeof(expected));
	size_t n_now = 0;
	size_t n_want = 0;

	for (size_t i = 0; i < c->n; i++)
		if ((q->tokenizer == 0 || q->tokenizer == c->ids[i].tokenizer) &&
			(i == 0 || c->ids[i].tokenizer != c->ids[i - 1].tokenizer))
			now[n_now++] = (prefix){0, i};
	for (int l = 0; l < q->levels; l++)
	{
		size_t n_then = 0;

		for (size_t p = 0; p < n_now; p++)
		{
			const stk_semid *last = NULL;

			for (size_t i = now[p].id; i < c->n && shares(&c->ids[i], &c->ids[now[p].id], l); i++)
			{
				bool reaches = false;
				double sum;

				if (c->ids[i].levels <= l || (last && shares(last, &c->ids[i], l + 1)))
					continue;
				last = &c->ids[i];
				sum = now[p].sum + term_of(c, q, i, l);
				/*
				 * A prefix is a candidate when something lies below it, or when an id that
				 * ends there, or alone below it, is long enough.
				 */
				for (size_t j = i; j < c->n && shares(last, &c->ids[j], l + 1); j++)
					reaches |= c->ids[j].levels >= q->levels;
				if (!c->tails || (i + 1 < c->n && shares(last, &c->ids[i + 1], l + 1)))
					for (size_t j = i; j < c->n && shares(last, &c->ids[j], l + 1); j++)
						reaches |= c->ids[j].levels > l + 1;
				if (reaches && sum < INFINITY)
					then[n_then++] = (prefix){sum, i};
			}
		}
		qsort(then, n_then, sizeof(prefix), compare_prefixes);
		n_now = n_then < width ? n_then : width;
		memcpy(now, then, n_now * sizeof(prefix));
	}
	for (size_t p = 0; p < n_now; p++)
		for (size_t i = now[p].id; i < c->n && shares(&c->ids[i], &c->ids[now[p].id], q->levels);
			 i++)
			want[n_want++] = (expected){now[p].sum, i};
	assert_search(c, q, (int) width, want, n_want);
	free(now);
	free(then);
	free(want);
}

static void
test_beam(void **state)
{
	prng r = {3};

	(void) state;
	for (int round = 0; round < 1500; round++)
	{
		catalog c;
		fixture f = {0};
		uint32_t codes = 1 + prng_below(&r, 8);
		int levels = 1 + (int) prng_below(&r, 4);

		catalog_random(&c, &r, 1 + prng_below(&r, 80), 1 + prng_below(&r, 3), levels,
					   levels + (int) prng_below(&r, 2), codes, prng_below(&r, 2));
		random_logits_query(&f, &r, &c, codes, levels, (stk_norm) prng_below(&r, 3), false);
		check_beam(&c, &f.q, 1 + prng_below(&r, 12));
		free(f.datum);
		catalog_free(&c);
	}
}

/* Over a set's own trie a masked search sums to 1. */
static void
test_masked_sums_to_one(void **state)
{
	prng r = {4};
	catalog c;
	fixture f = {0};
	uint8_t *bytes;
	size_t len;
	stk_semset set;
	stk_semset_trie trie;
	stk_root root;
	stk_search *s;
	stk_hit hit;
	bool found;
	double sum = 0;
	stk_error err;

	(void) state;
	catalog_random(&c, &r, 300, 1, 3, 3, 8, false);
	random_logits_query(&f, &r, &c, 8, 3, STK_NORM_MASKED, false);
	assert_int_equal(
		stk_semset_build(c.pointers, c.lens, c.n, 0, &stk_malloc, NULL, &bytes, &len, &err),
		STK_OK);
	assert_int_equal(stk_semset_view(bytes, len, &set, &err), STK_OK);
	assert_int_equal(stk_search_start(&s, &f.q, &c.trie, c.roots, 1, 0, &stk_malloc, &err),
					 STK_EINVAL);
	stk_semset_trie_init(&trie, &set, &stk_malloc);
	root = (stk_root){set.tokenizer[0], 0};
	f.q.tokenizer = 0;
	for (uint32_t i = 0; i < 8; i++)
		for (int l = 0; l < 3; l++)
			((float *) f.q.logits[l])[i % f.q.sizes[l]] = (float) (i * i % 5);
	assert_int_equal(stk_search_start(&s, &f.q, &trie.trie, &root, 1, 1000, &stk_malloc, &err),
					 STK_OK);
	while (stk_search_next(s, &found, &hit) == STK_OK && found)
		sum += stk_exp(-hit.cost);
	assert_true(sum <= 1 + 1e-12);
	if (f.q.sizes[0] == 8 && f.q.sizes[1] == 8 && f.q.sizes[2] == 8)
		assert_true(sum > 1 - 1e-12);
	stk_search_free(s);
	stk_semset_trie_reset(&trie);
	free(bytes);
	free(f.datum);
	catalog_free(&c);
}

static void
test_seek_and_walk(void **state)
{
	prng r = {5};

	(void) state;
	for (int round = 0; round < 500; round++)
	{
		catalog c;

		catalog_random(&c, &r, 40, 1, 1, 5, 3, round % 2);
		for (int tries = 0; tries < 20; tries++)
		{
			stk_prefix p = {.tokenizer = 1, .levels = (int) prng_below(&r, 6)};
			stk_semid as_id = {.tokenizer = 1, .levels = p.levels};
			stk_walk *w;
			stk_hit hit;
			bool found;
			stk_child at;
			size_t below = 0;
			uint64_t items = 0;

			for (int l = 0; l < p.levels; l++)
				as_id.codes[l] = p.codes[l] = (uint16_t) prng_below(&r, 3);
			assert_int_equal(stk_walk_start(&w, &c.trie, c.roots[0].node, &p, &stk_malloc), STK_OK);
			for (size_t i = 0; i < c.n; i++)
			{
				if (!shares(&c.ids[i], &as_id, p.levels))
					continue;
				assert_int_equal(stk_walk_next(w, &found, &hit), STK_OK);
				assert_true(found);
				assert_hit(&c, &hit, i, 0);
				below++;
				items += c.items[i];
			}
			assert_int_equal(stk_walk_next(w, &found, &hit), STK_OK);
			assert_false(found);
			stk_walk_free(w);

			assert_int_equal(stk_seek(&c.trie, c.roots[0].node, p.codes, p.levels, &found, &at),
							 STK_OK);
			assert_int_equal(found, below > 0);
			if (!found || p.levels == 0)
				continue;
			assert_int_equal(at.code, p.codes[p.levels - 1]);
			assert_int_equal(at.items, items);
			if (at.flags & STK_CHILD_TAIL)
				assert_true(at.flags == STK_CHILD_TAIL && at.tail_len > 0 && below == 1);
			else
			{
				bool is_id = false;

				for (size_t i = 0; i < c.n; i++)
					is_id |= catalog_compare(&c.ids[i], &as_id) == 0;
				assert_int_equal((at.flags & STK_CHILD_ID) != 0, is_id);
				assert_int_equal((at.flags & STK_CHILD_INNER) != 0, below > (is_id ? 1 : 0));
			}
		}
		catalog_free(&c);
	}
}

/* Best-first reads far fewer nodes than there are. */
static void
test_expansions(void **state)
{
	prng r = {6};
	catalog c;
	fixture f = {0};
	uint32_t sizes[3] = {64, 64, 64};
	float z[192];
	stk_search *s;
	stk_hit hit;
	bool found;
	stk_error err;

	(void) state;
	catalog_random(&c, &r, 20000, 1, 3, 3, 64, false);
	for (int i = 0; i < 192; i++)
		z[i] = (float) (prng_uniform(&r) + prng_uniform(&r) + prng_uniform(&r)) * 4;
	assert_int_equal(stk_query_from_logits(z, 3, sizes, 0, STK_NORM_FULL, NULL, 0, &stk_malloc,
										   &f.datum, &f.len, &err),
					 STK_OK);
	fixture_view(&f);
	assert_int_equal(stk_search_start(&s, &f.q, &c.trie, c.roots, c.n_roots, 0, &stk_malloc, &err),
					 STK_OK);
	for (int i = 0; i < 10; i++)
		assert_int_equal(stk_search_next(s, &found, &hit), STK_OK);
	assert_int_equal(stk_search_get_stats(s)->expanded, c.expansions);
	assert_true(c.expansions > 3 && c.expansions < 200);
	stk_search_free(s);
	free(f.datum);
	catalog_free(&c);
}

/* A trie that answers with an error or contradicts itself. */
typedef struct bad_trie
{
	stk_trie trie;
	stk_status status;
	stk_child child;
} bad_trie;

static stk_status
bad_expand(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n)
{
	bad_trie *t = (bad_trie *) trie;

	t->child.node = node;
	*children = &t->child;
	*n = 1;
	return t->status;
}

static void
test_bad_trie(void **state)
{
	static const uint16_t tail[STK_MAX_LEVELS] = {0};
	uint32_t sizes[1] = {1};
	float z[1] = {0};
	stk_root root = {1, 0};
	fixture f = {0};
	stk_error err;

	(void) state;
	assert_int_equal(stk_query_from_logits(z, 1, sizes, 0, STK_NORM_FULL, NULL, 0, &stk_malloc,
										   &f.datum, &f.len, &err),
					 STK_OK);
	fixture_view(&f);
	for (int beam = 0; beam <= 4; beam += 4)
	{
		bad_trie tries[] = {
			{{.expand = bad_expand}, STK_ERETRY, {0}},
			{{.expand = bad_expand}, STK_OK, {.flags = STK_CHILD_INNER}}, /* endless */
			{{.expand = bad_expand}, STK_OK, {.flags = STK_CHILD_TAIL, .tail = tail, .tail_len = 32}},
		};
		stk_status want[] = {STK_ERETRY, STK_ECORRUPT, STK_ECORRUPT};

		for (int i = 0; i < 3; i++)
		{
			stk_search *s;
			stk_hit hit;
			bool found;

			assert_int_equal(
				stk_search_start(&s, &f.q, &tries[i].trie, &root, 1, beam, &stk_malloc, &err),
				STK_OK);
			assert_int_equal(stk_search_next(s, &found, &hit), want[i]);
			assert_false(found);
			/* The failure stays. */
			tries[i].status = STK_OK;
			assert_int_equal(stk_search_next(s, &found, &hit), want[i]);
			stk_search_free(s);
		}
	}
	free(f.datum);
}

/* Every allocation fails once: STK_ENOMEM, nothing leaked, then the full answer. */
static void
test_no_memory(void **state)
{
	prng r = {7};

	(void) state;
	for (int kind = 0; kind < 6; kind++)
	{
		catalog c;
		fixture f = {0};
		failing_allocator fa;
		size_t n;
		expected *want;
		bool done = false;

		catalog_random(&c, &r, 400, 2, 2, 4, 9, kind % 2);
		if (kind < 3)
			random_neighbors_query(&f, &r, 9, 2);
		else
			random_logits_query(&f, &r, &c, 9, 2, (stk_norm) (kind - 3), true);
		want = brute_force(&c, &f.q, &n);
		for (int beam = 0; beam < 2; beam++)
		{
			done = false;
			for (long allowed = 0; !done; allowed++)
			{
				stk_allocator a = failing_init(&fa, allowed);
				stk_search *s;
				stk_hit hit;
				bool found = true;
				size_t hits = 0;
				stk_error err;
				stk_status status =
					stk_search_start(&s, &f.q, &c.trie, c.roots, c.n_roots, beam * 10000, &a, &err);

				while (status == STK_OK && found)
				{
					status = stk_search_next(s, &found, &hit);
					hits += found;
				}
				if (status == STK_OK)
				{
					assert_int_equal(hits, n);
					done = true;
				}
				else
					assert_int_equal(status, STK_ENOMEM);
				stk_search_free(s);
				assert_int_equal(fa.live, 0);
			}
		}
		free(want);
		free(f.datum);
		catalog_free(&c);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_oracle),        cmocka_unit_test(test_oracle_large),
		cmocka_unit_test(test_beam),          cmocka_unit_test(test_masked_sums_to_one),
		cmocka_unit_test(test_seek_and_walk), cmocka_unit_test(test_expansions),
		cmocka_unit_test(test_bad_trie),      cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
