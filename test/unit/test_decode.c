/*
 * Decoding without sampling against brute force over all ids: the same results, the same bits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/trie_cache.h"
#include "decode_fixture.h"
#include "failing.h"
#include "rows.h"

/* How many catalogs are tried. */
static int
n_rounds(void)
{
	return (int) unit_size(45000, 4000, 500);
}

/* What a case had, each beside all the others. */
typedef enum had
{
	HAD_NORM, /* and the other norms */
	HAD_TOP_K = HAD_NORM + 3,
	HAD_TOP_P,
	HAD_PENALTY,
	HAD_QUOTAS,
	HAD_WITHIN,
	HAD_CARRIED,
	HAD_EXCLUDE,
	HAD_CACHE,
	HAD_EXACT,
	HAD_BEAM,
	HAD_CATALOG, /* and the other ways of showing */
	HAD_GUIDED = HAD_CATALOG + N_SHOWN,
	N_HAD
} had;

static const char *const had_names[N_HAD] = {
	[HAD_NORM + STK_NORM_FULL] = "norm full",
	[HAD_NORM + STK_NORM_NONE] = "norm none",
	[HAD_NORM + STK_NORM_MASKED] = "norm masked",
	[HAD_TOP_K] = "top_k",
	[HAD_TOP_P] = "top_p",
	[HAD_PENALTY] = "length penalty",
	[HAD_QUOTAS] = "quotas",
	[HAD_WITHIN] = "within",
	[HAD_CARRIED] = "a query's own set",
	[HAD_EXCLUDE] = "exclude",
	[HAD_CACHE] = "cache",
	[HAD_EXACT] = "best-first",
	[HAD_BEAM] = "wide beam",
	[HAD_CATALOG + SHOWN_CATALOG] = "trie",
	[HAD_CATALOG + SHOWN_SET] = "set",
	[HAD_CATALOG + SHOWN_UNION] = "union",
	[HAD_GUIDED] = "model outside",
};

static void
count_case(int *cases, const fixture *f, const stk_decode_options *o, bool cached, bool guided)
{
	bool quotas = false;

	for (int d = 1; d <= STK_MAX_LEVELS; d++)
		quotas |= o->per_prefix[d] > 0;
	cases[HAD_NORM + f->model.norm]++;
	cases[HAD_TOP_K] += o->top_k > 0;
	cases[HAD_TOP_P] += o->top_p < 1;
	cases[HAD_PENALTY] += o->length_penalty != 0;
	cases[HAD_QUOTAS] += quotas;
	cases[HAD_WITHIN] += f->has_within;
	cases[HAD_EXCLUDE] += f->has_exclude;
	cases[HAD_CACHE] += cached;
	cases[o->exact ? HAD_EXACT : HAD_BEAM]++;
	cases[HAD_CATALOG + f->how]++;
	cases[HAD_GUIDED] += guided;
}

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
check_query(fixture *f, const stk_decode_options *o, uint32_t tokenizer, bool carried)
{
	oracle_hit *want = calloc(f->n_left + 1, sizeof(oracle_hit));
	size_t n = oracle_search(&f->model, o, f->left, f->n_left, f->model.levels, tokenizer, want);
	stk_query q;
	uint8_t *datum =
		carried ? make_query_of_left(f, tokenizer, &q) : make_query(&f->model, tokenizer, &q);
	stk_decode *d;
	stk_hit hit;
	bool found;
	stk_error err = {0};

	assert_int_equal(
		stk_decode_start(&d, &q, carried ? f->whole : f->trie, carried ? f->whole_roots : f->roots,
						 carried ? f->n_whole_roots : f->n_roots, o, &stk_malloc, &err),
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
	int cases[N_HAD] = {0};

	(void) state;
	for (int round = 0; round < n_rounds(); round++)
	{
		fixture f;
		stk_decode_options o;
		stk_trie_cache *cache = NULL;
		bool guided;
		/* A beam is filled by quotas as by its size, so only best-first is exact with them. */
		uint32_t modes = (uint32_t) round % 16;

		set_up(&f, &r, &stk_malloc);
		random_options(&r, &o, modes);
		o.exact = modes & 8 || prng_below(&r, 2);
		guided = f.n_roots > 0 && (!o.exact || f.model.norm != STK_NORM_NONE);
		/* What several searches share: from room for nothing to room for all. */
		if (prng_below(&r, 2))
		{
			assert_int_equal(stk_trie_cache_create(&cache, f.trie, (size_t) 1 << prng_below(&r, 20),
												   &stk_malloc),
							 STK_OK);
			f.trie = stk_trie_cache_trie(cache);
		}
		count_case(cases, &f, &o, cache != NULL, guided);
		check_query(&f, &o, prng_below(&r, 3) == 0 ? 1 : 0, false);
		if (prng_below(&r, 3) == 0)
		{
			cases[HAD_CARRIED]++;
			check_query(&f, &o, 0, true);
		}
		if (guided)
		{
			o.beam_size = o.exact ? 1 + prng_below(&r, 4) : STK_MAX_BEAM;
			check_guided(&f, &o, prng_below(&r, (uint32_t) f.n_roots), f.model.levels);
		}
		stk_trie_cache_free(cache);
		tear_down(&f);
	}
	for (int i = 0; i < N_HAD; i++)
	{
		print_message("same as by brute force, %s: %d cases\n", had_names[i], cases[i]);
		assert_true(cases[i] >= n_rounds() / 8);
	}
}

/* All that a search finds, with this allocator: whatever status stops it. */
static stk_status
find_all(const fixture *f, const stk_query *q, const stk_decode_options *o, bool restrict_it,
		 const stk_allocator *a, size_t *n)
{
	stk_restricted *restricted = NULL;
	stk_trie_cache *cache = NULL;
	stk_decode *d = NULL;
	stk_trie *trie = f->trie;
	const stk_root *roots = f->roots;
	size_t n_roots = f->n_roots;
	stk_error err = {0};
	stk_status status = stk_trie_cache_create(&cache, trie, 1 << 20, a);

	*n = 0;
	if (status == STK_OK)
		trie = stk_trie_cache_trie(cache);
	if (status == STK_OK && restrict_it)
	{
		status =
			stk_restricted_create(&restricted, trie, roots, n_roots, &f->sets[0], &f->sets[1], a);
		if (status == STK_OK)
		{
			trie = stk_restricted_trie(restricted);
			roots = stk_restricted_roots(restricted, &n_roots);
		}
	}
	if (status == STK_OK)
		status = stk_decode_start(&d, q, trie, roots, n_roots, o, a, &err);
	for (bool found = true; status == STK_OK && found;)
	{
		stk_hit hit;

		status = stk_decode_next(d, &found, &hit);
		if (status == STK_OK && found)
		{
			status = stk_decode_took(d, &hit);
			++*n;
		}
	}
	stk_decode_free(d);
	stk_restricted_free(restricted);
	stk_trie_cache_free(cache);
	return status;
}

/* Every allocation fails once: STK_ENOMEM, nothing leaked, then the full answer. */
static void
test_no_memory(void **state)
{
	prng r = {9};

	(void) state;
	for (int round = 0; round < 60; round++)
	{
		fixture f;
		stk_decode_options o;
		stk_query q;
		uint8_t *datum;
		size_t want, n;
		stk_status status = STK_ENOMEM;

		set_up(&f, &r, &stk_malloc);
		random_options(&r, &o, prng_below(&r, 16));
		o.exact = round % 3 == 0;
		o.temperature = round % 3 == 2 ? 1 : 0;
		o.sampler = round % 2 ? STK_SAMPLER_GUMBEL : STK_SAMPLER_RECTOKENS;
		if (o.temperature > 0)
			o.length_penalty = 0;
		datum = make_query(&f.model, 0, &q);
		assert_int_equal(find_all(&f, &q, &o, round % 4 == 0, &stk_malloc, &want), STK_OK);
		for (long allowed = 0; status != STK_OK; allowed++)
		{
			failing_allocator fa;
			stk_allocator a = failing_init(&fa, allowed);

			status = find_all(&f, &q, &o, round % 4 == 0, &a, &n);
			assert_true(status == STK_OK || status == STK_ENOMEM);
			assert_int_equal(fa.live, 0);
		}
		assert_int_equal(n, want);
		free(datum);
		tear_down(&f);
	}
}

/* A beam's quotas: it keeps as many prefixes as may be returned, the best of each. */
static void
test_beam_quotas(void **state)
{
	prng r = {10};

	(void) state;
	for (int round = 0; round < n_rounds(); round++)
	{
		fixture f;
		stk_decode_options o;
		stk_beam *beams;
		const stk_beam *out;
		oracle_hit *all;
		stk_stepper *s;
		size_t n = 0, n_out, n_all = 0, kept = 0;
		bool found;
		stk_error err = {0};

		set_up(&f, &r, &stk_malloc);
		stk_decode_defaults(&o);
		o.norm = f.model.norm;
		o.beam_size = 1 + prng_below(&r, 12);
		o.per_prefix[1] = prng_below(&r, 4);
		o.per_prefix[2] = prng_below(&r, 3);
		all = calloc(MAX_IDS + 1, sizeof(oracle_hit));
		beams = calloc(MAX_IDS + 1, sizeof(stk_beam));
		assert_int_equal(stk_stepper_create(&s, f.trie, &o, &stk_malloc, &err), STK_OK);
		if (f.n_roots == 0 || f.model.levels < 3)
			goto next;
		/* All prefixes of two codes, in a random order, with random scores. */
		for (size_t i = 0; i < f.n_left; i++)
		{
			const stk_semid *id = &f.left[i];

			if (id->tokenizer != f.roots[0].tokenizer || id->levels < 2 ||
				(i > 0 && oracle_shares(id, &f.left[i - 1], 2)))
				continue;
			assert_int_equal(stk_stepper_seek(s, &f.roots[0], id->codes, 2, &found, &beams[n]),
							 STK_OK);
			assert_true(found);
			beams[n].score = 0.0 - (double) prng_below(&r, 3);
			beams[n].key = beams[n].score;
			n++;
		}
		for (size_t i = n; i > 1; i--)
		{
			size_t j = prng_below(&r, (uint32_t) i);
			stk_beam moved = beams[i - 1];

			beams[i - 1] = beams[j];
			beams[j] = moved;
		}
		assert_int_equal(
			stk_stepper_step(s, beams, n, f.model.z[2], 0, f.model.sizes[2], &out, &n_out, &err),
			STK_OK);
		for (size_t i = 0; i < f.n_left; i++)
			for (size_t b = 0; b < n; b++)
			{
				double cost;

				if (f.left[i].levels < 3 || !oracle_shares(&f.left[i], &beams[b].id, 2) ||
					(i > 0 && oracle_shares(&f.left[i], &f.left[i - 1], 3)))
					continue;
				cost = 0.0 - beams[b].score +
					   oracle_term(&f.model, &o, f.left, f.n_left, &f.left[i], 2);
				if (cost < INFINITY)
					all[n_all++] = (oracle_hit){cost, cost, i};
			}
		qsort(all, n_all, sizeof(oracle_hit), oracle_compare);
		for (size_t i = 0; i < n_all && kept < o.beam_size; i++)
		{
			const stk_semid *id = &f.left[all[i].id];
			bool fits = true;

			for (int d = 1; d <= 2; d++)
			{
				size_t taken = 0;

				for (size_t j = 0; j < kept; j++)
					taken += oracle_shares(&f.left[all[j].id], id, d);
				fits &= o.per_prefix[d] == 0 || taken < o.per_prefix[d];
			}
			if (!fits)
				continue;
			assert_true(kept < n_out);
			assert_true(oracle_shares(&out[kept].id, id, 3) && out[kept].id.levels == 3);
			assert_true(out[kept].score == 0.0 - all[i].cost);
			all[kept++] = all[i];
		}
		assert_int_equal(kept, n_out);
		/* It may say so of a prefix that it did not look below. */
		assert_true(stk_stepper_dropped(s) || kept == n_all);
	next:
		stk_stepper_free(s);
		free(all);
		free(beams);
		tear_down(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_oracle),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_beam_quotas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
