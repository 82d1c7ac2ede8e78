/*
 * Decoding without sampling against brute force over all ids: the same results, the same bits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "decode_fixture.h"
#include "failing.h"

static void
assert_hit(const fixture *f, const stk_hit *hit, const oracle_hit *want)
{
	const stk_semid *id = &f->left[want->id];

	assert_memory_equal(&hit->cost, &want->cost, sizeof(double));
	assert_int_equal(hit->id.tokenizer, id->tokenizer);
	assert_int_equal(hit->id.levels, id->levels);
	assert_memory_equal(hit->id.codes, id->codes, (size_t) id->levels * sizeof(uint16_t));
}

static void
check_query(fixture *f, const stk_decode_options *o, uint32_t tokenizer)
{
	oracle_hit *want = calloc(f->n_left + 1, sizeof(oracle_hit));
	size_t n = oracle_search(&f->model, o, f->left, f->n_left, f->model.levels, tokenizer, want);
	stk_query q;
	uint8_t *datum = make_query(&f->model, tokenizer, &q);
	stk_decode *d;
	stk_hit hit;
	bool found;
	stk_error err = {0};

	assert_int_equal(stk_decode_start(&d, &q, f->trie, f->roots, f->n_roots, o, &stk_malloc, &err),
					 STK_OK);
	for (size_t i = 0; i < n; i++)
	{
		assert_int_equal(stk_decode_next(d, &found, &hit), STK_OK);
		assert_true(found);
		assert_hit(f, &hit, &want[i]);
		assert_int_equal(stk_decode_took(d, &hit), STK_OK);
	}
	for (int i = 0; i < 2; i++)
	{
		assert_int_equal(stk_decode_next(d, &found, &hit), STK_OK);
		assert_false(found);
	}
	assert_false(stk_decode_dropped(d));
	stk_decode_free(d);
	free(datum);
	free(want);
}

/* A guided search over one root, fed the model's rows. */
static void
check_guided(fixture *f, const stk_decode_options *o, size_t root, int levels)
{
	oracle_hit *want = calloc(f->n_left + 1, sizeof(oracle_hit));
	oracle_model m = f->model;
	stk_decode_options with = *o;
	float *rows = calloc(MAX_IDS * 4, ORACLE_CODES * sizeof(float));
	size_t n;
	stk_guided *g;
	stk_error err = {0};

	with.norm = m.norm;
	m.levels = levels;
	n = oracle_search(&m, o, f->left, f->n_left, 0, f->roots[root].tokenizer, want);
	assert_int_equal(
		stk_guided_start(&g, f->trie, &f->roots[root], levels, &with, &stk_malloc, &err), STK_OK);
	for (size_t i = 0; i <= n;)
	{
		const stk_beam *beams;
		size_t wanted;
		int level;
		bool found;
		stk_hit hit;

		assert_int_equal(stk_guided_wants(g, &beams, &wanted, &level), STK_OK);
		if (wanted > 0)
		{
			assert_true(wanted <= MAX_IDS * 4 && level < m.levels);
			for (size_t b = 0; b < wanted; b++)
			{
				assert_int_equal(beams[b].id.levels, level);
				memcpy(rows + b * m.sizes[level], m.z[level], m.sizes[level] * sizeof(float));
			}
			assert_int_equal(stk_guided_feed(g, rows, m.sizes[level], &err), STK_OK);
			continue;
		}
		assert_int_equal(stk_guided_next(g, &found, &hit), STK_OK);
		assert_int_equal(found, i < n);
		if (found)
		{
			assert_hit(f, &hit, &want[i]);
			assert_int_equal(stk_guided_took(g, &hit), STK_OK);
		}
		i++;
	}
	stk_guided_free(g);
	free(rows);
	free(want);
}

/* Every mode with every other, beams that are never full and best-first. */
static void
test_oracle(void **state)
{
	prng r = {1};

	(void) state;
	for (int round = 0; round < 16000; round++)
	{
		fixture f;
		stk_decode_options o;
		/* A beam is filled by quotas as by its size, so only best-first is exact with them. */
		uint32_t modes = (uint32_t) round % 16;

		set_up(&f, &r, &stk_malloc);
		random_options(&r, &o, modes);
		o.exact = modes & 8 || prng_below(&r, 2);
		check_query(&f, &o, prng_below(&r, 3) == 0 ? 1 : 0);
		if (f.n_roots > 0 && (!o.exact || f.model.norm != STK_NORM_NONE))
		{
			o.beam_size = o.exact ? 1 + prng_below(&r, 4) : STK_MAX_BEAM;
			check_guided(&f, &o, prng_below(&r, (uint32_t) f.n_roots), f.model.levels);
		}
		tear_down(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_oracle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
