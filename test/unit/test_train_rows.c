/* What trainers share: which row was where, which an error names, and what progress shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/ema.h"
#include "core/refine.h"
#include "core/rqkmeans.h"
#include "core/train_rows.h"
#include "rows.h"

enum
{
	rows = 200,
	dim = 3,
	levels = 3,
	codes = 7
};

typedef enum way
{
	LLOYD,
	BATCHES,
	EMA,
	REFINE,
	WAYS
} way;

static void
sorted_rows_know_where_they_were(void **state)
{
	static float x[rows * dim], y[rows * dim];
	size_t from[rows];
	uint64_t seed = 81;

	(void) state;
	fill(x, rows * dim, 1, &seed);
	/* Rows that are equal in part, or wholly. */
	for (size_t i = 0; i < rows; i += 3)
		x[i * dim] = 0.5f;
	memcpy(x + 50 * dim, x, 20 * dim * sizeof(float));
	memcpy(y, x, sizeof(x));
	assert_int_equal(stk_train_rows_sort(plain_exec(), y, rows, dim, from), STK_OK);
	for (size_t i = 0; i < rows; i++)
	{
		bool seen = false;

		assert_true(from[i] < rows);
		for (size_t j = 0; j < i; j++)
			seen |= from[j] == from[i];
		assert_false(seen);
		assert_memory_equal(y + i * dim, x + from[i] * dim, dim * sizeof(float));
	}
}

static void
batches_know_where_their_rows_were(void **state)
{
	static float x[rows * dim], y[rows * dim];
	uint64_t seed = 82;
	stk_batches b;

	(void) state;
	fill(x, rows * dim, 1, &seed);
	assert_int_equal(stk_batches_init(&b, plain_exec(), rows, 70), STK_OK);
	for (int epoch = 1; epoch <= 2; epoch++)
	{
		size_t n, all = 0;

		stk_batches_begin(&b, 5, epoch);
		do
		{
			assert_int_equal(stk_batches_next(&b, plain_exec(), x, dim, y, &n), STK_OK);
			for (size_t i = 0; i < n; i++)
				assert_memory_equal(y + i * dim, x + stk_batches_place(&b, n, i) * dim,
									dim * sizeof(float));
			all += n;
		} while (n > 0);
		assert_int_equal(all, rows);
	}
	stk_batches_free(&b, plain_exec());
}

/* What progress has shown of the codewords. */
typedef struct story
{
	int calls;
	int trained;   /* at the last call */
	bool together; /* all levels at every call */
	float last[levels * codes * dim];
	float finished[levels * codes * dim]; /* as each level was at its own last call */
} story;

static void
listen(void *ctx, const stk_train_progress *p)
{
	story *s = ctx;
	size_t bytes = (size_t) codes * dim * sizeof(float);

	s->calls++;
	assert_true(p->trained >= s->trained);
	if (s->together)
		assert_int_equal(p->trained, levels);
	else
		assert_int_equal(p->trained, p->level + 1);
	s->trained = p->trained;
	memcpy(s->last, p->codewords, (size_t) p->trained * bytes);
	if (p->level >= 0)
		memcpy(s->finished + p->level * codes * dim, p->codewords + p->level * codes * dim, bytes);
	for (size_t i = 0; i < (size_t) p->trained * codes * dim; i++)
		assert_true(isfinite(p->codewords[i]));
}

static stk_status
train(way by, float *x, float *codewords, story *s, uint32_t size, stk_error *err)
{
	stk_rqkmeans_options opt = {.levels = levels,
								.sizes = {size, size, size},
								.dim = dim,
								.epochs = 4,
								.batch_size = by == BATCHES ? 30 : 0,
								.seed = 3};
	stk_ema_options ema = {.levels = levels,
						   .sizes = {size, size, size},
						   .dim = dim,
						   .epochs = 4,
						   .batch_size = 30,
						   .seed = 3,
						   .decay = 0.9};
	stk_refine_options refine = {.beam = 2, .rounds = 3, .seed = 3};
	stk_codebook shape = {.levels = levels, .sizes = {size, size, size}, .dim = dim};

	if (s)
	{
		s->together = by != LLOYD;
		opt.progress = ema.progress = refine.progress = listen;
		opt.progress_ctx = ema.progress_ctx = refine.progress_ctx = s;
	}
	if (by == EMA)
		return stk_ema_train(&ema, plain_exec(), x, rows, codewords, NULL, err);
	if (by == REFINE)
		return stk_refine(&refine, plain_exec(), &shape, x, rows, codewords, NULL, err);
	return stk_rqkmeans_train(&opt, plain_exec(), x, rows, codewords, NULL, err);
}

static void
progress_shows_the_codewords(void **state)
{
	static float x[rows * dim], y[rows * dim];
	float codewords[levels * codes * dim];
	uint64_t seed = 83;

	(void) state;
	fill(x, rows * dim, 1, &seed);
	for (way by = LLOYD; by < WAYS; by++)
	{
		story s = {.calls = 0};
		stk_error err;

		memcpy(y, x, sizeof(x));
		if (by == REFINE)
			fill(codewords, levels * codes * dim, 0.5f, &seed);
		assert_int_equal(train(by, y, codewords, &s, codes, &err), STK_OK);
		assert_true(s.calls >= 5);
		assert_int_equal(s.trained, levels);
		assert_memory_equal(s.last, codewords, sizeof(codewords));
		if (by != REFINE)
			assert_memory_equal(s.finished, codewords, sizeof(codewords));
	}
}

/*
 * One row that its codeword lies too far from, anywhere among the others: the error has its place
 * in x as given, and the level.
 */
static void
errors_name_the_row_as_given(void **state)
{
	static float x[rows * dim];
	float codewords[levels * dim];
	uint64_t seed = 84;

	(void) state;
	for (way by = LLOYD; by < WAYS; by++)
	{
		for (size_t at = 0; at < rows; at += 23)
		{
			stk_error err = {.row = SIZE_MAX, .level = -1};

			for (size_t i = 0; i < rows; i++)
			{
				/* The rows are sorted by their first value, so it comes to lie anywhere again. */
				x[i * dim] = next_float(&seed);
				x[i * dim + 1] = i == at ? -3e38f : 3e38f;
				x[i * dim + 2] = next_float(&seed);
			}
			for (size_t i = 0; i < levels * dim; i++)
				codewords[i] = i == 1 ? 3e38f : 0;
			assert_int_equal(train(by, x, codewords, NULL, 1, &err), STK_ERANGE);
			assert_int_equal(err.row, at);
			assert_int_equal(err.level, 1);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sorted_rows_know_where_they_were),
		cmocka_unit_test(batches_know_where_their_rows_were),
		cmocka_unit_test(progress_shows_the_codewords),
		cmocka_unit_test(errors_name_the_row_as_given),
	};

	return cmocka_run_group_tests_name("training rows", tests, NULL, NULL);
}
