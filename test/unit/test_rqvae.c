/*
 * Training an RQ-VAE: what upstream's tests ask of one, by their names; the same bits whatever the
 * machine, after a resume and for any order of the rows; what stops it; what it says.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/rq.h"
#include "core/rqvae.h"
#include "machines.h"
#include "rows.h"

#define INPUTS 12
#define ROWS 200

/* A small training; tests change what they are about. */
static stk_train_plan
small_plan(void)
{
	stk_train_plan plan = {.levels = 2, .sizes = {8, 4}, .dim = INPUTS, .seed = 3, .beam = 1};

	stk_rqvae_defaults(STK_RQVAE_RECTOKENS, &plan);
	plan.epochs = 6;
	plan.batch_size = 64;
	plan.rqvae.latent = 5;
	for (int i = 0; i < 2; i++)
		plan.rqvae.encoder[i] = plan.rqvae.decoder[i] = 16;
	return plan;
}

/* Rows about a few places. */
static float *
make_rows(size_t n)
{
	float *x = malloc((n ? n : 1) * INPUTS * sizeof(float));
	float places[20][INPUTS];
	uint64_t seed = 11;

	fill(places[0], 20 * INPUTS, 1, &seed);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < INPUTS; k++)
			x[i * INPUTS + k] = places[i % 20][k] + 0.1f * next_float(&seed);
	return x;
}

/* What a training said. */
typedef struct heard
{
	stk_rqvae_report reports[600];
	int count;
	int checkpoints;
	int stop_at; /* the checkpoint that fails; 0: none */
	uint8_t *bytes;
	size_t size;
} heard;

static void
hear(void *ctx, const stk_rqvae_report *r)
{
	heard *h = ctx;

	if (h->count < 600)
		h->reports[h->count++] = *r;
}

static stk_status
keep_state(void *ctx, const stk_rqvae_state *s)
{
	heard *h = ctx;

	if (++h->checkpoints != h->stop_at)
		return STK_OK;
	h->bytes = realloc(h->bytes, h->size);
	stk_rqvae_state_write(s, h->bytes);
	return STK_EIO;
}

static double
tick(void *ctx)
{
	static double time;

	(void) ctx;
	return time += 1;
}

static heard *
listen(const stk_train_plan *plan)
{
	heard *h = calloc(1, sizeof(heard));

	h->size = stk_rqvae_state_bytes(plan);
	return h;
}

static void
forget(heard *h)
{
	free(h->bytes);
	free(h);
}

/* Train on a copy of x. */
static stk_status
train_on(const stk_train_plan *plan, const stk_exec *exec, const float *x, size_t n,
		 const float *heldout, size_t heldout_n, heard *h, stk_rqvae_state *s, stk_error *err)
{
	stk_rqvae_hooks hooks = {
		.report = hear, .checkpoint = keep_state, .checkpoint_every = 1, .seconds = tick, .ctx = h};
	size_t dim = (size_t) plan->dim;
	float *copy = malloc((n ? n : 1) * dim * sizeof(float));
	stk_status status;

	memcpy(copy, x, n * dim * sizeof(float));
	status = stk_rqvae_train(plan, exec, copy, n, heldout, heldout_n, h ? &hooks : NULL, s, err);
	free(copy);
	return status;
}

/* A trained state of a plan, on make_rows. */
static stk_rqvae_state
trained(const stk_train_plan *plan, heard *h)
{
	float *x = make_rows(ROWS);
	stk_rqvae_state s;

	assert_int_equal(stk_rqvae_state_init(&s, plan, &stk_malloc), STK_OK);
	assert_int_equal(train_on(plan, plain_exec(), x, ROWS, NULL, 0, h, &s, NULL), STK_OK);
	free(x);
	return s;
}

static uint8_t *
bytes_of(const stk_train_plan *plan, const stk_rqvae_state *s)
{
	uint8_t *bytes = malloc(stk_rqvae_state_bytes(plan));

	stk_rqvae_state_write(s, bytes);
	return bytes;
}

static void
assert_states_equal(const stk_train_plan *plan, const stk_rqvae_state *a, const stk_rqvae_state *b)
{
	uint8_t *left = bytes_of(plan, a);
	uint8_t *right = bytes_of(plan, b);

	assert_memory_equal(left, right, stk_rqvae_state_bytes(plan));
	free(left);
	free(right);
}

/* Codes of rows by the codebook that a state has, as every reader of it gets them. */
static void
encode(const stk_train_plan *plan, const stk_rqvae_state *s, const float *x, size_t n,
	   uint16_t *codes, float *back)
{
	const stk_exec *exec = plain_exec();
	stk_codebook cb;
	stk_codebook inner;
	float *z = malloc(n * (size_t) plan->rqvae.latent * sizeof(float));
	stk_rq *rq;

	stk_rqvae_codebook(plan, s, stk_rqvae_result(plan, s), &cb);
	assert_int_equal(cb.dim, plan->rqvae.latent);
	assert_int_equal(stk_codebook_inputs(&cb), plan->dim);
	inner = cb;
	inner.network = (stk_network){0};
	assert_int_equal(stk_network_encode(&cb.network, exec, x, n, z, NULL), STK_OK);
	assert_int_equal(stk_rq_create(&inner, exec, STK_FILTER_BEST, &rq, NULL), STK_OK);
	assert_int_equal(stk_rq_encode(rq, exec, z, n, 1, codes, NULL, NULL), STK_OK);
	for (size_t i = 0; i < n; i++)
	{
		float *sum = z + i * (size_t) plan->rqvae.latent;

		assert_int_equal(
			stk_rq_decode(&inner, codes + i * (size_t) plan->levels, plan->levels, sum, NULL),
			STK_OK);
	}
	assert_int_equal(stk_network_decode(&cb.network, exec, z, n, back, NULL), STK_OK);
	stk_rq_free(rq);
	free(z);
}

/*
 * --- upstream's tests of its RQ-VAE; fit_step_raises has no counterpart: there is no fit_step ---
 */

static void
forward_shapes(void **state)
{
	stk_train_plan plan = small_plan();
	heard *h = listen(&plan);
	stk_rqvae_state s = trained(&plan, h);

	(void) state;
	assert_int_equal(s.shape.n_encoder, 3);
	assert_int_equal(s.shape.n_decoder, 3);
	assert_int_equal(s.shape.layers[2].out, 5);
	assert_int_equal(s.shape.layers[5].out, INPUTS);
	assert_int_equal(s.shape.network, 13 * 16 + 17 * 16 + 17 * 5 + 6 * 16 + 17 * 16 + 17 * INPUTS);
	assert_int_equal(s.shape.total, s.shape.network + 12 * 5);
	assert_int_equal(s.epoch, 6);
	assert_int_equal(s.step, 6 * 4);
	assert_int_equal(h->count, 6);
	stk_rqvae_state_free(&s);
	forget(h);
}

static void
loss_decreases(void **state)
{
	(void) state;
	for (int options = 0; options < 8; options += (int) unit_size(1, 3, 7))
	{
		stk_train_plan plan = small_plan();
		stk_rqvae_state s;
		heard *h;

		plan.epochs = 100;
		plan.rqvae.learning_rate = 5e-3;
		plan.rqvae.learnable = options & 1;
		plan.rqvae.standardize = options & 2 ? STK_RQVAE_EACH : STK_RQVAE_AS_IS;
		plan.metric = options & 4 ? STK_COSINE : STK_L2;
		h = listen(&plan);
		s = trained(&plan, h);
		assert_true(h->reports[99].loss.reconstruction < 0.6 * h->reports[0].loss.reconstruction);
		assert_true(h->reports[99].loss.reconstruction + h->reports[99].loss.commitment <
					h->reports[0].loss.reconstruction + h->reports[0].loss.commitment);
		stk_rqvae_state_free(&s);
		forget(h);
	}
}

static void
encode_and_decode(size_t n)
{
	stk_train_plan plan = small_plan();
	stk_rqvae_state s = trained(&plan, NULL);
	float *x = make_rows(n);
	float *back = malloc(n * INPUTS * sizeof(float));
	uint16_t *codes = malloc(n * 2 * sizeof(uint16_t));

	memset(codes, 0xff, n * 2 * sizeof(uint16_t));
	encode(&plan, &s, x, n, codes, back);
	for (size_t i = 0; i < n * 2; i++)
		assert_in_range(codes[i], 0, plan.sizes[i % 2] - 1);
	for (size_t i = 0; i < n * INPUTS; i++)
		assert_true(fabsf(back[i]) < 3);
	stk_rqvae_state_free(&s);
	free(x);
	free(back);
	free(codes);
}

/* decode_batch_shape and codes_in_range, too. */
static void
encode_batch_shape(void **state)
{
	(void) state;
	encode_and_decode(50);
}

/* decode_single_shape, too. */
static void
encode_single_shape(void **state)
{
	(void) state;
	encode_and_decode(1);
}

static void
save_load_roundtrip(void **state)
{
	stk_train_plan plan = small_plan();
	stk_rqvae_state s = trained(&plan, NULL);
	stk_rqvae_state back;
	uint8_t *bytes;

	(void) state;
	stk_rqvae_state_again(&s);
	s.epoch = 4;
	s.best_epoch = 3;
	s.best_loss = 0.25;
	s.waited = 2;
	bytes = bytes_of(&plan, &s);
	assert_int_equal(stk_rqvae_state_init(&back, &plan, &stk_malloc), STK_OK);
	assert_int_equal(stk_rqvae_state_read(&back, bytes, stk_rqvae_state_bytes(&plan), NULL),
					 STK_OK);
	assert_states_equal(&plan, &s, &back);
	stk_rqvae_state_free(&s);
	stk_rqvae_state_free(&back);
	free(bytes);
}

/* --- ours --- */

static void
overfits_32_rows(void **state)
{
	float *x = make_rows(32);

	(void) state;
	for (int learnable = 0; learnable < (int) unit_size(2, 2, 1); learnable++)
	{
		stk_train_plan plan = small_plan();
		stk_rqvae_state s;
		heard *h;

		plan.sizes[0] = plan.sizes[1] = 32;
		plan.batch_size = 8;
		plan.rqvae.init = STK_RQVAE_LLOYD;
		plan.epochs = 600;
		plan.rqvae.latent = 16;
		plan.rqvae.learnable = learnable;
		plan.rqvae.learning_rate = 5e-3;
		plan.rqvae.schedule = STK_RQVAE_COSINE;
		for (int i = 0; i < 2; i++)
			plan.rqvae.encoder[i] = plan.rqvae.decoder[i] = 64;
		h = listen(&plan);
		assert_int_equal(stk_rqvae_state_init(&s, &plan, &stk_malloc), STK_OK);
		assert_int_equal(train_on(&plan, plain_exec(), x, 32, x, 32, h, &s, NULL), STK_OK);
		assert_true(h->reports[599].evaluated);
		/* The places alone, without what makes a row differ from its place, leave 0.01. */
		assert_true(h->reports[599].heldout.relative_error < 0.004);
		assert_int_equal(h->reports[599].heldout.ids, 32);
		stk_rqvae_state_free(&s);
		forget(h);
	}
	free(x);
}

/* Every option that changes what is computed. */
static stk_train_plan
plan_with(int options)
{
	stk_train_plan plan = small_plan();

	plan.rqvae.learnable = options & 1;
	plan.metric = options & 2 ? STK_COSINE : STK_L2;
	plan.rqvae.init = options & 4 ? STK_RQVAE_LLOYD : STK_RQVAE_FIRST_BATCH;
	plan.rqvae.average = options & 8 ? 0.9 : 0;
	plan.rqvae.diversity = options & 16 ? 0.1 : 0;
	plan.rqvae.standardize = options & 32 ? STK_RQVAE_WHOLE : STK_RQVAE_EACH;
	plan.rqvae.activation = (stk_activation) (options % STK_ACTIVATIONS);
	plan.rqvae.flow = options & 1;
	plan.rqvae.clip = options & 2 ? 0.1 : 0;
	plan.rqvae.schedule = options & 4 ? STK_RQVAE_COSINE : STK_RQVAE_CONSTANT;
	plan.rqvae.warmup = options & 8 ? 7 : 0;
	plan.rqvae.delay = options & 16 ? 2 : 0;
	plan.restart_after = 3;
	plan.eval_every = 2;
	plan.rqvae.patience = options & 32 ? 2 : 0;
	return plan;
}

static void
threads_and_units(void **state)
{
	float *x = make_rows(ROWS);
	machines m;

	(void) state;
	machines_start(&m);
	for (int options = 0; options < 64; options += (int) unit_size(7, 21, 49))
	{
		stk_train_plan plan = plan_with(options);
		stk_rqvae_state first;

		for (int i = 0; i < m.count; i++)
		{
			stk_rqvae_state s;

			if (!machines_turn(&m, i, options))
				continue;
			assert_int_equal(stk_rqvae_state_init(&s, &plan, &stk_malloc), STK_OK);
			assert_int_equal(train_on(&plan, &m.execs[i], x, ROWS - 40, x + (ROWS - 40) * INPUTS,
									  40, NULL, &s, NULL),
							 STK_OK);
			if (i == 0)
				first = s;
			else
			{
				assert_states_equal(&plan, &first, &s);
				stk_rqvae_state_free(&s);
			}
		}
		stk_rqvae_state_free(&first);
	}
	machines_stop(&m);
	free(x);
}

static void
order_of_rows(void **state)
{
	stk_train_plan plan = small_plan();
	float *x = make_rows(ROWS);
	stk_rqvae_state a, b;

	(void) state;
	assert_int_equal(stk_rqvae_state_init(&a, &plan, &stk_malloc), STK_OK);
	assert_int_equal(stk_rqvae_state_init(&b, &plan, &stk_malloc), STK_OK);
	assert_int_equal(train_on(&plan, plain_exec(), x, ROWS, NULL, 0, NULL, &a, NULL), STK_OK);
	for (size_t i = 0; i < ROWS / 2; i++)
	{
		float row[INPUTS];

		memcpy(row, x + i * INPUTS, sizeof(row));
		memcpy(x + i * INPUTS, x + (ROWS - 1 - i) * INPUTS, sizeof(row));
		memcpy(x + (ROWS - 1 - i) * INPUTS, row, sizeof(row));
	}
	assert_int_equal(train_on(&plan, plain_exec(), x, ROWS, NULL, 0, NULL, &b, NULL), STK_OK);
	assert_states_equal(&plan, &a, &b);
	stk_rqvae_state_free(&a);
	stk_rqvae_state_free(&b);
	free(x);
}

/* Stopped at any checkpoint and gone on from it: the state that an uninterrupted training has. */
static void
resume_is_bit_identical(void **state)
{
	float *x = make_rows(ROWS);

	(void) state;
	for (int options = 0; options < 64; options += (int) unit_size(5, 11, 43))
	{
		stk_train_plan plan = plan_with(options);
		const float *heldout = x + (ROWS - 40) * INPUTS;
		stk_rqvae_state whole;

		assert_int_equal(stk_rqvae_state_init(&whole, &plan, &stk_malloc), STK_OK);
		assert_int_equal(
			train_on(&plan, plain_exec(), x, ROWS - 40, heldout, 40, NULL, &whole, NULL), STK_OK);
		for (int at = 1; at < (int) whole.epoch; at++)
		{
			heard *h = listen(&plan);
			stk_rqvae_state s;

			h->stop_at = at;
			assert_int_equal(stk_rqvae_state_init(&s, &plan, &stk_malloc), STK_OK);
			assert_int_equal(train_on(&plan, plain_exec(), x, ROWS - 40, heldout, 40, h, &s, NULL),
							 STK_EIO);
			stk_rqvae_state_free(&s);
			assert_int_equal(stk_rqvae_state_init(&s, &plan, &stk_malloc), STK_OK);
			assert_int_equal(stk_rqvae_state_read(&s, h->bytes, h->size, NULL), STK_OK);
			assert_int_equal(s.epoch, at);
			assert_int_equal(
				train_on(&plan, plain_exec(), x, ROWS - 40, heldout, 40, NULL, &s, NULL), STK_OK);
			assert_states_equal(&plan, &whole, &s);
			stk_rqvae_state_free(&s);
			forget(h);
		}
		stk_rqvae_state_free(&whole);
	}
	free(x);
}

/* A training that is begun again keeps its moments, steps and scale, and counts epochs anew. */
static void
again_goes_on(void **state)
{
	stk_train_plan plan = small_plan();
	stk_rqvae_state s;
	float *x = make_rows(ROWS);
	float *scale = malloc(INPUTS * sizeof(float));

	(void) state;
	plan.rqvae.standardize = STK_RQVAE_EACH;
	s = trained(&plan, NULL);
	memcpy(scale, s.scale, INPUTS * sizeof(float));
	stk_rqvae_state_again(&s);
	assert_int_equal(s.epoch, 0);
	assert_int_equal(s.begin, 24);
	assert_int_equal(train_on(&plan, plain_exec(), x, 64, NULL, 0, NULL, &s, NULL), STK_OK);
	assert_int_equal(s.step, 24 + 6);
	assert_memory_equal(scale, s.scale, INPUTS * sizeof(float));
	stk_rqvae_state_free(&s);
	free(x);
	free(scale);
}

static void
assert_damaged(stk_rqvae_state *s, const uint8_t *bytes, size_t n, const char *message)
{
	stk_error err = {.level = -1};

	assert_int_equal(stk_rqvae_state_read(s, bytes, n, &err), STK_ECORRUPT);
	assert_string_equal(err.message, message);
}

static void
damaged_states(void **state)
{
	stk_train_plan plan = small_plan();
	stk_train_plan other = small_plan();
	stk_rqvae_state s = trained(&plan, NULL);
	stk_rqvae_state to;
	uint8_t *bytes = bytes_of(&plan, &s);
	size_t n = stk_rqvae_state_bytes(&plan);
	uint64_t seed = 1;

	(void) state;
	assert_int_equal(stk_rqvae_state_init(&to, &plan, &stk_malloc), STK_OK);
	assert_damaged(&to, bytes, 0, "state of a training is cut off");
	assert_damaged(&to, bytes, n - 1, "state of a training is cut off");
	assert_damaged(&to, bytes, n + 1, "state of a training is cut off");
	for (int i = 0; i < 2000; i++)
	{
		size_t at = next_bits(&seed) % n;
		uint8_t bit = (uint8_t) (1 << next_bits(&seed) % 8);

		bytes[at] ^= bit;
		assert_int_equal(stk_rqvae_state_read(&to, bytes, n, NULL), STK_ECORRUPT);
		bytes[at] ^= bit;
	}
	assert_int_equal(to.step, 0);
	stk_rqvae_state_free(&to);
	bytes[0] = 'X';
	assert_int_equal(stk_rqvae_state_init(&to, &plan, &stk_malloc), STK_OK);
	assert_damaged(&to, bytes, n, "not a training's state of version 1");
	stk_rqvae_state_free(&to);
	bytes[0] = 'S';
	other.rqvae.encoder[0] = 15;
	other.rqvae.encoder[1] = 17;
	assert_int_equal(stk_rqvae_state_init(&to, &other, &stk_malloc), STK_OK);
	assert_damaged(&to, bytes, n, "state is that of a training of another shape");
	stk_rqvae_state_free(&to);
	stk_rqvae_state_free(&s);
	free(bytes);
}

static void
assert_refused(const stk_train_plan *plan, stk_status expected, const char *message)
{
	stk_error err = {.level = -1};

	assert_int_equal(stk_rqvae_check(plan, &err), expected);
	assert_string_equal(err.message, message);
}

#define REFUSED(change, status, message)                                                           \
	do                                                                                             \
	{                                                                                              \
		stk_train_plan plan = small_plan();                                                        \
		change;                                                                                    \
		assert_refused(&plan, status, message);                                                    \
	} while (0)

static void
bad_plans(void **state)
{
	(void) state;
	REFUSED(plan.epochs = 0, STK_EINVAL, "expected 1 to 100000 epochs, not 0");
	REFUSED(plan.metric = STK_IP, STK_EINVAL, "latent vectors are measured by l2 or cosine");
	REFUSED(plan.refine = 1, STK_EINVAL,
			"latent vectors take no refinement, balance or policy for empty codewords");
	REFUSED(plan.rqvae.activation = (stk_activation) 9, STK_EINVAL, "unknown activation 9");
	REFUSED(plan.rqvae.standardize = (stk_rqvae_standardize) 3, STK_EINVAL,
			"unknown standardization 3");
	REFUSED(plan.rqvae.schedule = (stk_rqvae_schedule) 2, STK_EINVAL, "unknown schedule 2");
	REFUSED(plan.rqvae.init = (stk_rqvae_init) -1, STK_EINVAL, "unknown way to begin -1");
	REFUSED(plan.rqvae.latent = 0, STK_ERANGE, "shape of the codebook is beyond the limits");
	REFUSED(plan.dim = 0, STK_ERANGE, "shape of the codebook is beyond the limits");
	REFUSED(plan.sizes[1] = 0, STK_ERANGE, "shape of the codebook is beyond the limits");
	REFUSED(plan.rqvae.n_encoder = 16, STK_EINVAL,
			"expected 0 to 15 hidden layers of the encoder, not 16");
	REFUSED(plan.rqvae.n_decoder = -1, STK_EINVAL,
			"expected 0 to 15 hidden layers of the decoder, not -1");
	REFUSED(plan.rqvae.encoder[1] = 0, STK_EINVAL,
			"expected hidden layers of 1 to 16000 numbers, not 0");
	REFUSED(plan.rqvae.learning_rate = 0, STK_EINVAL, "expected a finite learning rate above 0");
	REFUSED(plan.rqvae.learning_rate = NAN, STK_EINVAL, "expected a finite learning rate above 0");
	REFUSED(plan.rqvae.commitment = INFINITY, STK_EINVAL,
			"expected a finite commitment of at least 0");
	REFUSED(plan.rqvae.weight_decay = -1, STK_EINVAL,
			"expected a finite weight decay of at least 0");
	REFUSED(plan.rqvae.beta2 = 1, STK_EINVAL, "betas must be at least 0 and less than 1");
	REFUSED(plan.rqvae.epsilon = 0, STK_EINVAL, "expected a finite epsilon above 0");
	REFUSED(plan.rqvae.clip = NAN, STK_EINVAL, "expected a finite clip of at least 0");
	REFUSED(plan.rqvae.average = 1, STK_EINVAL, "average must be at least 0 and less than 1");
	REFUSED(plan.rqvae.diversity = -1, STK_EINVAL, "expected a finite diversity of at least 0");
	REFUSED(plan.decay = 1, STK_EINVAL, "decay must be at least 0 and less than 1");
	REFUSED(plan.rqvae.delay = -1, STK_EINVAL, "expected a delay of at least 0, not -1");
	REFUSED(plan.rqvae.patience = -1, STK_EINVAL, "expected patience of at least 0, not -1");
}

static void
bad_rows(void **state)
{
	stk_train_plan plan = small_plan();
	float *x = make_rows(ROWS);
	stk_error err = {.level = -1};
	stk_rqvae_state s;

	(void) state;
	assert_int_equal(stk_rqvae_state_init(&s, &plan, &stk_malloc), STK_OK);
	assert_int_equal(train_on(&plan, plain_exec(), x, 0, NULL, 0, NULL, &s, &err), STK_EINVAL);
	assert_string_equal(err.message, "no rows to train on");
	x[7 * INPUTS + 3] = NAN;
	assert_int_equal(train_on(&plan, plain_exec(), x, ROWS, NULL, 0, NULL, &s, &err), STK_EINVAL);
	assert_int_equal(err.row, 7);
	/* Finite, but not once they are on one scale. */
	x[7 * INPUTS + 3] = 3e38f;
	plan.rqvae.standardize = STK_RQVAE_EACH;
	for (size_t i = 0; i < ROWS; i++)
		x[i * INPUTS + 3] = i == 7 ? 3e38f : -3e38f;
	assert_int_equal(train_on(&plan, plain_exec(), x, ROWS, NULL, 0, NULL, &s, &err), STK_OK);
	stk_rqvae_state_free(&s);
	free(x);
}

/* Rows that are all the same, one row, fewer rows than codes, zeros. */
static void
poor_rows(void **state)
{
	float *x = calloc(64 * INPUTS, sizeof(float));

	(void) state;
	for (int options = 0; options < 64; options += (int) unit_size(9, 21, 37))
	{
		for (int value = 0; value < 2; value++)
		{
			stk_train_plan plan = plan_with(options);
			stk_rqvae_state s;

			for (size_t i = 0; i < 64 * INPUTS; i++)
				x[i] = (float) value;
			assert_int_equal(stk_rqvae_state_init(&s, &plan, &stk_malloc), STK_OK);
			assert_int_equal(train_on(&plan, plain_exec(), x, 64, x, 1, NULL, &s, NULL), STK_OK);
			stk_rqvae_state_free(&s);
			assert_int_equal(stk_rqvae_state_init(&s, &plan, &stk_malloc), STK_OK);
			assert_int_equal(train_on(&plan, plain_exec(), x, 1, x, 1, NULL, &s, NULL), STK_OK);
			stk_rqvae_state_free(&s);
		}
	}
	free(x);
}

static void
loss_that_is_no_number(void **state)
{
	stk_train_plan plan = small_plan();
	float *x = make_rows(ROWS);
	stk_rqvae_state s;
	stk_error err = {.level = -1};
	heard *h = listen(&plan);

	(void) state;
	assert_int_equal(stk_rqvae_state_init(&s, &plan, &stk_malloc), STK_OK);
	/* Slow enough for two epochs of four steps, then the warm-up has made it too fast. */
	plan.rqvae.learning_rate = 1e30;
	assert_int_equal(train_on(&plan, plain_exec(), x, ROWS, NULL, 0, h, &s, &err), STK_EINVAL);
	assert_string_equal(err.message, "loss is not a finite number at step 2");
	assert_int_equal(err.row, SIZE_MAX);
	/* What is left is the state before the epoch in which it happened. */
	assert_int_equal(s.epoch, 0);
	assert_int_equal(s.step, 0);
	assert_int_equal(h->count, 0);
	for (size_t i = 0; i < s.shape.total; i++)
		assert_true(isfinite(s.parameters[i]));
	stk_rqvae_state_free(&s);
	forget(h);
	free(x);
}

static void
patience_ends_it(void **state)
{
	stk_train_plan plan = small_plan();
	float *x = make_rows(ROWS);
	heard *h;
	stk_rqvae_state s;
	int last;

	(void) state;
	plan.epochs = 500;
	plan.eval_every = 1;
	plan.rqvae.patience = 3;
	plan.rqvae.learning_rate = 0.05;
	h = listen(&plan);
	assert_int_equal(stk_rqvae_state_init(&s, &plan, &stk_malloc), STK_OK);
	assert_int_equal(
		train_on(&plan, plain_exec(), x, ROWS - 40, x + (ROWS - 40) * INPUTS, 40, h, &s, NULL),
		STK_OK);
	last = h->count - 1;
	assert_true(h->count < 500);
	assert_int_equal(s.best_epoch, h->count - 3);
	for (int i = 0; i <= last; i++)
	{
		assert_true(h->reports[i].evaluated);
		assert_true(h->reports[i].heldout.reconstruction >= s.best_loss);
	}
	assert_true(h->reports[last - 3].best && !h->reports[last].best);
	assert_ptr_equal(stk_rqvae_result(&plan, &s), s.best);
	stk_rqvae_state_free(&s);
	forget(h);
	free(x);
}

/* What is said of an epoch, counted again here. */
static void
reports(void **state)
{
	stk_train_plan plan = small_plan();
	float *x = make_rows(ROWS);
	heard *h = listen(&plan);
	stk_rqvae_state s;

	(void) state;
	plan.eval_every = 2;
	plan.rqvae.delay = 1;
	assert_int_equal(stk_rqvae_state_init(&s, &plan, &stk_malloc), STK_OK);
	assert_int_equal(train_on(&plan, plain_exec(), x, ROWS, x, 100, h, &s, NULL), STK_OK);
	assert_int_equal(h->count, 6);
	assert_int_equal(h->checkpoints, 5);
	for (int i = 0; i < 6; i++)
	{
		const stk_rqvae_report *r = &h->reports[i];

		assert_int_equal(r->epoch, i + 1);
		assert_int_equal(r->step, 4 * (i + 1));
		assert_int_equal(r->quantized, i > 0);
		assert_int_equal(r->evaluated, i % 2);
		assert_true(r->loss.reconstruction > 0 && r->loss.norm > 0);
		assert_true(i == 0 || (r->p_unique > 0 && r->p_unique <= 1));
		assert_true(r->used[0] <= 8 && r->used[1] <= 4 && r->entropy[0] <= log(8) + 1e-9);
		assert_true(r->seconds_steps > 0);
	}
	assert_int_equal(h->reports[5].heldout.rows, 100);
	assert_true(h->reports[5].heldout.ids <= 32);
	assert_true(h->reports[5].seconds_heldout > 0);
	stk_rqvae_state_free(&s);
	forget(h);
	free(x);
}

/* Codewords are there in the end, however long the delay. */
static void
delay_leaves_an_epoch(void **state)
{
	stk_train_plan plan = small_plan();
	heard *h = listen(&plan);
	stk_rqvae_state s;

	(void) state;
	plan.rqvae.delay = 100;
	s = trained(&plan, h);
	for (int i = 0; i < 6; i++)
		assert_int_equal(h->reports[i].quantized, i == 5);
	assert_true(s.quantized);
	stk_rqvae_state_free(&s);
	forget(h);
}

/* A level whose rows all fall to one code says so. */
static void
collapse_is_seen(void **state)
{
	stk_train_plan plan = small_plan();
	float *x = make_rows(ROWS);
	heard *h = listen(&plan);
	stk_rqvae_state s;

	(void) state;
	for (size_t i = 0; i < ROWS * INPUTS; i++)
		x[i] = x[i % INPUTS];
	plan.restart_after = 0;
	assert_int_equal(stk_rqvae_state_init(&s, &plan, &stk_malloc), STK_OK);
	assert_int_equal(train_on(&plan, plain_exec(), x, ROWS, x, 50, h, &s, NULL), STK_OK);
	assert_int_equal(h->reports[5].used[0], 1);
	assert_true(h->reports[5].entropy[0] == 0);
	assert_int_equal(h->reports[5].heldout.ids, 1);
	stk_rqvae_state_free(&s);
	forget(h);
	free(x);
}

/* Codes that no row chooses come back as rows, and are chosen. */
static void
dead_codes_restart(void **state)
{
	(void) state;
	for (int learnable = 0; learnable < 2; learnable++)
	{
		stk_train_plan plan = small_plan();
		heard *h = listen(&plan);
		float *x = make_rows(ROWS);
		stk_rqvae_state s;

		plan.rqvae.learnable = learnable;
		plan.restart_after = 2;
		plan.epochs = 30;
		assert_int_equal(stk_rqvae_state_init(&s, &plan, &stk_malloc), STK_OK);
		/* Codewords far from everything, as if they had been chosen. */
		for (size_t i = s.shape.network; i < s.shape.total; i++)
			s.parameters[i] = 1000 + (float) i;
		s.quantized = true;
		assert_int_equal(train_on(&plan, plain_exec(), x, ROWS, NULL, 0, h, &s, NULL), STK_OK);
		assert_int_equal(h->reports[29].used[0], 8);
		stk_rqvae_state_free(&s);
		forget(h);
		free(x);
	}
}

/* Train until the monitor has been asked *left times; what was cut short is never a result. */
static stk_status
train_until(const stk_train_plan *plan, const float *x, const float *heldout, long *left)
{
	stk_monitor monitor = {stop_countdown, left};
	stk_exec exec = exec_with(&stk_malloc, &monitor);
	stk_rqvae_state s;
	stk_status status;

	assert_int_equal(stk_rqvae_state_init(&s, plan, &stk_malloc), STK_OK);
	status = train_on(plan, &exec, x, ROWS, heldout, heldout ? 50 : 0, NULL, &s, NULL);
	stk_rqvae_state_free(&s);
	assert_int_equal(status, *left < 0 ? STK_ECANCELED : STK_OK);
	return status;
}

static void
stops_anywhere(void **state)
{
	stk_train_plan plan = plan_with(4 + 16);
	float *x = make_rows(ROWS);
	long looks = 0;

	(void) state;
	for (long left = 0; train_until(&plan, x, x, &left) == STK_ECANCELED; left = looks)
		looks += 1 + looks / 4;
	assert_true(looks > 20);
	/* The last looks one by one, within a step or a measuring: nobody else asks behind them. */
	plan = plan_with(1 + 4 + 16);
	for (int heldout = 0; heldout < 2; heldout++)
	{
		long left = LONG_MAX;

		assert_int_equal(train_until(&plan, x, heldout ? x : NULL, &left), STK_OK);
		looks = LONG_MAX - left;
		for (long k = 1; k <= (long) unit_size(40, 20, 5) && k <= looks; k++)
		{
			left = looks - k;
			assert_int_equal(train_until(&plan, x, heldout ? x : NULL, &left), STK_ECANCELED);
		}
	}
	free(x);
}

static void
runs_out_of_memory(void **state)
{
	stk_train_plan plan = plan_with(4 + 16);
	float *x = make_rows(ROWS);
	long allowed = 0;
	stk_status status = STK_ENOMEM;

	(void) state;
	for (; status == STK_ENOMEM; allowed += 1 + allowed / (long) unit_size(8, 4, 2))
	{
		short_memory memory = {.left = allowed};
		stk_allocator a = short_allocator(&memory);
		stk_exec exec = exec_with(&a, NULL);
		stk_rqvae_state s;

		status = stk_rqvae_state_init(&s, &plan, &a);
		if (status == STK_OK)
			status = train_on(&plan, &exec, x, ROWS, x, 50, NULL, &s, NULL);
		stk_rqvae_state_free(&s);
		assert_int_equal(memory.live, 0);
	}
	assert_int_equal(status, STK_OK);
	free(x);
}

/* An allocator that knows how much is out at once. */
typedef struct counted_memory
{
	size_t now;
	size_t most;
} counted_memory;

static void *
counted_realloc(void *ctx, void *ptr, size_t size)
{
	counted_memory *m = ctx;
	size_t *block = ptr ? (size_t *) ptr - 2 : NULL;

	m->now -= block ? block[0] : 0;
	block = realloc(block, size + 16);
	block[0] = size;
	m->now += size;
	m->most = m->now > m->most ? m->now : m->most;
	return block + 2;
}

static void *
counted_alloc(void *ctx, size_t size)
{
	return counted_realloc(ctx, NULL, size);
}

static void
counted_free(void *ctx, void *ptr)
{
	if (!ptr)
		return;
	((counted_memory *) ctx)->now -= ((size_t *) ptr - 2)[0];
	free((size_t *) ptr - 2);
}

static void
memory_is_forecast(void **state)
{
	float *x = make_rows(3000);

	(void) state;
	for (int options = 0; options < 64; options += (int) unit_size(5, 13, 41))
	{
		stk_train_plan plan = plan_with(options);
		counted_memory m = {0};
		stk_allocator a = {counted_alloc, counted_realloc, counted_free, &m};
		stk_exec exec = exec_with(&a, NULL);
		stk_rqvae_state s;
		size_t forecast;

		plan.batch_size = options & 2 ? 640 : 0;
		plan.sizes[0] = 256;
		plan.epochs = 3;
		forecast = stk_rqvae_train_bytes(&plan, 3000, 1000, 1);
		assert_int_equal(stk_rqvae_state_init(&s, &plan, &stk_malloc), STK_OK);
		assert_int_equal(train_on(&plan, &exec, x, 3000, x, 1000, NULL, &s, NULL), STK_OK);
		assert_true(m.most <= forecast);
		assert_true(forecast <= 4 * m.most + 8 * 65536);
		stk_rqvae_state_free(&s);
	}
	free(x);
}

/* --- a device --- */

/* A device that is the processor, until it fails. */
typedef struct unsteady
{
	int creates; /* that still succeed */
	int runs;
	int reads;
	int created;
} unsteady;

static unsteady *device;

static stk_status
unsteady_create(void *ctx, const stk_train_plan *plan, const stk_exec *exec,
				const stk_rqvae_state *state, const float *x, size_t n, stk_rqvae_device **out)
{
	device = ctx;
	if (device->creates-- <= 0)
		return STK_EDEVICE;
	device->created++;
	return stk_rqvae_processor.create(NULL, plan, exec, state, x, n, out);
}

static stk_status
unsteady_run(stk_rqvae_device *d, stk_rqvae_run *run)
{
	return device->runs-- <= 0 ? STK_EIO : stk_rqvae_processor.run(d, run);
}

static stk_status
unsteady_read(stk_rqvae_device *d, stk_rqvae_state *s)
{
	return device->reads-- <= 0 ? STK_EIO : stk_rqvae_processor.read(d, s);
}

static void
unsteady_free(stk_rqvae_device *d)
{
	stk_rqvae_processor.free(d);
}

/* Wherever the device fails, the processor goes on from the epoch's beginning. */
static void
devices_may_fail(void **state)
{
	static const stk_rqvae_device_ops ops = {unsteady_create, unsteady_run, unsteady_read,
											 unsteady_free};
	static const unsteady fates[] = {
		{0, 0, 0, 0}, {9, 0, 0, 0}, {9, 3, 9, 0}, {9, 9, 3, 0}, {9, 9, 9, 0}};
	stk_train_plan plan = small_plan();
	stk_accelerator_ops all = {.rqvae = &ops};
	stk_rqvae_state expected = trained(&plan, NULL);
	float *x = make_rows(ROWS);

	(void) state;
	for (size_t i = 0; i < sizeof(fates) / sizeof(fates[0]); i++)
	{
		unsteady fate = fates[i];
		stk_accelerator accelerator = {&all, &fate};
		stk_exec exec = *plain_exec();
		stk_rqvae_state s;

		exec.accelerator = &accelerator;
		assert_int_equal(stk_rqvae_state_init(&s, &plan, &stk_malloc), STK_OK);
		assert_int_equal(train_on(&plan, &exec, x, ROWS, NULL, 0, NULL, &s, NULL), STK_OK);
		assert_int_equal(fate.created, i > 0);
		assert_states_equal(&plan, &expected, &s);
		stk_rqvae_state_free(&s);
	}
	stk_rqvae_state_free(&expected);
	free(x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forward_shapes),
		cmocka_unit_test(loss_decreases),
		cmocka_unit_test(encode_batch_shape),
		cmocka_unit_test(encode_single_shape),
		cmocka_unit_test(save_load_roundtrip),
		cmocka_unit_test(overfits_32_rows),
		cmocka_unit_test(threads_and_units),
		cmocka_unit_test(order_of_rows),
		cmocka_unit_test(resume_is_bit_identical),
		cmocka_unit_test(again_goes_on),
		cmocka_unit_test(damaged_states),
		cmocka_unit_test(bad_plans),
		cmocka_unit_test(bad_rows),
		cmocka_unit_test(poor_rows),
		cmocka_unit_test(loss_that_is_no_number),
		cmocka_unit_test(patience_ends_it),
		cmocka_unit_test(reports),
		cmocka_unit_test(delay_leaves_an_epoch),
		cmocka_unit_test(collapse_is_seen),
		cmocka_unit_test(dead_codes_restart),
		cmocka_unit_test(stops_anywhere),
		cmocka_unit_test(runs_out_of_memory),
		cmocka_unit_test(memory_is_forecast),
		cmocka_unit_test(devices_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
