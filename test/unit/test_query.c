/*
 * Queries: the stored forms, how costs are made, what is refused, damaged bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fenv.h>
#include <math.h>

#include "bytes.h"
#include "catalog.h"
#include "core/dot.h"
#include "core/explog.h"
#include "core/query.h"
#include "core/search.h"
#include "failing.h"

static const uint32_t two_sizes[] = {2, 3};

/* A set of [0,0], [0,2], [1] and [1,1,7] of tokenizer 1. */
static uint8_t *
small_set(size_t *len)
{
	static const stk_semid ids[] = {{1, 2, {0, 0}}, {1, 2, {0, 2}}, {1, 1, {1}}, {1, 3, {1, 1, 7}}};
	stk_semid *copy = calloc(4, sizeof(stk_semid));
	catalog c;
	uint8_t *set;
	stk_error err;

	memcpy(copy, ids, sizeof(ids));
	catalog_init(&c, copy, 4, false);
	assert_int_equal(
		stk_semset_build(c.pointers, c.lens, c.n, 0, &stk_malloc, NULL, &set, len, &err), STK_OK);
	catalog_free(&c);
	return set;
}

static uint8_t *
make(const float *z, int levels, const uint32_t *sizes, uint32_t tokenizer, stk_norm norm,
	 bool within, size_t *len, stk_query *q)
{
	size_t set_len = 0;
	uint8_t *set = within ? small_set(&set_len) : NULL;
	uint8_t *datum;
	stk_error err = {0};

	if (stk_query_from_logits(z, levels, sizes, tokenizer, norm, set, set_len, &stk_malloc, &datum,
							  len, &err) != STK_OK)
		fail_msg("%s", err.message);
	if (stk_query_check(datum, *len, &err) != STK_OK)
		fail_msg("%s", err.message);
	assert_int_equal(stk_query_view(datum, *len, q, &err), STK_OK);
	free(set);
	return datum;
}

static double
cost_of(const stk_query *q, stk_semid id)
{
	uint8_t bytes[STK_SEMID_MAX_BYTES];

	return stk_query_cost(q, bytes, stk_semid_pack(&id, bytes));
}

/* The stored forms are final. */
static void
test_golden_bytes(void **state)
{
	static const float z[] = {1, 1, 0, -INFINITY, -2.5f};
	static const float even[] = {1, 1, 0, -INFINITY, 0};
	uint8_t *datum;
	size_t len;
	stk_query q;

	(void) state;
	datum = make(z, 2, two_sizes, 258, STK_NORM_NONE, false, &len, &q);
	assert_hex(datum, len,
			   "00000000 01 00 01 02 02010000 00000000" /* levels, none, tokenizer */
			   "02000000 03000000"                      /* sizes */
			   "000000000000f0bf 000000000000f0bf"      /* costs */
			   "0000000000000000 000000000000f07f 0000000000000440"
			   "0000803f 0000803f 00000000 000080ff 000020c0"); /* logits */
	free(datum);

	datum = make(even, 2, two_sizes, 0, STK_NORM_FULL, false, &len, &q);
	assert_hex(datum, len,
			   "00000000 01 00 00 02 00000000 00000000 02000000 03000000"
			   "ef39fafe422ee63f ef39fafe422ee63f" /* ln 2 */
			   "ef39fafe422ee63f 000000000000f07f ef39fafe422ee63f"
			   "0000803f 0000803f 00000000 000080ff 00000000");
	free(datum);

	datum = make(z, 1, two_sizes, 1, STK_NORM_MASKED, false, &len, &q);
	assert_hex(datum, len,
			   "00000000 01 02 02 01 01000000 00000000 02000000 00000000 0000803f 0000803f");
	free(datum);

	datum = make(even, 2, two_sizes, 1, STK_NORM_MASKED, true, &len, &q);
	assert_hex(datum, len,
			   "00000000 01 01 02 02 01000000 5c000000 02000000 03000000"
			   "0000803f 0000803f 00000000 000080ff 00000000 00000000" /* logits, padding */
			   "ef39fafe422ee63f ef39fafe422ee63f"                     /* [0], [1] */
			   "ef39fafe422ee63f ef39fafe422ee63f"                     /* [0,0], [0,2] */
			   "000000000000f07f 0000000000000000"                     /* [1,1], [1,1,7] */
			   "01030000 01000000 04000000 02000000 03000000 01000000" /* the set */
			   "01000000 00000000 02000000 00000000 02000000 03000000"
			   "00000100 02000000 00000000 00000000 00000000 01000000"
			   "00000200 01000000 03000000 07000000 01000000");
	free(datum);
}

static void
test_golden_neighbors(void **state)
{
	static const float codewords[] = {1, 0, 0, 2, 0.5f, 0.5f};
	static const float x[] = {3, 1};
	stk_codebook cb = {STK_L2, 2, 2, {2, 1}, {codewords, codewords + 4}};
	float *gram;
	uint8_t *datum;
	size_t len;
	stk_query q;
	stk_error err;

	(void) state;
	assert_int_equal(stk_query_gram_count(&cb), 2);
	assert_int_equal(stk_query_gram(&cb, &stk_malloc, &gram, NULL), STK_OK);
	assert_int_equal(stk_query_neighbors(&cb, 5, x, gram, &stk_malloc, &datum, &len, &err), STK_OK);
	assert_hex(datum, len,
			   "00000000 01 03 00 02 05000000 00000000 02000000 01000000"
			   "0000000000002440"                  /* |x|^2 = 10 */
			   "00000000000014c0 0000000000000000" /* 1 - 6, 4 - 4 */
			   "0000000000000cc0"                  /* 0.5 - 4 */
			   "0000003f 0000803f");               /* dot products */
	assert_int_equal(stk_query_check(datum, len, &err), STK_OK);
	assert_int_equal(stk_query_view(datum, len, &q, &err), STK_OK);
	assert_true(cost_of(&q, (stk_semid){5, 2, {0, 0}}) == 2.5); /* (1.5, 0.5) from (3, 1) */
	assert_true(cost_of(&q, (stk_semid){5, 3, {1, 0, 9}}) == 8.5);
	assert_true(cost_of(&q, (stk_semid){5, 2, {2, 0}}) == INFINITY);
	assert_true(cost_of(&q, (stk_semid){6, 2, {1, 0}}) == INFINITY);
	free(datum);

	/* Inner product: -x.c, a sum over the levels. */
	cb.metric = STK_IP;
	assert_int_equal(stk_query_neighbors(&cb, 0, x, NULL, &stk_malloc, &datum, &len, &err), STK_OK);
	assert_hex(datum, len,
			   "00000000 01 00 01 02 00000000 00000000 02000000 01000000"
			   "00000000000008c0 00000000000000c0 00000000000000c0 00004040 00000040 00000040");
	assert_int_equal(stk_query_check(datum, len, &err), STK_OK);
	assert_int_equal(stk_query_view(datum, len, &q, &err), STK_OK);
	assert_true(cost_of(&q, (stk_semid){9, 2, {1, 0}}) == -4);
	free(datum);
	free(gram);
}

/* A cost of LEVELS is the left-to-right sum, of which this one tells the order. */
static void
test_levels_cost(void **state)
{
	static const uint32_t sizes[] = {1, 1, 1};
	static const float z[] = {1, 0x1p-53f, 0x1p-53f};
	stk_query q;
	size_t len;
	uint8_t *datum = make(z, 3, sizes, 4, STK_NORM_NONE, false, &len, &q);

	(void) state;
	assert_true(cost_of(&q, (stk_semid){4, 3, {0, 0, 0}}) == -1);
	assert_true(cost_of(&q, (stk_semid){4, 5, {0, 0, 0, 8, 9}}) == -1);
	assert_true(cost_of(&q, (stk_semid){4, 2, {0, 0}}) == INFINITY);
	assert_true(cost_of(&q, (stk_semid){4, 3, {0, 1, 0}}) == INFINITY);
	assert_true(cost_of(&q, (stk_semid){3, 3, {0, 0, 0}}) == INFINITY);
	assert_true(cost_of(&q, (stk_semid){0, 3, {0, 0, 0}}) == INFINITY);
	free(datum);
}

static void
test_within_cost(void **state)
{
	static const float z[] = {1, 3, 0, 0, 0};
	double level0[2], level1[3], masked0[2];
	float gathered[] = {0, 0};
	stk_query q;
	size_t len;
	uint8_t *datum;

	(void) state;
	stk_softmax_costs(z, 2, level0);
	stk_softmax_costs(z + 2, 3, level1);
	datum = make(z, 2, two_sizes, 0, STK_NORM_FULL, true, &len, &q);
	assert_int_equal(q.kind, STK_QUERY_WITHIN);
	assert_true(cost_of(&q, (stk_semid){1, 2, {0, 2}}) == level0[0] + level1[2]);
	assert_true(cost_of(&q, (stk_semid){1, 3, {1, 1, 7}}) == level0[1] + level1[1]);
	/* Prefixes of members, extensions of members, other ids and another tokenizer are out. */
	assert_true(cost_of(&q, (stk_semid){1, 2, {1, 1}}) == INFINITY);
	assert_true(cost_of(&q, (stk_semid){1, 3, {0, 2, 0}}) == INFINITY);
	assert_true(cost_of(&q, (stk_semid){1, 2, {0, 1}}) == INFINITY);
	assert_true(cost_of(&q, (stk_semid){1, 4, {1, 1, 7, 7}}) == INFINITY);
	assert_true(cost_of(&q, (stk_semid){2, 2, {0, 2}}) == INFINITY);
	/* A member that is too short. */
	assert_true(cost_of(&q, (stk_semid){1, 1, {1}}) == INFINITY);
	free(datum);

	datum = make(z, 2, two_sizes, 0, STK_NORM_NONE, true, &len, &q);
	assert_true(cost_of(&q, (stk_semid){1, 3, {1, 1, 7}}) == -3);
	free(datum);

	/* Masked: among those that exist. [1,1] is alone and certain. */
	datum = make(z, 2, two_sizes, 0, STK_NORM_MASKED, true, &len, &q);
	stk_softmax_costs(gathered, 2, masked0);
	assert_true(cost_of(&q, (stk_semid){1, 2, {0, 0}}) == level0[0] + masked0[0]);
	assert_true(cost_of(&q, (stk_semid){1, 3, {1, 1, 7}}) == level0[1]);
	free(datum);

	/* A code beyond the level's size costs infinity and takes no part in the softmax. */
	datum = make(z, 2, (uint32_t[]){2, 2}, 0, STK_NORM_MASKED, true, &len, &q);
	assert_true(cost_of(&q, (stk_semid){1, 2, {0, 2}}) == INFINITY);
	assert_true(cost_of(&q, (stk_semid){1, 2, {0, 0}}) == level0[0]);
	free(datum);

	/* So it is with norm full, where it is beyond the level. */
	datum = make(z, 2, (uint32_t[]){2, 2}, 0, STK_NORM_FULL, true, &len, &q);
	assert_true(cost_of(&q, (stk_semid){1, 2, {0, 2}}) == INFINITY);
	free(datum);

	/* Deeper than the set: nothing can be scored. */
	datum = make((float[]){0, 0, 0, 0, 0, 0}, 4, (uint32_t[]){2, 1, 1, 1}, 0, STK_NORM_FULL, true,
				 &len, &q);
	assert_true(cost_of(&q, (stk_semid){1, 4, {0, 0, 0, 0}}) == INFINITY);
	free(datum);
}

static void
test_masked_has_no_cost(void **state)
{
	static const float z[] = {0, 0, 0, 0, 0};
	stk_query q;
	size_t len;
	uint8_t *datum = make(z, 2, two_sizes, 0, STK_NORM_MASKED, false, &len, &q);

	(void) state;
	assert_int_equal(q.kind, STK_QUERY_MASKED);
	assert_true(isnan(cost_of(&q, (stk_semid){1, 2, {0, 0}})));
	free(datum);
}

/* Costs of neighbors are the squared distances to the reconstructions. */
static void
test_neighbors_distance(void **state)
{
	prng r = {1};

	(void) state;
	for (int round = 0; round < 100; round++)
	{
		stk_codebook cb = {.metric = round % 2 ? STK_L2 : STK_COSINE,
						   .levels = 1 + (int) prng_below(&r, 4),
						   .dim = 1 + (int) prng_below(&r, 40)};
		float *memory = calloc((size_t) (4 * 5 + 1) * (size_t) cb.dim, sizeof(float));
		float *x = memory;
		float *at = memory + cb.dim;
		double norm;
		float *gram;
		uint8_t *datum;
		size_t len;
		stk_query q;
		stk_error err = {0};

		for (int l = 0; l < cb.levels; l++)
		{
			cb.sizes[l] = 1 + prng_below(&r, 5);
			cb.codewords[l] = at;
			for (size_t i = 0; i < cb.sizes[l] * (size_t) cb.dim; i++)
				*at++ = (float) (prng_uniform(&r) - 0.5);
		}
		for (int i = 0; i < cb.dim; i++)
			x[i] = (float) (prng_uniform(&r) + 0.1);
		norm = cb.metric == STK_COSINE ? sqrt(stk_dot(x, x, (size_t) cb.dim)) : 1;
		assert_int_equal(stk_query_gram(&cb, &stk_malloc, &gram, NULL), STK_OK);
		assert_int_equal(stk_query_neighbors(&cb, 0, x, gram, &stk_malloc, &datum, &len, &err),
						 STK_OK);
		assert_int_equal(stk_query_check(datum, len, &err), STK_OK);
		assert_int_equal(stk_query_view(datum, len, &q, &err), STK_OK);
		for (int tries = 0; tries < 20; tries++)
		{
			stk_semid id = {1, cb.levels, {0}};
			double want = 0;

			for (int l = 0; l < cb.levels; l++)
				id.codes[l] = (uint16_t) prng_below(&r, cb.sizes[l]);
			for (int i = 0; i < cb.dim; i++)
			{
				double rest = (float) ((double) x[i] / norm);

				for (int l = 0; l < cb.levels; l++)
					rest -= cb.codewords[l][(size_t) id.codes[l] * (size_t) cb.dim + (size_t) i];
				want += rest * rest;
			}
			/* Gram tables are binary32. */
			assert_true(fabs(cost_of(&q, id) - want) < 1e-5);
		}
		free(datum);
		free(gram);
		free(memory);
	}
}

static void
assert_refused(const float *z, int levels, const uint32_t *sizes, uint32_t tokenizer, stk_norm norm,
			   stk_status status, int level, const char *message)
{
	uint8_t *datum;
	size_t len;
	stk_error err = {.level = 99};

	assert_int_equal(stk_query_from_logits(z, levels, sizes, tokenizer, norm, NULL, 0, &stk_malloc,
										   &datum, &len, &err),
					 status);
	assert_int_equal(err.level, level);
	assert_string_equal(err.message, message);
}

static void
test_refusals(void **state)
{
	float z[] = {0, 0, 0, NAN, 0};
	float huge[] = {3e38f, 3e38f, 3e38f, 3e38f};
	float x[] = {1, 0};
	stk_codebook cb = {STK_L2, 2, 2, {1, 1}, {huge, huge + 2}};
	float *gram;
	uint8_t *datum;
	size_t len;
	stk_norm norm;
	stk_error err;

	(void) state;
	assert_refused(z, 2, two_sizes, 0, STK_NORM_FULL, STK_EINVAL, 1,
				   "logit of level 1, code 1 is NaN, expected a number");
	z[3] = INFINITY;
	assert_refused(z, 2, two_sizes, 0, STK_NORM_MASKED, STK_EINVAL, 1,
				   "logit of level 1, code 1 is infinity, expected a number");
	z[2] = z[3] = z[4] = -INFINITY;
	assert_refused(z, 2, two_sizes, 0, STK_NORM_FULL, STK_EINVAL, 1, "level 1 has no finite logit");
	assert_refused(z, 0, two_sizes, 0, STK_NORM_FULL, STK_EINVAL, -1,
				   "expected 1 to 32 levels, not 0");
	assert_refused(z, 33, two_sizes, 0, STK_NORM_FULL, STK_EINVAL, -1,
				   "expected 1 to 32 levels, not 33");
	assert_refused(z, 2, (uint32_t[]){2, 0}, 0, STK_NORM_FULL, STK_EINVAL, 1,
				   "expected 1 to 65536 codes in level 1, not 0");
	assert_refused(z, 2, (uint32_t[]){65537, 1}, 0, STK_NORM_FULL, STK_EINVAL, 0,
				   "expected 1 to 65536 codes in level 0, not 65537");
	assert_refused(z, 2, two_sizes, 0x80000000, STK_NORM_FULL, STK_EINVAL, -1,
				   "tokenizer 2147483648 is out of range");

	/* Codewords whose dot products binary32 cannot hold, tables too large to store. */
	assert_int_equal(stk_query_gram(&cb, &stk_malloc, &gram, NULL), STK_ERANGE);
	cb.metric = STK_IP;
	assert_int_equal(stk_query_neighbors(&cb, 0, huge, NULL, &stk_malloc, &datum, &len, &err),
					 STK_ERANGE);
	assert_int_equal(err.level, 0);
	cb.sizes[0] = cb.sizes[1] = 65536;
	assert_int_equal(stk_query_gram(&cb, &stk_malloc, &gram, NULL), STK_ERANGE);

	cb.sizes[0] = cb.sizes[1] = 1;
	cb.metric = STK_COSINE;
	x[0] = 0;
	assert_int_equal(stk_query_neighbors(&cb, 0, x, z, &stk_malloc, &datum, &len, &err),
					 STK_EINVAL);
	x[0] = NAN;
	assert_int_equal(stk_query_neighbors(&cb, 0, x, z, &stk_malloc, &datum, &len, &err),
					 STK_EINVAL);

	assert_int_equal(stk_norm_parse("masked", &norm), STK_OK);
	assert_int_equal(norm, STK_NORM_MASKED);
	assert_int_equal(stk_norm_parse("Full", &norm), STK_EINVAL);
	assert_string_equal(stk_norm_name(STK_NORM_NONE), "none");
}

/* Values that no query may hold are found behind a good shape. */
static void
test_contradictions(void **state)
{
	static const float z[] = {1, 1, 0, -1, -2.5f};
	static const double bad_costs[] = {NAN, -INFINITY, 1e301, -1e301};
	static const float bad_logits[] = {NAN, INFINITY};
	stk_query q;
	size_t len;
	stk_error err;

	(void) state;
	for (int kind = 0; kind < 2; kind++)
	{
		uint8_t *datum = make(z, 2, two_sizes, 0, STK_NORM_FULL, kind == 1, &len, &q);
		double *cost = (double *) (kind == 1 ? q.node_cost : q.cost[1]);
		float *logit = (float *) q.logits[1];

		for (int i = 0; i < 4; i++)
		{
			double was = cost[2];

			cost[2] = bad_costs[i];
			assert_int_equal(stk_query_check(datum, len, &err), STK_ECORRUPT);
			cost[2] = was;
		}
		for (int i = 0; i < 2; i++)
		{
			float was = logit[2];

			logit[2] = bad_logits[i];
			assert_int_equal(stk_query_check(datum, len, &err), STK_ECORRUPT);
			logit[2] = was;
		}
		datum[11] = 0x80; /* tokenizer */
		assert_int_equal(stk_query_check(datum, len, &err), STK_ECORRUPT);
		datum[11] = 0;
		datum[12]++; /* bytes of the set */
		assert_int_equal(stk_query_check(datum, len, &err), STK_ECORRUPT);
		datum[12]--;
		if (kind == 1)
		{
			datum[44] = 1; /* padding behind five logits */
			assert_int_equal(stk_query_check(datum, len, &err), STK_ECORRUPT);
			datum[44] = 0;
			datum[len - 1] = 1; /* the set's padding */
			assert_int_equal(stk_query_check(datum, len, &err), STK_ECORRUPT);
			datum[len - 1] = 0;
		}
		assert_int_equal(stk_query_check(datum, len, &err), STK_OK);
		for (size_t cut = 0; cut < len; cut++)
			assert_int_equal(stk_query_check(datum, cut, &err), STK_ECORRUPT);
		free(datum);
	}
}

/* What can be done with a query: cost ids, search. */
static void
exercise(const stk_query *q, catalog *c)
{
	stk_error err;

	for (size_t i = 0; i < c->n; i++)
		assert_true(q->kind == STK_QUERY_MASKED ||
					!isnan(stk_query_cost(q, c->bytes[i], c->lens[i])));
	for (int beam = q->kind == STK_QUERY_MASKED ? 3 : 0; beam <= 3; beam += 3)
	{
		stk_search *s;
		stk_hit hit;
		bool found = true;
		double last = -INFINITY;

		assert_int_equal(
			stk_search_start(&s, q, &c->trie, c->roots, c->n_roots, beam, &stk_malloc, &err),
			STK_OK);
		while (found)
		{
			assert_int_equal(stk_search_next(s, &found, &hit), STK_OK);
			if (!found)
				break;
			assert_true(hit.cost >= last && hit.cost < INFINITY);
			last = hit.cost;
		}
		stk_search_free(s);
	}
}

static uint8_t *
random_query(prng *r, const catalog *c, size_t *len)
{
	uint32_t sizes[3] = {4, 3, 4};
	float z[11];
	uint8_t *set = NULL;
	size_t set_len = 0;
	uint8_t *datum;
	stk_error err;

	for (int i = 0; i < 11; i++)
		z[i] = (float) prng_uniform(r);
	if (prng_below(r, 4) == 0)
	{
		static const float codewords[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
		stk_codebook cb = {STK_L2, 3, 1, {4, 3, 4}, {codewords, codewords + 4, codewords + 7}};
		float *gram;

		assert_int_equal(stk_query_gram(&cb, &stk_malloc, &gram, NULL), STK_OK);
		assert_int_equal(stk_query_neighbors(&cb, 0, z, gram, &stk_malloc, &datum, len, &err),
						 STK_OK);
		free(gram);
		return datum;
	}
	if (prng_below(r, 2))
		assert_int_equal(stk_semset_build(c->pointers, c->lens, c->n, 0, &stk_malloc, NULL, &set,
										  &set_len, &err),
						 STK_OK);
	assert_int_equal(stk_query_from_logits(z, 3, sizes, 0, (stk_norm) prng_below(r, 3), set,
										   set_len, &stk_malloc, &datum, len, &err),
					 STK_OK);
	free(set);
	return datum;
}

static void
test_damaged_bytes(void **state)
{
	prng r = {2};
	int accepted = 0;

	(void) state;
	for (int round = 0; round < 200; round++)
	{
		catalog c;
		uint8_t *datum;
		size_t len;

		catalog_random(&c, &r, 1 + prng_below(&r, 20), 2, 2, 4, 5, round % 2);
		datum = random_query(&r, &c, &len);
		for (int i = 0; i < 60; i++)
		{
			size_t damaged_len;
			uint8_t *damaged = damage(&r, datum, len, &damaged_len);
			stk_query q;
			stk_error err;

			if (stk_query_check(damaged, damaged_len, &err) == STK_OK)
			{
				assert_int_equal(stk_query_view(damaged, damaged_len, &q, &err), STK_OK);
				exercise(&q, &c);
				accepted++;
			}
			free(damaged);
		}
		free(datum);
		catalog_free(&c);
	}
	assert_true(accepted > 0);
}

/* A library in the process may have changed the rounding: the same bits come out. */
static void
test_rounding_environment(void **state)
{
	static const float z[] = {0.1f, 0.7f, -1.3f, 2.9f, 0.3f};
	static const float codewords[] = {0.1f, 0.2f, 0.3f, 0.4f, 0.5f};
	stk_codebook cb = {STK_L2, 2, 1, {2, 3}, {codewords, codewords + 2}};
	static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_TOWARDZERO};
	uint8_t *first[2] = {NULL, NULL};
	double cost[2] = {0, 0};

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		uint8_t *datum[2];
		size_t len[2];
		float *gram;
		stk_error err;

		fesetround(modes[i]);
		stk_query_from_logits(z, 2, two_sizes, 0, STK_NORM_FULL, NULL, 0, &stk_malloc, &datum[0],
							  &len[0], &err);
		stk_query_gram(&cb, &stk_malloc, &gram, NULL);
		stk_query_neighbors(&cb, 0, z, gram, &stk_malloc, &datum[1], &len[1], &err);
		free(gram);
		for (int k = 0; k < 2; k++)
		{
			stk_query q;
			double c;

			stk_query_view(datum[k], len[k], &q, &err);
			c = cost_of(&q, (stk_semid){1, 2, {1, 2}});
			assert_int_equal(fegetround(), modes[i]);
			if (i == 0)
			{
				first[k] = datum[k];
				cost[k] = c;
				continue;
			}
			assert_memory_equal(datum[k], first[k], len[k]);
			assert_memory_equal(&c, &cost[k], sizeof(c));
			free(datum[k]);
		}
	}
	fesetround(FE_TONEAREST);
	free(first[0]);
	free(first[1]);
}

/* Every allocation fails once. */
static void
test_no_memory(void **state)
{
	static const float z[] = {1, 2, 3, 4, 5, 6};
	static const float codewords[] = {1, 2, 3, 4, 5};
	stk_codebook cb = {STK_L2, 2, 1, {2, 3}, {codewords, codewords + 2}};
	size_t set_len;
	uint8_t *set = small_set(&set_len);
	uint8_t *datum;
	size_t len;
	float *gram;
	stk_error err;

	(void) state;
	for (int what = 0; what < 5; what++)
	{
		stk_status status = STK_ENOMEM;

		for (long allowed = 0; status != STK_OK; allowed++)
		{
			failing_allocator fa;
			stk_allocator a = failing_init(&fa, allowed);

			assert_true(allowed < 10);
			if (what < 3)
				status = stk_query_from_logits(z, 2, two_sizes, 0, (stk_norm) what, set, set_len,
											   &a, &datum, &len, &err);
			else if (what == 3)
				status = stk_query_neighbors(&cb, 0, z, z, &a, &datum, &len, &err);
			else
				status = stk_query_gram(&cb, &a, &gram, NULL);
			if (status == STK_OK)
				free(what == 4 ? (void *) gram : (void *) datum);
			else
			{
				assert_int_equal(status, STK_ENOMEM);
				assert_int_equal(fa.live, 0);
			}
		}
	}
	free(set);
}

/* A monitor that says stop at the n-th look. */
static bool
stop_countdown(void *ctx)
{
	return --*(long *) ctx < 0;
}

static void
test_gram_stops(void **state)
{
	/* Three levels of 4, 3 and 2 codewords of one dimension: a look a row, 4 + 4 + 3. */
	const float codewords[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
	stk_codebook cb = {.metric = STK_L2,
					   .levels = 3,
					   .dim = 1,
					   .sizes = {4, 3, 2},
					   .codewords = {codewords, codewords + 4, codewords + 7}};

	(void) state;
	for (long looks = 0; looks <= 11; looks++)
	{
		long left = looks;
		stk_monitor monitor = {stop_countdown, &left};
		failing_allocator fa;
		stk_allocator a = failing_init(&fa, 10);
		float *gram;

		if (looks < 11)
			assert_int_equal(stk_query_gram(&cb, &a, &gram, &monitor), STK_ECANCELED);
		else
		{
			assert_int_equal(stk_query_gram(&cb, &a, &gram, &monitor), STK_OK);
			free(gram);
			fa.live--;
		}
		assert_int_equal(fa.live, 0);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden_bytes),       cmocka_unit_test(test_golden_neighbors),
		cmocka_unit_test(test_levels_cost),        cmocka_unit_test(test_within_cost),
		cmocka_unit_test(test_masked_has_no_cost), cmocka_unit_test(test_neighbors_distance),
		cmocka_unit_test(test_refusals),           cmocka_unit_test(test_contradictions),
		cmocka_unit_test(test_damaged_bytes),      cmocka_unit_test(test_rounding_environment),
		cmocka_unit_test(test_no_memory),          cmocka_unit_test(test_gram_stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
