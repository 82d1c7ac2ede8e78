/*
 * Training method rqvae: an encoder, a decoder and the codebooks between them, learnt together.
 * What is kept is the trainer's whole state; the codebook in it carries the network.
 */
#include <string.h>

#include "method.h"
#include "rqvae.h"

#define AT(member) .at = offsetof(stk_train_plan, member)
#define REAL(of, most_of, member)                                                                  \
	{                                                                                              \
		.name = of, .kind = STK_OPTION_REAL, AT(member), .most = most_of                           \
	}
#define SHARE(of, member)                                                                          \
	{                                                                                              \
		.name = of, .kind = STK_OPTION_REAL, AT(member), .most = 1, .below = true                  \
	}
#define WHOLE(of, least_of, most_of, member)                                                       \
	{                                                                                              \
		.name = of, .kind = STK_OPTION_WHOLE, AT(member), .least = least_of, .most = most_of       \
	}
#define WORD(of, list, member)                                                                     \
	{                                                                                              \
		.name = of, .kind = STK_OPTION_WORD, AT(member), .words = list,                            \
		.nwords = sizeof(list) / sizeof(list[0])                                                   \
	}
#define FLAG(of, member)                                                                           \
	{                                                                                              \
		.name = of, .kind = STK_OPTION_FLAG, AT(member)                                            \
	}
#define LAYERS(of, member, count)                                                                  \
	{                                                                                              \
		.name = of, .kind = STK_OPTION_LIST, AT(member),                                           \
		.count_at = offsetof(stk_train_plan, count), .least = 1, .most = STK_MAX_WIDTH,            \
		.nwords = STK_RQVAE_MAX_HIDDEN                                                             \
	}

/* A weight or a rate that is larger is not meant. */
#define MOST_REAL 1e6

static const char *const presets[] = {
	[STK_RQVAE_OURS] = "semtok", [STK_RQVAE_RECTOKENS] = "rectokens"};
static const char *const activations[] = {
	[STK_RELU] = "relu", [STK_GELU] = "gelu", [STK_SILU] = "silu"};
static const char *const standardizations[] = {
	[STK_RQVAE_AS_IS] = "none", [STK_RQVAE_WHOLE] = "whole", [STK_RQVAE_EACH] = "each"};
static const char *const schedules[] = {
	[STK_RQVAE_CONSTANT] = "constant", [STK_RQVAE_COSINE] = "cosine"};
static const char *const starts[] = {
	[STK_RQVAE_FIRST_BATCH] = "first_batch", [STK_RQVAE_LLOYD] = "lloyd"};

static const stk_option options[] = {
	WHOLE("latent", 1, STK_MAX_DIM, rqvae.latent),
	LAYERS("encoder", rqvae.encoder, rqvae.n_encoder),
	LAYERS("decoder", rqvae.decoder, rqvae.n_decoder),
	WORD("activation", activations, rqvae.activation),
	WORD("standardize", standardizations, rqvae.standardize),
	{.name = "learning_rate",
	 .kind = STK_OPTION_REAL,
	 AT(rqvae.learning_rate),
	 .most = MOST_REAL,
	 .above = true},
	REAL("weight_decay", MOST_REAL, rqvae.weight_decay),
	SHARE("beta1", rqvae.beta1),
	SHARE("beta2", rqvae.beta2),
	{.name = "epsilon", .kind = STK_OPTION_REAL, AT(rqvae.epsilon), .most = 1, .above = true},
	WHOLE("warmup", 0, INT32_MAX, rqvae.warmup),
	WORD("schedule", schedules, rqvae.schedule),
	REAL("clip", MOST_REAL, rqvae.clip),
	SHARE("average", rqvae.average),
	REAL("commitment", MOST_REAL, rqvae.commitment),
	FLAG("learnable", rqvae.learnable),
	FLAG("flow", rqvae.flow),
	REAL("diversity", MOST_REAL, rqvae.diversity),
	WORD("start", starts, rqvae.init),
	WHOLE("delay", 0, STK_TRAIN_MAX_EPOCHS - 1, rqvae.delay),
	SHARE("decay", decay),
	WHOLE("restart_after", 0, INT32_MAX, restart_after),
	WHOLE("patience", 0, INT32_MAX, rqvae.patience)};

/* The decoder's layers are the encoder's, backwards, until they are said to be others. */
#define MIRRORED -1

static void
defaults(int preset, stk_train_plan *plan)
{
	stk_train_plan all = *plan;

	stk_rqvae_defaults((stk_rqvae_preset) preset, &all);
	plan->decay = all.decay;
	plan->restart_after = all.restart_after;
	plan->rqvae = all.rqvae;
	plan->rqvae.n_decoder = MIRRORED;
	if (plan->batch_size == 0)
		plan->batch_size = all.batch_size;
}

static void
settle(stk_train_plan *plan)
{
	stk_rqvae_plan *p = &plan->rqvae;

	if (p->n_decoder != MIRRORED)
		return;
	p->n_decoder = p->n_encoder;
	for (int i = 0; i < p->n_encoder; i++)
		p->decoder[i] = p->encoder[p->n_encoder - 1 - i];
}

static bool
joint(const stk_train_plan *plan)
{
	(void) plan;
	return true;
}

static size_t
bytes(const stk_forecast *f)
{
	size_t training = stk_rqvae_train_bytes(f->plan, f->n, f->heldout_n, (int) f->threads);
	size_t held = stk_times(f->heldout_n, f->dim * sizeof(float));

	/* The state, its bytes, and those of a result. */
	return stk_plus(held, stk_plus(training, stk_times(3, stk_rqvae_state_bytes(f->plan))));
}

static double
work(const stk_train_plan *plan)
{
	stk_rqvae_shape shape;

	/*
	 * Forward once, and backward for weights and for inputs; codewords are only measured against.
	 */
	stk_rqvae_shape_of(plan, &shape);
	return 3.0 * (double) shape.network + (double) shape.codes * shape.latent;
}

/* Read a state; it is to be freed in any case. */
static stk_status
open_state(const stk_train_plan *plan, const stk_allocator *a, const uint8_t *from,
		   stk_rqvae_state *s, stk_error *err)
{
	stk_status status = stk_rqvae_state_init(s, plan, a);

	return status == STK_OK ? stk_rqvae_state_read(s, from, stk_rqvae_state_bytes(plan), err)
							: status;
}

static stk_status
store(const stk_train_plan *plan, const stk_allocator *a, const uint8_t *state, uint8_t **out,
	  size_t *length, stk_error *err)
{
	stk_rqvae_state s;
	stk_codebook cb;
	stk_status status = open_state(plan, a, state, &s, err);

	*out = NULL;
	if (status == STK_OK)
	{
		stk_rqvae_codebook(plan, &s, stk_rqvae_result(plan, &s), &cb);
		status = stk_codebook_check_finite(&cb, err);
	}
	if (status == STK_OK)
	{
		*length = stk_codebook_stored_bytes(&cb);
		*out = stk_alloc_array(a, *length, 1);
		if (*out)
			stk_codebook_write(*out, &cb);
		else
			status = STK_ENOMEM;
	}
	else if (err)
		err->row = SIZE_MAX;
	stk_rqvae_state_free(&s);
	return status;
}

static stk_status
again(stk_train_plan *plan, const stk_allocator *a, uint8_t *state, stk_error *err)
{
	stk_rqvae_state s;
	stk_status status = open_state(plan, a, state, &s, err);

	/* It has its codewords. */
	plan->rqvae.delay = 0;
	if (status == STK_OK)
	{
		stk_rqvae_state_again(&s);
		stk_rqvae_state_write(&s, state);
	}
	stk_rqvae_state_free(&s);
	return status;
}

static stk_status
epoch(const stk_train_plan *plan, const stk_allocator *a, const uint8_t *state, int *number,
	  stk_error *err)
{
	stk_rqvae_state s;
	stk_status status = open_state(plan, a, state, &s, err);

	if (status == STK_OK)
		*number = (int) s.epoch;
	stk_rqvae_state_free(&s);
	return status;
}

/* A training under way: what its hooks need. */
typedef struct training
{
	const stk_method_run *run;
	stk_train_report report; /* of the latest epoch, not said yet */
	bool pending;
	uint8_t *bytes; /* of a checkpoint */
} training;

static void
add(stk_train_report *r, stk_train_metric metric, bool heldout, int level, double value)
{
	r->numbers[r->nnumbers++] = (stk_train_number){metric, heldout, level, value};
}

static void
add_levels(stk_train_report *r, const stk_train_plan *plan, bool heldout, const uint32_t *used,
		   const double *entropy)
{
	for (int l = 0; l < plan->levels; l++)
	{
		add(r, STK_TRAIN_USAGE, heldout, l, (double) used[l] / plan->sizes[l]);
		add(r, STK_TRAIN_ENTROPY, heldout, l, entropy[l]);
		add(r, STK_TRAIN_DEAD_CODES, heldout, l, plan->sizes[l] - used[l]);
	}
}

static void
add_heldout(stk_train_report *r, const stk_train_plan *plan, const stk_rqvae_measure *m)
{
	add(r, STK_TRAIN_LOSS, true, -1, m->loss);
	add(r, STK_TRAIN_RECONSTRUCTION, true, -1, m->reconstruction);
	add(r, STK_TRAIN_COMMITMENT, true, -1, m->commitment);
	add(r, STK_TRAIN_MSE, true, -1, m->mse);
	add(r, STK_TRAIN_RELATIVE_ERROR, true, -1, m->relative_error);
	add(r, STK_TRAIN_P_UNIQUE, true, -1, m->p_unique);
	add_levels(r, plan, true, m->used, m->entropy);
}

/* A report that a checkpoint belongs to comes with it: it waits until that is known. */
static void
say(training *t)
{
	if (t->pending)
		t->run->report(t->run->ctx, &t->report);
	t->pending = false;
}

static void
report(void *ctx, const stk_rqvae_report *from)
{
	training *t = ctx;
	const stk_train_plan *plan = t->run->plan;
	stk_train_report *r = &t->report;
	const stk_rqvae_loss *loss = &from->loss;
	double sum = loss->reconstruction + loss->commitment + loss->codebook + loss->diversity;

	say(t);
	*r = (stk_train_report){.level = plan->levels - 1,
							.epoch = (int) from->epoch,
							.objective = sum,
							.trained = plan->levels};
	add(r, STK_TRAIN_LOSS, false, -1, sum);
	add(r, STK_TRAIN_RECONSTRUCTION, false, -1, loss->reconstruction);
	add(r, STK_TRAIN_COMMITMENT, false, -1, loss->commitment);
	if (plan->rqvae.learnable)
		add(r, STK_TRAIN_CODEBOOK, false, -1, loss->codebook);
	if (plan->rqvae.diversity > 0)
		add(r, STK_TRAIN_DIVERSITY, false, -1, loss->diversity);
	add(r, STK_TRAIN_GRADIENT, false, -1, loss->norm);
	if (from->quantized)
	{
		add(r, STK_TRAIN_P_UNIQUE, false, -1, from->p_unique);
		add_levels(r, plan, false, from->used, from->entropy);
	}
	if (from->evaluated)
		add_heldout(r, plan, &from->heldout);
	add(r, STK_TRAIN_SECONDS_START, false, -1, from->seconds_start);
	add(r, STK_TRAIN_SECONDS_STEPS, false, -1, from->seconds_steps);
	add(r, STK_TRAIN_SECONDS_HELDOUT, false, -1, from->seconds_heldout);
	t->pending = true;
	if (plan->checkpoint_every == 0 || r->epoch % plan->checkpoint_every != 0)
		say(t);
}

static stk_status
checkpoint(void *ctx, const stk_rqvae_state *state)
{
	training *t = ctx;

	stk_rqvae_state_write(state, t->bytes);
	t->report.state = t->bytes;
	say(t);
	return STK_OK;
}

static double
seconds(void *ctx)
{
	const training *t = ctx;

	return t->run->exec->seconds();
}

static stk_status
train(const stk_method_run *run, float *x, size_t n, stk_train_result *result, stk_error *err)
{
	const stk_train_plan *plan = run->plan;
	const stk_allocator *a = &run->exec->a;
	training t = {.run = run};
	stk_rqvae_hooks hooks = {.report = report,
							 .checkpoint = checkpoint,
							 .checkpoint_every = plan->checkpoint_every,
							 .seconds = run->exec->seconds ? seconds : NULL,
							 .ctx = &t};
	stk_rqvae_state state;
	stk_status status;

	t.bytes = stk_alloc_array(a, stk_rqvae_state_bytes(plan), 1);
	status = stk_rqvae_state_init(&state, plan, a);
	if (!t.bytes)
		status = STK_ENOMEM;
	if (status == STK_OK && plan->resume)
		status = stk_rqvae_state_read(&state, result->state, stk_rqvae_state_bytes(plan), err);
	if (status == STK_OK)
		status = stk_rqvae_train(plan, run->exec, x, n, run->heldout, run->heldout_n, &hooks,
								 &state, err);
	say(&t);
	if (status == STK_OK)
		stk_rqvae_state_write(&state, result->state);
	stk_rqvae_state_free(&state);
	stk_free(a, t.bytes);
	return status;
}

const stk_method stk_method_rqvae = {.name = "rqvae",
									 .options = options,
									 .noptions = sizeof(options) / sizeof(options[0]),
									 .fit = STK_TRAIN_RQVAE,
									 .presets = presets,
									 .npresets = sizeof(presets) / sizeof(presets[0]),
									 .defaults = defaults,
									 .settle = settle,
									 .check = stk_rqvae_check,
									 .joint = joint,
									 .bytes = bytes,
									 .work = work,
									 .state_bytes = stk_rqvae_state_bytes,
									 .store = store,
									 .again = again,
									 .epoch = epoch,
									 .train = train};
