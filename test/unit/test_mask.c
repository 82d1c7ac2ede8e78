/*
 * Prefixes looked up together, and the rows of bits made of what may follow them, against brute
 * force over the ids of random catalogs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "catalog.h"
#include "core/lookup.h"
#include "core/mask.h"
#include "failing.h"

#define MAX_PREFIXES 60
#define MAX_VOCAB 200
#define ROW_BYTES ((MAX_VOCAB + 7) / 8)

static const stk_child root_child = {.flags = STK_CHILD_INNER};

/* A trie's codes: of the rest nothing is true. */
static stk_status
codes_of(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n)
{
	catalog *c = (catalog *) trie;
	stk_status status = catalog_expand(trie, node, children, n);

	for (size_t i = 0; i < *n; i++)
	{
		uint16_t code = c->children[i].code;

		memset(&c->children[i], 0xee, sizeof(stk_child));
		c->children[i].code = code;
	}
	return status;
}

/* Does this id of the catalog begin with the prefix? */
static bool
begins(const stk_semid *id, const stk_prefix *prefix)
{
	return (prefix->tokenizer == 0 || prefix->tokenizer == id->tokenizer) &&
		   id->levels >= prefix->levels &&
		   memcmp(id->codes, prefix->codes, (size_t) prefix->levels * sizeof(uint16_t)) == 0;
}

/* A prefix of an id of the catalog, all of it or one that there is none of, or the empty one. */
static stk_prefix
random_prefix(prng *r, const catalog *c, uint32_t codes)
{
	stk_prefix prefix = {0};

	if (c->n > 0 && prng_below(r, 8) > 0)
	{
		const stk_semid *id = &c->ids[prng_below(r, (uint32_t) c->n)];

		prefix.tokenizer = id->tokenizer;
		prefix.levels = (int) prng_below(r, (uint32_t) id->levels + 1);
		memcpy(prefix.codes, id->codes, sizeof(prefix.codes));
	}
	if (prng_below(r, 3) == 0)
		prefix.tokenizer = prng_below(r, 5);
	if (prng_below(r, 4) == 0 && prefix.levels < STK_MAX_LEVELS)
		prefix.codes[prefix.levels++] = (uint16_t) prng_below(r, codes);
	return prefix;
}

/* What a lookup is to fill, and how. */
typedef struct rows
{
	stk_mask_form form;
	const stk_prefix *prefixes;
	uint8_t bits[MAX_PREFIXES][ROW_BYTES];
	bool codes_alone;
	uint64_t items[MAX_PREFIXES][MAX_VOCAB]; /* below each code; not where codes are all there is */
	int calls[MAX_PREFIXES];
	int bad_level;
	stk_error err;
} rows;

static stk_status
fill(void *ctx, size_t prefix, const stk_child *at, const stk_child *children, size_t n)
{
	rows *m = ctx;

	m->calls[prefix]++;
	for (size_t i = 0; i < n; i++)
	{
		assert_true(i == 0 || children[i - 1].code < children[i].code);
		if (!m->codes_alone)
			m->items[prefix][children[i].code] += children[i].items;
	}
	m->bad_level = m->prefixes[prefix].levels;
	return stk_mask_row(&m->form, m->prefixes[prefix].levels, at, children, n, m->bits[prefix],
						&m->err);
}

static void
set_bit(uint8_t *row, uint64_t bit, bool first_high)
{
	row[bit / 8] |= (uint8_t) (first_high ? 0x80u >> bit % 8 : 1u << bit % 8);
}

/* Fill `want` from the ids themselves; false where one has no token. */
static bool
brute_force(rows *want, const catalog *c, const stk_prefix *prefixes, size_t n)
{
	const stk_mask_form *form = &want->form;

	for (size_t p = 0; p < n; p++)
	{
		int level = prefixes[p].levels;
		uint32_t tokenizer = UINT32_MAX;

		for (size_t i = 0; i < c->n; i++)
		{
			uint64_t token;

			if (!begins(&c->ids[i], &prefixes[p]))
				continue;
			want->calls[p] += c->ids[i].tokenizer != tokenizer;
			tokenizer = c->ids[i].tokenizer;
			if (c->ids[i].levels == level)
			{
				if (form->end_token != STK_MASK_NO_END)
					set_bit(want->bits[p], form->end_token, form->first_high);
				continue;
			}
			token = c->ids[i].codes[level];
			if (!want->codes_alone)
				want->items[p][token] += c->items[i];
			if (form->tokens.n_offsets > 0 && level >= form->tokens.n_offsets)
				return false;
			if (form->tokens.n_offsets > 0)
				token += form->tokens.offsets[level];
			if (token >= form->tokens.vocab || token == form->end_token)
				return false;
			set_bit(want->bits[p], token, form->first_high);
		}
	}
	return true;
}

static void
random_form(prng *r, stk_mask_form *form, uint32_t codes, int levels)
{
	memset(form, 0, sizeof(*form));
	form->first_high = prng_below(r, 2);
	form->end_token = STK_MASK_NO_END;
	if (prng_below(r, 2))
	{
		form->tokens.n_offsets = levels - (prng_below(r, 10) == 0);
		for (int l = 0; l < form->tokens.n_offsets; l++)
			form->tokens.offsets[l] = prng_below(r, MAX_VOCAB - 1 - codes); /* may overlap */
	}
	form->tokens.vocab =
		prng_below(r, 6) == 0 ? 1 + prng_below(r, MAX_VOCAB - 1) : (uint32_t) MAX_VOCAB;
	if (prng_below(r, 2))
		form->end_token = form->tokens.vocab - 1;
}

/* Random catalogs, prefixes and forms: the same bits, and no node expanded twice. */
static void
test_rows(void **state)
{
	prng r = {20};
	int refused = 0;

	(void) state;
	for (int round = 0; round < 4000; round++)
	{
		uint32_t codes = 1 + prng_below(&r, 40);
		int levels = 1 + (int) prng_below(&r, 5);
		size_t n = prng_below(&r, MAX_PREFIXES + 1);
		stk_prefix prefixes[MAX_PREFIXES];
		rows got = {.bad_level = -1};
		rows want = {0};
		catalog c;
		uint64_t shared;
		stk_status status;

		catalog_random(&c, &r, prng_below(&r, 80), 1 + prng_below(&r, 3), 1, levels, codes,
					   prng_below(&r, 2));
		for (size_t i = 0; i < n; i++)
			prefixes[i] = i > 0 && prng_below(&r, 5) == 0 ? prefixes[prng_below(&r, (uint32_t) i)]
														  : random_prefix(&r, &c, codes);
		random_form(&r, &got.form, codes, levels);
		got.codes_alone = prng_below(&r, 2);
		if (prng_below(&r, 4) > 0)
			c.trie.codes = codes_of;
		want.form = got.form;
		want.codes_alone = got.codes_alone;
		got.prefixes = prefixes;
		status = stk_lookup(&c.trie, c.roots, c.n_roots, prefixes, n, got.codes_alone, &stk_malloc,
							fill, &got);
		shared = c.expansions;
		if (brute_force(&want, &c, prefixes, n))
		{
			assert_int_equal(status, STK_OK);
			assert_memory_equal(got.bits, want.bits, sizeof(want.bits));
			assert_memory_equal(got.items, want.items, sizeof(want.items));
			assert_memory_equal(got.calls, want.calls, sizeof(want.calls));
			c.expansions = 0;
			for (size_t i = 0; i < n; i++)
			{
				got.prefixes = &prefixes[i];
				assert_int_equal(stk_lookup(&c.trie, c.roots, c.n_roots, &prefixes[i], 1,
											got.codes_alone, &stk_malloc, fill, &got),
								 STK_OK);
			}
			assert_true(shared <= c.expansions);
		}
		else
		{
			char level[32];

			refused++;
			assert_int_equal(status, STK_EINVAL);
			snprintf(level, sizeof(level), " of level %d ", got.bad_level);
			assert_non_null(strstr(got.err.message, level));
		}
		catalog_free(&c);
	}
	assert_in_range(refused, 200, 2000);
}

/* A node that all prefixes pass through is expanded once. */
static void
test_shared(void **state)
{
	stk_semid *ids = calloc(48, sizeof(stk_semid));
	stk_prefix prefixes[48];
	rows m = {.form = {.tokens = {.vocab = MAX_VOCAB}, .end_token = STK_MASK_NO_END},
			  .prefixes = prefixes};
	catalog c;

	(void) state;
	for (int i = 0; i < 48; i++)
	{
		ids[i] = (stk_semid){1, 4, {7, (uint16_t) (i / 8), (uint16_t) (i % 8), 5}};
		prefixes[i] = (stk_prefix){.levels = 2, .codes = {7, (uint16_t) (i / 8)}};
	}
	catalog_init(&c, ids, 48, true);
	assert_int_equal(stk_lookup(&c.trie, c.roots, 1, prefixes, 48, false, &stk_malloc, fill, &m),
					 STK_OK);
	assert_int_equal(c.expansions, 1 + 1 + 6);
	assert_int_equal(m.bits[47][0], 0xff);
	catalog_free(&c);
}

static stk_status
stop(void *ctx, size_t prefix, const stk_child *at, const stk_child *children, size_t n)
{
	(void) at, (void) children, (void) n;
	return prefix == *(size_t *) ctx ? STK_ERANGE : STK_OK;
}

/* What the callback and the trie return comes back; memory that is not there too, none is lost. */
static void
test_ends(void **state)
{
	prng r = {3};
	stk_prefix prefixes[8];
	size_t last = 5;
	catalog c;
	long allowed = 0;
	stk_status status;

	(void) state;
	catalog_random(&c, &r, 50, 1, 3, 3, 3, true);
	for (int i = 0; i < 8; i++)
		prefixes[i] =
			(stk_prefix){.levels = i % 3, .codes = {c.ids[i].codes[0], c.ids[i].codes[1]}};
	assert_int_equal(stk_lookup(&c.trie, c.roots, 1, prefixes, 8, false, &stk_malloc, stop, &last),
					 STK_ERANGE);
	do
	{
		failing_allocator f;
		stk_allocator a = failing_init(&f, allowed++);

		last = SIZE_MAX;
		status = stk_lookup(&c.trie, c.roots, 1, prefixes, 8, false, &a, stop, &last);
		assert_int_equal(f.live, 0);
		assert_true(status == STK_OK || status == STK_ENOMEM);
	} while (status != STK_OK);
	assert_int_equal(allowed, 6);
	catalog_free(&c);
}

/* The errors, as they are worded. */
static void
test_errors(void **state)
{
	stk_child children[2] = {{.code = 3, .flags = STK_CHILD_ID}, {.code = 9}};
	stk_mask_form form = {.tokens = {.vocab = 9}, .end_token = STK_MASK_NO_END};
	uint8_t row[ROW_BYTES] = {0};
	stk_error err;

	(void) state;
	assert_int_equal(stk_mask_row(&form, 2, &root_child, children, 2, row, &err), STK_EINVAL);
	assert_string_equal(err.message, "code 9 of level 2 is token 9, expected one below 9");
	form.tokens = (stk_csr_tokens){.vocab = 2147483647, .n_offsets = 2, .offsets = {0, 2147483647}};
	assert_int_equal(stk_mask_row(&form, 1, &root_child, children, 2, row, &err), STK_EINVAL);
	assert_string_equal(err.message,
						"code 3 of level 1 is token 2147483650, expected one below 2147483647");
	assert_int_equal(stk_mask_row(&form, 2, &root_child, children, 2, row, &err), STK_EINVAL);
	assert_string_equal(err.message, "code 3 of level 2 has no offset: there are 2");
	form = (stk_mask_form){.tokens = {.vocab = 10}, .end_token = 9};
	assert_int_equal(stk_mask_row(&form, 0, &root_child, children, 2, row, &err), STK_EINVAL);
	assert_string_equal(err.message, "code 9 of level 0 is token 9, the end_token");
	/* an id that ends where nothing follows */
	memset(row, 0, sizeof(row));
	assert_int_equal(stk_mask_row(&form, 31, &children[0], NULL, 0, row, &err), STK_OK);
	assert_int_equal(row[0], 0);
	assert_int_equal(row[1], 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_shared),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
