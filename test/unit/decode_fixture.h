/*
 * Random ids, shown to a search as one of several tries, restricted or not, and a model of logits.
 * To be included after cmocka.h.
 */
#ifndef TEST_DECODE_FIXTURE_H
#define TEST_DECODE_FIXTURE_H

#include "core/union.h"
#include "oracle.h"

#define MAX_IDS 80

/* How the ids are shown to the search. */
typedef enum shown
{
	SHOWN_CATALOG,
	SHOWN_SET,
	SHOWN_UNION,
	N_SHOWN
} shown;

/* Ids, two sets of them, what the sets leave, and a trie of all. */
typedef struct fixture
{
	catalog all;
	catalog parts[2]; /* SHOWN_UNION */
	uint8_t *set_bytes[3];
	stk_semset sets[3]; /* within, exclude; all, for SHOWN_SET */
	shown how;
	bool has_within;
	bool has_exclude;
	stk_semset_trie set_trie;
	stk_union *u;
	stk_restricted *restricted;
	stk_semid *left; /* ascending */
	size_t n_left;
	stk_trie *trie;
	const stk_root *roots;
	stk_root set_roots[16];
	size_t n_roots;
	stk_trie *whole; /* of all ids */
	const stk_root *whole_roots;
	size_t n_whole_roots;
	oracle_model model;
} fixture;

static inline void
build_set(const catalog *c, uint8_t **bytes, stk_semset *set)
{
	size_t len;
	stk_error err;

	assert_int_equal(
		stk_semset_build(c->pointers, c->lens, c->n, 0, &stk_malloc, NULL, bytes, &len, &err),
		STK_OK);
	assert_int_equal(stk_semset_view(*bytes, len, set, &err), STK_OK);
}

/* A set of a share of the ids, and of some that are not there. */
static inline void
random_set(prng *r, const catalog *c, uint32_t one_in, uint32_t codes, uint8_t **bytes,
		   stk_semset *set)
{
	stk_semid *ids = calloc(c->n + 4, sizeof(stk_semid));
	size_t n = 0;
	catalog mixed;

	for (size_t i = 0; i < c->n; i++)
		if (prng_below(r, one_in) == 0)
			ids[n++] = c->ids[i];
	for (int i = 0; i < 4 && c->n > 0; i++)
	{
		ids[n] = c->ids[prng_below(r, (uint32_t) c->n)];
		ids[n].codes[prng_below(r, (uint32_t) ids[n].levels)] = (uint16_t) prng_below(r, codes);
		n++;
	}
	catalog_init(&mixed, ids, n, false);
	build_set(&mixed, bytes, set);
	catalog_free(&mixed);
}

static inline void
show(fixture *f, prng *r, shown how, const stk_allocator *a)
{
	f->how = how;
	f->trie = &f->all.trie;
	f->roots = f->all.roots;
	f->n_roots = f->all.n_roots;
	if (how == SHOWN_SET)
	{
		build_set(&f->all, &f->set_bytes[2], &f->sets[2]);
		stk_semset_trie_init(&f->set_trie, &f->sets[2], &stk_malloc);
		f->trie = &f->set_trie.trie;
		f->roots = f->set_roots;
		f->n_roots = f->sets[2].roots;
		for (uint32_t i = 0; i < f->sets[2].roots; i++)
			f->set_roots[i] = (stk_root){f->sets[2].tokenizer[i], i};
	}
	if (how == SHOWN_UNION)
	{
		stk_union_source sources[2];

		for (int p = 0; p < 2; p++)
		{
			stk_semid *ids = calloc(f->all.n + 1, sizeof(stk_semid));
			size_t n = 0;

			for (size_t i = 0; i < f->all.n; i++)
				if (prng_below(r, 3) != (uint32_t) p * 2)
					ids[n++] = f->all.ids[i];
			/* The second has all that the first lacks. */
			for (size_t i = 0; i < f->all.n && p == 1; i++)
			{
				bool held = false;

				for (size_t j = 0; j < f->parts[0].n; j++)
					held |= catalog_compare(&f->all.ids[i], &f->parts[0].ids[j]) == 0;
				for (size_t j = 0; j < n; j++)
					held |= catalog_compare(&f->all.ids[i], &ids[j]) == 0;
				if (!held)
					ids[n++] = f->all.ids[i];
			}
			catalog_init(&f->parts[p], ids, n, prng_below(r, 2));
			sources[p] =
				(stk_union_source){&f->parts[p].trie, f->parts[p].roots, f->parts[p].n_roots};
		}
		assert_int_equal(stk_union_create(sources, 2, &stk_malloc, &f->u), STK_OK);
		f->trie = stk_union_trie(f->u);
		f->roots = stk_union_roots(f->u, &f->n_roots);
	}
	f->whole = f->trie;
	f->whole_roots = f->roots;
	f->n_whole_roots = f->n_roots;
	if (f->has_within || f->has_exclude)
	{
		assert_int_equal(stk_restricted_create(&f->restricted, f->trie, f->roots, f->n_roots,
											   f->has_within ? &f->sets[0] : NULL,
											   f->has_exclude ? &f->sets[1] : NULL, a),
						 STK_OK);
		f->trie = stk_restricted_trie(f->restricted);
		f->roots = stk_restricted_roots(f->restricted, &f->n_roots);
	}
}

static inline void
random_model(prng *r, oracle_model *m, int levels, uint32_t codes)
{
	int style = (int) prng_below(r, 3);

	memset(m, 0, sizeof(*m));
	m->levels = levels;
	m->norm = (stk_norm) prng_below(r, 3);
	for (int l = 0; l < levels; l++)
	{
		m->sizes[l] = prng_below(r, 4) == 0 ? 1 + prng_below(r, codes) : codes;
		for (uint32_t i = 0; i < m->sizes[l]; i++)
		{
			float *z = &m->z[l][i];

			if (style == 0)
				*z = (float) prng_below(r, 3);
			else if (style == 1)
				*z = prng_below(r, 5) == 0 ? -INFINITY : (float) (prng_uniform(r) * 8);
			else
				*z = (float) (prng_uniform(r) * 60 - 30);
		}
		m->z[l][prng_below(r, m->sizes[l])] = 1;
	}
}

static inline void
set_up(fixture *f, prng *r, const stk_allocator *a)
{
	uint32_t codes = 1 + prng_below(r, prng_below(r, 7) == 0 ? 40 : 6);
	int levels = 1 + (int) prng_below(r, 4);
	int deepest = levels + (int) prng_below(r, 3);
	int shallowest = 1 + (int) prng_below(r, (uint32_t) deepest);

	memset(f, 0, sizeof(*f));
	catalog_random(&f->all, r, prng_below(r, MAX_IDS), 1 + prng_below(r, 3), shallowest, deepest,
				   codes, prng_below(r, 2));
	f->has_within = prng_below(r, 3) == 0;
	f->has_exclude = prng_below(r, 2) == 0;
	random_set(r, &f->all, 2, codes, &f->set_bytes[0], &f->sets[0]);
	random_set(r, &f->all, 1 + prng_below(r, 4), codes, &f->set_bytes[1], &f->sets[1]);
	f->left = calloc(f->all.n + 1, sizeof(stk_semid));
	for (size_t i = 0; i < f->all.n; i++)
	{
		if (f->has_within && !stk_semset_contains(&f->sets[0], f->all.bytes[i], f->all.lens[i]))
			continue;
		if (f->has_exclude && stk_semset_contains(&f->sets[1], f->all.bytes[i], f->all.lens[i]))
			continue;
		f->left[f->n_left++] = f->all.ids[i];
	}
	random_model(r, &f->model, levels, codes);
	show(f, r, (shown) prng_below(r, N_SHOWN), a);
}

static inline void
tear_down(fixture *f)
{
	stk_restricted_free(f->restricted);
	stk_union_free(f->u);
	if (f->set_trie.set)
		stk_semset_trie_reset(&f->set_trie);
	for (int i = 0; i < 3; i++)
		free(f->set_bytes[i]);
	for (int i = 0; i < 2; i++)
		catalog_free(&f->parts[i]);
	catalog_free(&f->all);
	free(f->left);
}

static inline void
random_options(prng *r, stk_decode_options *o, uint32_t modes)
{
	stk_decode_defaults(o);
	o->beam_size = STK_MAX_BEAM;
	if (modes & 1)
		o->top_k = 1 + prng_below(r, 5);
	if (modes & 2)
		o->top_p = 0.05 + 0.95 * prng_uniform(r);
	if (modes & 4)
		o->length_penalty = prng_uniform(r) * 4 - 2;
	if (modes & 8)
	{
		for (int d = 1; d < 5; d++)
			o->per_prefix[d] = prng_below(r, 3) == 0 ? 1 + prng_below(r, 4) : 0;
	}
}

/* A query of the model's logits. */
static inline uint8_t *
make_query_within(const oracle_model *m, uint32_t tokenizer, const uint8_t *within,
				  size_t within_len, stk_query *q)
{
	float z[STK_MAX_LEVELS * ORACLE_CODES];
	size_t n = 0;
	uint8_t *datum;
	size_t len;
	stk_error err = {0};

	for (int l = 0; l < m->levels; l++)
		for (uint32_t i = 0; i < m->sizes[l]; i++)
			z[n++] = m->z[l][i];
	assert_int_equal(stk_query_from_logits(z, m->levels, m->sizes, tokenizer, m->norm, within,
										   within_len, &stk_malloc, &datum, &len, &err),
					 STK_OK);
	assert_int_equal(stk_query_view(datum, len, q, &err), STK_OK);
	return datum;
}

static inline uint8_t *
make_query(const oracle_model *m, uint32_t tokenizer, stk_query *q)
{
	return make_query_within(m, tokenizer, NULL, 0, q);
}

/* One that carries what the sets leave, to search all ids by. */
static inline uint8_t *
make_query_of_left(const fixture *f, uint32_t tokenizer, stk_query *q)
{
	stk_semid *ids = calloc(f->n_left + 1, sizeof(stk_semid));
	uint8_t *set, *datum;
	size_t len;
	stk_error err = {0};
	catalog left;

	memcpy(ids, f->left, f->n_left * sizeof(stk_semid));
	catalog_init(&left, ids, f->n_left, false);
	assert_int_equal(
		stk_semset_build(left.pointers, left.lens, left.n, 0, &stk_malloc, NULL, &set, &len, &err),
		STK_OK);
	datum = make_query_within(&f->model, tokenizer, set, len, q);
	free(set);
	catalog_free(&left);
	return datum;
}

#endif
