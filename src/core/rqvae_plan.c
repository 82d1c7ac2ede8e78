/*
 * An RQ-VAE's plan: the two sets of defaults, what a plan may hold, and where its parameters are.
 */
#include <float.h>
#include <string.h>

#include "rqvae.h"

/* Where only the presets differ; what is the same is set behind them. */
static const struct
{
	int epochs;
	uint64_t batch_size;
	double decay;
	uint32_t restart_after;
	stk_rqvae_plan rqvae;
} presets[] = {
	[STK_RQVAE_OURS] =
		{
			.epochs = 100,
			.batch_size = 640,
			.decay = 0.95,
			.restart_after = 20,
			.rqvae =
				{
					.latent = 64,
					.n_encoder = 2,
					.n_decoder = 2,
					.encoder = {512, 512},
					.decoder = {512, 512},
					.activation = STK_RELU,
					.standardize = STK_RQVAE_WHOLE,
					.learning_rate = 3e-3,
					.weight_decay = 1e-4,
					.beta1 = 0.9,
					.beta2 = 0.999,
					.epsilon = 1e-8,
					.warmup = 100,
					.schedule = STK_RQVAE_COSINE,
					.average = 0.999,
					.commitment = 0.05,
					.flow = true,
					.init = STK_RQVAE_LLOYD,
				},
		},
	[STK_RQVAE_RECTOKENS] =
		{
			.epochs = 20,
			.batch_size = 640,
			.decay = 0.99,
			.restart_after = 20,
			.rqvae =
				{
					.latent = 64,
					.n_encoder = 2,
					.n_decoder = 2,
					.encoder = {256, 256},
					.decoder = {256, 256},
					.activation = STK_RELU,
					.standardize = STK_RQVAE_AS_IS,
					.learning_rate = 1e-3,
					.weight_decay = 1e-4,
					.beta1 = 0.9,
					.beta2 = 0.999,
					.epsilon = 1e-8,
					.schedule = STK_RQVAE_CONSTANT,
					.commitment = 0.25,
					.init = STK_RQVAE_FIRST_BATCH,
				},
		},
};

void
stk_rqvae_defaults(stk_rqvae_preset preset, stk_train_plan *plan)
{
	plan->method = STK_TRAIN_RQVAE;
	plan->metric = STK_L2;
	plan->epochs = presets[preset].epochs;
	plan->batch_size = presets[preset].batch_size;
	plan->decay = presets[preset].decay;
	plan->restart_after = presets[preset].restart_after;
	plan->init = STK_INIT_KMEANSPP;
	plan->rqvae = presets[preset].rqvae;
}

static bool
is_within(int value, int least, int most)
{
	return value >= least && value <= most;
}

/* Written so that NaN says no. */
static bool
is_share(double value)
{
	return value >= 0 && value < 1;
}

static bool
is_weight(double value)
{
	return value >= 0 && value <= FLT_MAX;
}

static stk_status
check_numbers(const stk_train_plan *plan, stk_error *err)
{
	const stk_rqvae_plan *p = &plan->rqvae;

	if (!(p->learning_rate > 0 && p->learning_rate <= FLT_MAX))
		return stk_fail(err, STK_EINVAL, "expected a finite learning rate above 0");
	if (!is_weight(p->weight_decay))
		return stk_fail(err, STK_EINVAL, "expected a finite weight decay of at least 0");
	if (!is_share(p->beta1) || !is_share(p->beta2))
		return stk_fail(err, STK_EINVAL, "betas must be at least 0 and less than 1");
	if (!(p->epsilon > 0 && p->epsilon <= FLT_MAX))
		return stk_fail(err, STK_EINVAL, "expected a finite epsilon above 0");
	if (!is_weight(p->clip))
		return stk_fail(err, STK_EINVAL, "expected a finite clip of at least 0");
	if (!is_share(p->average))
		return stk_fail(err, STK_EINVAL, "average must be at least 0 and less than 1");
	if (!is_weight(p->commitment))
		return stk_fail(err, STK_EINVAL, "expected a finite commitment of at least 0");
	if (!is_weight(p->diversity))
		return stk_fail(err, STK_EINVAL, "expected a finite diversity of at least 0");
	if (!is_share(plan->decay))
		return stk_fail(err, STK_EINVAL, "decay must be at least 0 and less than 1");
	if (p->delay < 0)
		return stk_fail(err, STK_EINVAL, "expected a delay of at least 0, not %d", p->delay);
	if (p->patience < 0)
		return stk_fail(err, STK_EINVAL, "expected patience of at least 0, not %d", p->patience);
	return STK_OK;
}

static stk_status
check_layers(const char *what, int n, const uint32_t *sizes, stk_error *err)
{
	if (!is_within(n, 0, STK_RQVAE_MAX_HIDDEN))
		return stk_fail(err, STK_EINVAL, "expected 0 to %d hidden layers of the %s, not %d",
						STK_RQVAE_MAX_HIDDEN, what, n);
	for (int i = 0; i < n; i++)
		if (sizes[i] < 1 || sizes[i] > STK_MAX_WIDTH)
			return stk_fail(err, STK_EINVAL, "expected hidden layers of 1 to %d numbers, not %u",
							STK_MAX_WIDTH, sizes[i]);
	return STK_OK;
}

stk_status
stk_rqvae_check(const stk_train_plan *plan, stk_error *err)
{
	const stk_rqvae_plan *p = &plan->rqvae;
	stk_status status;

	if (!is_within(plan->epochs, 1, STK_TRAIN_MAX_EPOCHS))
		return stk_fail(err, STK_EINVAL, "expected 1 to %d epochs, not %d", STK_TRAIN_MAX_EPOCHS,
						plan->epochs);
	if (plan->metric != STK_L2 && plan->metric != STK_COSINE)
		return stk_fail(err, STK_EINVAL, "latent vectors are measured by l2 or cosine");
	if (plan->refine != 0 || plan->balance != 0 || plan->empty != STK_EMPTY_KEEP)
		return stk_fail(err, STK_EINVAL,
						"latent vectors take no refinement, balance or policy for empty codewords");
	if (!is_within((int) p->activation, 0, STK_ACTIVATIONS - 1))
		return stk_fail(err, STK_EINVAL, "unknown activation %d", (int) p->activation);
	if (!is_within((int) p->standardize, STK_RQVAE_AS_IS, STK_RQVAE_EACH))
		return stk_fail(err, STK_EINVAL, "unknown standardization %d", (int) p->standardize);
	if (!is_within((int) p->schedule, STK_RQVAE_CONSTANT, STK_RQVAE_COSINE))
		return stk_fail(err, STK_EINVAL, "unknown schedule %d", (int) p->schedule);
	if (!is_within((int) p->init, STK_RQVAE_FIRST_BATCH, STK_RQVAE_LLOYD))
		return stk_fail(err, STK_EINVAL, "unknown way to begin %d", (int) p->init);
	if (!is_within(plan->dim, 1, STK_MAX_DIM) || !is_within(p->latent, 1, STK_MAX_DIM) ||
		stk_codebook_bytes(plan->levels, plan->sizes, p->latent) == 0)
		return stk_fail(err, STK_ERANGE, "shape of the codebook is beyond the limits");
	status = check_layers("encoder", p->n_encoder, p->encoder, err);
	if (status == STK_OK)
		status = check_layers("decoder", p->n_decoder, p->decoder, err);
	if (status == STK_OK)
		status = check_numbers(plan, err);
	return status;
}

/* Add the layers from `in` numbers over hidden ones to `out`. */
static int
add_layers(stk_rqvae_shape *s, int first, uint32_t in, const uint32_t *hidden, int n, uint32_t out)
{
	for (int i = 0; i <= n; i++)
	{
		stk_rqvae_layer *l = &s->layers[first + i];

		l->in = in;
		l->out = i < n ? hidden[i] : out;
		l->weight = s->network;
		l->bias = l->weight + (size_t) l->in * l->out;
		s->network = l->bias + l->out;
		in = l->out;
	}
	return n + 1;
}

void
stk_rqvae_shape_of(const stk_train_plan *plan, stk_rqvae_shape *shape)
{
	const stk_rqvae_plan *p = &plan->rqvae;

	memset(shape, 0, sizeof(*shape));
	shape->inputs = (uint32_t) plan->dim;
	shape->latent = (uint32_t) p->latent;
	shape->n_encoder = add_layers(shape, 0, shape->inputs, p->encoder, p->n_encoder, shape->latent);
	shape->n_decoder =
		add_layers(shape, shape->n_encoder, shape->latent, p->decoder, p->n_decoder, shape->inputs);
	shape->levels = plan->levels;
	memcpy(shape->sizes, plan->sizes, (size_t) plan->levels * sizeof(uint32_t));
	for (int l = 0; l < plan->levels; l++)
		shape->codes += plan->sizes[l];
	shape->total = shape->network + shape->codes * shape->latent;
	shape->trained = p->learnable ? shape->total : shape->network;
}
