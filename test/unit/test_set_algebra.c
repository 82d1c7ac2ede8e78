/*
 * Union, intersection and difference of sets: against the same of lists of ids.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bytes.h"
#include "catalog.h"
#include "core/semset.h"
#include "core/set_algebra.h"
#include "failing.h"

typedef struct built
{
	catalog c;
	uint8_t *bytes;
	size_t len;
	stk_semset set;
} built;

/* ids is taken over. */
static void
build(built *s, stk_semid *ids, size_t n)
{
	stk_error err = {0};

	catalog_init(&s->c, ids, n, false);
	assert_int_equal(stk_semset_build(s->c.pointers, s->c.lens, s->c.n, 0, &stk_malloc, NULL,
									  &s->bytes, &s->len, &err),
					 STK_OK);
	assert_int_equal(stk_semset_view(s->bytes, s->len, &s->set, &err), STK_OK);
}

static void
built_free(built *s)
{
	free(s->bytes);
	catalog_free(&s->c);
}

/* Ids of few codes, so that sets share prefixes and one id is the prefix of another. */
static void
random_set(prng *r, built *s, uint32_t codes, int tokenizers)
{
	size_t n = prng_below(r, 4) ? prng_below(r, 60) : 0;
	stk_semid *ids = calloc(n + 1, sizeof(stk_semid));
	int levels = 1 + (int) prng_below(r, 5);

	for (size_t i = 0; i < n; i++)
	{
		ids[i].tokenizer = prng_below(r, (uint32_t) tokenizers) * 1000000007u;
		ids[i].levels = 1 + (int) prng_below(r, (uint32_t) levels);
		for (int l = 0; l < ids[i].levels; l++)
			ids[i].codes[l] = (uint16_t) (prng_below(r, codes) * 7919);
	}
	build(s, ids, n);
}

static bool
has(const built *s, const stk_semid *id)
{
	uint8_t bytes[STK_SEMID_MAX_BYTES];

	return stk_semset_contains(&s->set, bytes, stk_semid_pack(id, bytes));
}

/* At least 20 ids of one tokenizer. */
static void
large_set(prng *r, built *s)
{
	random_set(r, s, 4, 1);
	while (s->c.n < 20)
	{
		built_free(s);
		random_set(r, s, 4, 1);
	}
}

/* The set that the operation makes of the lists. */
static void
expected(const built *a, const built *b, stk_set_op op, built *want)
{
	stk_semid *ids = calloc(a->c.n + b->c.n + 1, sizeof(stk_semid));
	size_t n = 0;

	for (size_t i = 0; i < a->c.n; i++)
		if (op == STK_SET_UNION || has(b, &a->c.ids[i]) == (op == STK_SET_INTERSECT))
			ids[n++] = a->c.ids[i];
	for (size_t i = 0; i < b->c.n && op == STK_SET_UNION; i++)
		ids[n++] = b->c.ids[i];
	build(want, ids, n);
}

static void
test_random(void **state)
{
	prng r = {7};
	size_t empty = 0;

	(void) state;
	for (int round = 0; round < 3000; round++)
	{
		uint32_t codes = 1 + prng_below(&r, 6);
		int tokenizers = 1 + (int) prng_below(&r, 2);
		built a, b;

		random_set(&r, &a, codes, tokenizers);
		random_set(&r, &b, codes, tokenizers);
		for (stk_set_op op = STK_SET_UNION; op <= STK_SET_EXCEPT; op++)
		{
			built want;
			uint8_t *bytes;
			size_t len;
			stk_error err = {0};

			expected(&a, &b, op, &want);
			assert_int_equal(
				stk_semset_combine(&a.set, &b.set, op, 4, &stk_malloc, NULL, &bytes, &len, &err),
				STK_OK);
			assert_int_equal(len, want.len + 4);
			assert_memory_equal(bytes + 4, want.bytes, want.len);
			assert_int_equal(stk_semset_check(bytes + 4, len - 4, &err), STK_OK);
			empty += want.c.n == 0;
			free(bytes);
			built_free(&want);
		}
		built_free(&a);
		built_free(&b);
	}
	assert_true(empty > 100 && empty < 6000);
}

static bool
stop_after(void *ctx)
{
	return (*(int *) ctx)-- == 0;
}

/* Out of memory and asked to stop at every point: nothing is left behind. */
static void
test_gives_up(void **state)
{
	prng r = {9};
	built a, b;
	uint8_t *bytes;
	size_t len;
	stk_error err;

	(void) state;
	large_set(&r, &a);
	large_set(&r, &b);
	for (stk_set_op op = STK_SET_UNION; op <= STK_SET_EXCEPT; op++)
	{
		int stops = 0;
		stk_status status = STK_ENOMEM;

		for (int n = 0; status == STK_ENOMEM; n++)
		{
			failing_allocator f;
			stk_allocator alloc = failing_init(&f, n);

			status = stk_semset_combine(&b.set, &a.set, op, 0, &alloc, NULL, &bytes, &len, &err);
			assert_int_equal(f.live, status == STK_OK);
			if (status == STK_OK)
				free(bytes);
		}
		assert_int_equal(status, STK_OK);
		for (status = STK_ECANCELED; status == STK_ECANCELED; stops++)
		{
			int left = stops;
			stk_monitor monitor = {stop_after, &left};

			status = stk_semset_combine(&b.set, &a.set, op, 0, &stk_malloc, &monitor, &bytes, &len,
										&err);
		}
		assert_int_equal(status, STK_OK);
		free(bytes);
		assert_true(stops > 3);
	}
	built_free(&a);
	built_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_gives_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
