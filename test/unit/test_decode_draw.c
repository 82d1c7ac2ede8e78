/*
 * Decoding with a temperature: what is drawn has the distribution that it should have, each id comes
 * once, and a draw follows from the path.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "decode_fixture.h"
#include "rows.h"

/* How often each distribution is drawn from. */
static size_t
n_draws(void)
{
	return unit_size(100000, 20000, 1000);
}

/* Counts beside what was expected of them; those of which less than 5 were are taken together. */
static void
assert_distribution(const uint32_t *counts, const double *p, size_t n)
{
	double chi_square = 0;
	double rest_expected = 0;
	double rest_counted = 0;
	double total = 0;
	int freedom = -1;

	for (size_t i = 0; i < n; i++)
	{
		double expected = p[i] * (double) n_draws();

		total += p[i];
		if (expected < 5)
		{
			rest_expected += expected;
			rest_counted += counts[i];
			continue;
		}
		chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
		freedom++;
	}
	assert_true(fabs(total - 1) < 1e-9);
	if (rest_expected >= 5)
	{
		chi_square +=
			(rest_counted - rest_expected) * (rest_counted - rest_expected) / rest_expected;
		freedom++;
	}
	else
		assert_true(rest_counted < 25);
	assert_true(freedom > 3);
	/* Seeds are fixed: 4 standard deviations tell a wrong distribution from a right one. */
	if (!(chi_square < freedom + 4 * sqrt(2.0 * freedom)))
		fail_msg("chi-square %f with %d degrees of freedom", chi_square, freedom);
}

static size_t
number_of(const catalog *c, const stk_semid *id)
{
	const stk_semid *found = bsearch(id, c->ids, c->n, sizeof(stk_semid), catalog_compare);

	assert_non_null(found);
	return (size_t) (found - c->ids);
}

typedef struct drawn
{
	size_t id;
	double cost;
} drawn;

/* The first k ids of one draw. */
static size_t
draw(const catalog *c, stk_trie *trie, const stk_root *roots, size_t n_roots, const stk_query *q,
	 const stk_decode_options *o, size_t k, drawn *out)
{
	stk_decode *d;
	stk_hit hit;
	bool found = true;
	size_t n = 0;
	stk_error err = {0};

	if (stk_decode_start(&d, q, trie, roots, n_roots, o, &stk_malloc, &err) != STK_OK)
		fail_msg("%s", err.message);
	while (n < k)
	{
		assert_int_equal(stk_decode_next(d, &found, &hit), STK_OK);
		if (!found)
			break;
		out[n++] = (drawn){number_of(c, &hit.id), hit.cost};
		assert_int_equal(stk_decode_took(d, &hit), STK_OK);
	}
	stk_decode_free(d);
	return n;
}

/* The probabilities that ids must be drawn with, written plainly. */
static void
expect(const oracle_model *m, const stk_decode_options *o, const catalog *c, double *p)
{
	double total = 0;

	for (size_t i = 0; i < c->n; i++)
	{
		size_t alike = 0;

		for (size_t j = 0; j < c->n; j++)
			alike += oracle_shares(&c->ids[i], &c->ids[j], m->levels);
		p[i] = 0;
		if (c->ids[i].levels < m->levels)
			continue;
		if (m->norm == STK_NORM_MASKED)
			p[i] = exp(-oracle_cost(m, o, c->ids, c->n, &c->ids[i])) / (double) alike;
		else
		{
			p[i] = 1;
			for (int l = 0; l < m->levels; l++)
				p[i] *= exp((double) m->z[l][c->ids[i].codes[l]] / o->temperature);
		}
		total += p[i];
	}
	/* What is masked adds up to 1 unless it leads to ids that are too short. */
	for (size_t i = 0; i < c->n; i++)
		p[i] /= total;
}

static void
fill_model(prng *r, oracle_model *m, int levels, uint32_t codes, stk_norm norm)
{
	memset(m, 0, sizeof(*m));
	m->levels = levels;
	m->norm = norm;
	for (int l = 0; l < levels; l++)
	{
		m->sizes[l] = codes;
		for (uint32_t i = 0; i < codes; i++)
			m->z[l][i] = (float) (prng_uniform(r) * 3);
	}
}

/* First draws and second ones, of 200 ids; masked and full, with ids of more levels than the query. */
static void
test_distribution(void **state)
{
	(void) state;
	for (int kind = 0; kind < 6; kind++)
	{
		prng r = {(uint64_t) kind + 1};
		catalog c;
		oracle_model m;
		stk_decode_options o;
		stk_query q;
		uint8_t *datum;
		double p[260], second[260] = {0};
		uint32_t counts[2][260] = {{0}};

		catalog_random(&c, &r, 260, kind % 3 == 2 ? 2 : 1, 3, kind % 3 == 1 ? 5 : 3, 8, kind % 2);
		assert_true(c.n > 150 && c.n <= 260);
		/* Two levels are scored of three to five: the others are drawn evenly. */
		fill_model(&r, &m, kind % 3 == 1 ? 2 : 3, 8, kind < 3 ? STK_NORM_MASKED : STK_NORM_FULL);
		datum = make_query(&m, 0, &q);
		stk_decode_defaults(&o);
		o.temperature = 0.7;
		o.seed = 42;
		expect(&m, &o, &c, p);
		for (size_t i = 0; i < c.n; i++)
			for (size_t j = 0; j < c.n; j++)
				second[j] += i != j ? p[i] * p[j] / (1 - p[i]) : 0;
		for (uint64_t i = 0; i < n_draws(); i++)
		{
			drawn out[2];

			o.stream = i;
			assert_int_equal(draw(&c, &c.trie, c.roots, c.n_roots, &q, &o, 2, out), 2);
			for (int j = 0; j < 2; j++)
				counts[j][out[j].id]++;
		}
		assert_distribution(counts[0], p, c.n);
		assert_distribution(counts[1], second, c.n);
		free(datum);
		catalog_free(&c);
	}
}

/* All pairs of a few ids, by the seed; what top_k and top_p leave; a set that the query carries. */
static void
test_pairs(void **state)
{
	(void) state;
	for (int kind = 0; kind < 4; kind++)
	{
		prng r = {(uint64_t) kind + 20};
		catalog c;
		oracle_model m;
		stk_decode_options o;
		stk_query q;
		uint8_t *datum;
		double p[32], pairs[32 * 32] = {0};
		uint32_t counts[32 * 32] = {0};

		catalog_random(&c, &r, 20, 1, 3, 3, 3, true);
		fill_model(&r, &m, 3, 3, kind == 1 ? STK_NORM_NONE : STK_NORM_MASKED);
		datum = make_query(&m, 0, &q);
		stk_decode_defaults(&o);
		o.temperature = 1.5;
		if (kind == 2)
			o.top_k = 2;
		if (kind == 3)
			o.top_p = 0.7;
		expect(&m, &o, &c, p);
		for (size_t i = 0; i < c.n; i++)
			for (size_t j = 0; j < c.n; j++)
				pairs[i * c.n + j] = i != j ? p[i] * p[j] / (1 - p[i]) : 0;
		for (uint64_t i = 0; i < n_draws(); i++)
		{
			drawn out[2];

			o.seed = i;
			assert_int_equal(draw(&c, &c.trie, c.roots, c.n_roots, &q, &o, 2, out), 2);
			counts[out[0].id * c.n + out[1].id]++;
		}
		assert_distribution(counts, pairs, c.n * c.n);
		free(datum);
		catalog_free(&c);
	}
}

/* One candidate of one beam is a path drawn code by code: RecTokens' sampling. */
static void
test_rectokens(void **state)
{
	prng r = {30};
	catalog c;
	oracle_model m;
	stk_decode_options o;
	stk_query q;
	uint8_t *datum;
	double p[256];
	uint32_t counts[256] = {0};

	(void) state;
	catalog_random(&c, &r, 150, 1, 3, 3, 6, true);
	fill_model(&r, &m, 3, 6, STK_NORM_MASKED);
	datum = make_query(&m, 0, &q);
	stk_decode_defaults(&o);
	o.temperature = 0.8;
	o.sampler = STK_SAMPLER_RECTOKENS;
	o.beam_size = 1;
	expect(&m, &o, &c, p);
	for (uint64_t i = 0; i < n_draws(); i++)
	{
		drawn out[2];

		o.stream = i;
		assert_int_equal(draw(&c, &c.trie, c.roots, c.n_roots, &q, &o, 2, out), 1);
		counts[out[0].id]++;
	}
	assert_distribution(counts, p, c.n);
	free(datum);
	catalog_free(&c);
}

/* The first k of a guided search that is fed the model. */
static size_t
draw_guided(const fixture *f, const catalog *c, const stk_decode_options *o, size_t k, drawn *out)
{
	float *rows = calloc(MAX_IDS, ORACLE_CODES * sizeof(float));
	const oracle_model *m = &f->model;
	stk_decode_options with = *o;
	size_t n = 0;
	stk_guided *g;
	stk_error err = {0};

	with.norm = m->norm;
	assert_int_equal(
		stk_guided_start(&g, f->trie, &f->roots[0], m->levels, &with, &stk_malloc, &err), STK_OK);
	while (n < k)
	{
		const stk_beam *beams;
		size_t wanted;
		int level;
		bool found;
		stk_hit hit;

		assert_int_equal(stk_guided_wants(g, &beams, &wanted, &level), STK_OK);
		for (size_t b = 0; b < wanted; b++)
			memcpy(rows + b * m->sizes[level], m->z[level], m->sizes[level] * sizeof(float));
		if (wanted > 0)
		{
			assert_int_equal(stk_guided_feed(g, rows, m->sizes[level], &err), STK_OK);
			continue;
		}
		assert_int_equal(stk_guided_next(g, &found, &hit), STK_OK);
		if (!found)
			break;
		/* A query does not take ids that are shorter than it. */
		if (hit.id.levels >= m->levels)
			out[n++] = (drawn){number_of(c, &hit.id), hit.cost};
	}
	stk_guided_free(g);
	free(rows);
	return n;
}

static void
assert_same(const drawn *x, size_t n_x, const drawn *y, size_t n_y)
{
	assert_int_equal(n_x, n_y);
	for (size_t i = 0; i < n_x; i++)
	{
		assert_int_equal(x[i].id, y[i].id);
		assert_memory_equal(&x[i].cost, &y[i].cost, sizeof(double));
	}
}

/*
 * Random catalogs and options: each id comes once and with the cost that the oracle gives it, and
 * the trie that shows it, what else is in the batch, and the beam make no difference.
 */
static void
test_paths(void **state)
{
	prng r = {40};
	int beams = 0;

	(void) state;
	for (int round = 0; round < (int) (n_draws() / 8); round++)
	{
		fixture f;
		catalog left;
		stk_decode_options o;
		stk_query q;
		uint8_t *datum;
		drawn all[MAX_IDS], same[MAX_IDS];
		bool seen[MAX_IDS] = {0};
		oracle_hit want[MAX_IDS];
		stk_semid *ids;
		size_t n, n_same, n_want;

		set_up(&f, &r, &stk_malloc);
		random_options(&r, &o, prng_below(&r, 4));
		o.temperature = 0.25 + prng_uniform(&r) * 3;
		o.seed = prng_next(&r);
		o.stream = prng_below(&r, 3);
		ids = malloc((f.n_left + 1) * sizeof(stk_semid));
		memcpy(ids, f.left, f.n_left * sizeof(stk_semid));
		catalog_init(&left, ids, f.n_left, prng_below(&r, 2));
		datum = make_query(&f.model, 0, &q);
		n = draw(&left, f.trie, f.roots, f.n_roots, &q, &o, MAX_IDS, all);
		n_same = draw(&left, &left.trie, left.roots, left.n_roots, &q, &o, MAX_IDS, same);
		assert_same(all, n, same, n_same);

		n_want = oracle_search(&f.model, &o, left.ids, left.n, f.model.levels, 0, want);
		if (f.model.norm == STK_NORM_MASKED || (o.top_k == 0 && o.top_p == 1))
			assert_int_equal(n, n_want);
		for (size_t i = 0; i < n; i++)
		{
			assert_false(seen[all[i].id]);
			seen[all[i].id] = true;
		}
		for (size_t i = 0; i < n_want && f.model.norm == STK_NORM_MASKED; i++)
			for (size_t j = 0; j < n; j++)
				if (all[j].id == want[i].id)
					assert_memory_equal(&all[j].cost, &want[i].cost, sizeof(double));

		/* A beam of k finds the same k, where none of its prefixes leads nowhere. */
		if (f.n_roots == 1 && f.model.norm == STK_NORM_MASKED)
		{
			size_t k = 1 + prng_below(&r, 6);
			stk_decode_options plain;

			stk_decode_defaults(&plain);
			plain.temperature = o.temperature;
			o.beam_size = k;
			if (oracle_search(&f.model, &plain, left.ids, left.n, f.model.levels, 0, want) < left.n)
				o.beam_size = MAX_IDS;
			else
				beams++;
			n_same = draw_guided(&f, &left, &o, k, same);
			assert_same(all, n < k ? n : k, same, n_same);
		}
		free(datum);
		catalog_free(&left);
		tear_down(&f);
	}
	assert_true(beams > (int) (n_draws() / 300));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_distribution),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_rectokens),
		cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
