/*
 * Trainings to ask a semtokd for, and what core makes of them.
 */
#ifndef WORKER_TRAINING_H
#define WORKER_TRAINING_H

#include "driver.h"

/* Trainings of several kinds, by number; all but the last are short. */
enum
{
	TRAINING_LLOYD,
	TRAINING_BATCHES,
	TRAINING_EMA,
	TRAINING_REFINED,
	TRAINING_HELDOUT,
	TRAINING_LARGE, /* the result does not go inside */
	TRAINING_RESUMED,
	TRAININGS,
	TRAINING_LONG = TRAININGS /* it would take minutes */
};

typedef struct training
{
	stk_train_plan plan;
	stk_device device;
	uint64_t n;
	uint64_t filled; /* rows that there are; n may claim more */
	uint64_t heldout_n;
	float *x;
	float *heldout; /* [heldout_n][dim] */
	size_t codewords;
	float *vectors; /* to begin with, when resumed */
	double *counts;
	int file; /* x, heldout, vectors, counts; then room for the result */
	uint64_t heldout_at;
	uint64_t start_at;
	uint64_t result_at;
	uint64_t request;
} training;

static inline void
training_make(training *t, int which)
{
	uint64_t seed = (uint64_t) which + 1;
	int dim = which == TRAINING_LARGE ? 128 : which == TRAINING_LONG ? 64 : 12;
	uint32_t codes = which == TRAINING_LARGE ? 64 : which == TRAINING_LONG ? 256 : 16;

	*t = (training){.plan = {.method = which == TRAINING_EMA ? STK_TRAIN_EMA : STK_TRAIN_RQKMEANS,
							 .metric = STK_L2,
							 .levels = 3,
							 .sizes = {codes, codes, codes},
							 .dim = dim,
							 .epochs = which == TRAINING_LONG ? 100000 : 4,
							 .seed = 42,
							 .decay = which == TRAINING_EMA ? 0.9 : 0,
							 .beam = 1},
					.n = which == TRAINING_LONG ? 20000 : 1500,
					.file = -1};
	if (which == TRAINING_BATCHES || which == TRAINING_EMA || which == TRAINING_RESUMED ||
		which == TRAINING_LONG)
		t->plan.batch_size = 400;
	if (which == TRAINING_REFINED)
	{
		t->plan.refine = 2;
		t->plan.beam = 3;
	}
	if (which == TRAINING_HELDOUT)
	{
		t->heldout_n = 200;
		t->plan.eval_every = 2;
	}
	t->plan.resume = which == TRAINING_RESUMED;
	t->filled = t->n;
	t->codewords = 3 * (size_t) codes;
	t->x = malloc(t->n * (size_t) dim * sizeof(float));
	t->heldout = malloc((t->heldout_n + 1) * (size_t) dim * sizeof(float));
	t->vectors = calloc(t->codewords, (size_t) dim * sizeof(float));
	t->counts = calloc(t->codewords, sizeof(double));
	fill(t->x, t->n * (size_t) dim, 1, &seed);
	fill(t->heldout, t->heldout_n * (size_t) dim, 1, &seed);
	if (t->plan.resume)
	{
		fill(t->vectors, t->codewords * (size_t) dim, 1, &seed);
		for (size_t i = 0; i < t->codewords; i++)
			t->counts[i] = (double) (i + 1);
	}
	t->file = new_file();
}

static inline void
training_free(training *t)
{
	free(t->x);
	free(t->heldout);
	free(t->vectors);
	free(t->counts);
	close(t->file);
}

static inline uint64_t
put_aligned(int file, uint64_t *end, const void *from, size_t bytes)
{
	uint64_t at = (*end + 7) / 8 * 8;

	put(file, at, from, bytes);
	*end = at + bytes;
	return at;
}

static inline void
send_train(client *c, training *t)
{
	uint8_t out[STK_HEADER_BYTES + STK_BODY_MAX];
	size_t row = (size_t) t->plan.dim * sizeof(float);
	uint64_t vectors = t->codewords * row;
	uint64_t counts = t->codewords * sizeof(double);
	stk_train_message m = {.plan = t->plan,
						   .device = t->device,
						   .n = t->n,
						   .heldout_n = t->heldout_n,
						   .rows = {.in_file = true, .bytes = t->n * row}};
	struct stat st;

	assert_int_equal(fstat(t->file, &st), 0);
	/* A file that has something in it already is the test's own affair. */
	if (st.st_size == 0)
	{
		uint64_t end = 0;

		end = t->filled * row;
		put(t->file, 0, t->x, end);
		t->heldout_at = put_aligned(t->file, &end, t->heldout, t->heldout_n * row);
		t->start_at = put_aligned(t->file, &end, t->vectors, vectors);
		put(t->file, end, t->counts, counts);
		end += counts;
		t->result_at = (end + 7) / 8 * 8;
	}
	if (t->heldout_n > 0)
		m.heldout = (stk_data){true, t->heldout_at, t->heldout_n * row, NULL};
	if (t->plan.resume)
		m.start = (stk_data){true, t->start_at, vectors + counts, NULL};
	m.result_at = t->result_at;
	t->request = ++c->last;
	send_message(c, out, stk_write_train(out, t->request, &m), t->file);
}

/* Rows in memory, for core. */
typedef struct memory_rows
{
	const float *x;
	size_t dim;
} memory_rows;

static inline stk_status
read_memory(void *ctx, size_t first, size_t count, float *x, stk_error *err)
{
	const memory_rows *rows = ctx;

	(void) err;
	memcpy(x, rows->x + first * rows->dim, count * rows->dim * sizeof(float));
	return STK_OK;
}

/* Reports, one by one. */
typedef struct reports
{
	stk_train_report list[256];
	int n;
} reports;

static inline void
note_report(void *ctx, const stk_train_report *r)
{
	reports *to = ctx;

	assert_true(to->n < 256);
	to->list[to->n++] = *r;
}

static inline void
assert_same_evaluation(const stk_evaluation *a, const stk_evaluation *b)
{
	assert_int_equal(a->rows, b->rows);
	assert_int_equal(a->levels, b->levels);
	assert_int_equal(a->ids, b->ids);
	assert_true(a->mse == b->mse && a->entropy == b->entropy && a->perplexity == b->perplexity);
	for (int l = 0; l < a->levels; l++)
		assert_true(a->level[l].mse == b->level[l].mse && a->level[l].used == b->level[l].used &&
					a->level[l].gini == b->level[l].gini);
}

/* Receive reports and the result of a training, which are core's bit for bit. */
static inline void
expect_trained(client *c, const training *t)
{
	static reports expected;
	size_t vectors = t->codewords * (size_t) t->plan.dim * sizeof(float);
	size_t counts = t->codewords * sizeof(double);
	memory_rows training_rows = {t->x, (size_t) t->plan.dim};
	memory_rows heldout_rows = {t->heldout, (size_t) t->plan.dim};
	stk_rows rows = {(size_t) t->n, read_memory, &training_rows};
	stk_rows heldout = {(size_t) t->heldout_n, read_memory, &heldout_rows};
	stk_train_result result = {.codewords = t->vectors, .counts = t->counts};
	stk_error err = {.level = -1};
	uint8_t *got = malloc(vectors + counts);
	stk_trained trained;
	int n = 0;

	expected.n = 0;
	if (stk_train(&t->plan, plain_exec(), &rows, t->heldout_n > 0 ? &heldout : NULL, note_report,
				  &expected, &result, &err) != STK_OK)
		fail_msg("core: %s", err.message);
	while (receive(c) && c->header.kind == STK_MSG_PROGRESS)
	{
		stk_train_report r;

		assert_int_equal(stk_read_progress(c->body, c->header.bytes, &t->plan, &r, NULL), STK_OK);
		assert_true(n < expected.n);
		assert_int_equal(r.level, expected.list[n].level);
		assert_int_equal(r.epoch, expected.list[n].epoch);
		assert_true(r.objective == expected.list[n].objective);
		assert_int_equal(r.evaluated, expected.list[n].evaluated);
		if (r.evaluated)
			assert_same_evaluation(&r.heldout, &expected.list[n].heldout);
		n++;
	}
	assert_int_equal(n, expected.n);
	assert_int_equal(c->header.kind, STK_MSG_TRAINED);
	assert_int_equal(c->header.request, t->request);
	assert_int_equal(stk_read_trained(c->body, c->header.bytes, &t->plan, &trained, NULL), STK_OK);
	assert_int_equal(trained.result.bytes, vectors + counts);
	assert_int_equal(trained.result.in_file, vectors + counts > STK_INLINE_MAX);
	if (trained.result.in_file)
		get(t->file, trained.result.offset, got, vectors + counts);
	else
		memcpy(got, trained.result.inside, vectors + counts);
	assert_memory_equal(got, t->vectors, vectors);
	assert_memory_equal(got + vectors, t->counts, counts);
	assert_same_evaluation(&trained.rows, &result.rows);
	assert_same_evaluation(&trained.heldout, &result.heldout);
	free(got);
}

#endif
