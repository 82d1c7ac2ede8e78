/*
 * What an RQ-VAE's training begins with: the rows' scale, and codewords for its first latent
 * vectors.
 */
#include <math.h>
#include <string.h>

#include "rqkmeans.h"
#include "rqvae_impl.h"

/* Columns of a task. */
#define STRIP 16
/* Rows of a sample for each codeword of the largest level, and Lloyd's iterations on them. */
#define SAMPLE_ROWS 64
#define SAMPLE_EPOCHS 25

typedef struct scale_job
{
	const stk_rqvae_state *state;
	const float *x; /* [n][inputs] */
	float *to;
	size_t n;
	double *variances; /* [inputs] out */
	const stk_monitor *monitor;
} scale_job;

static void
moments_task(void *arg, size_t index, int thread)
{
	const scale_job *j = arg;
	size_t inputs = j->state->shape.inputs;
	size_t first = index * STRIP;
	size_t width = inputs - first < STRIP ? inputs - first : STRIP;
	float *mean = j->state->mean + first;
	double sums[STRIP] = {0};
	double squares[STRIP] = {0};

	(void) thread;
	if (stk_should_stop(j->monitor))
	{
		memset(j->variances + first, 0, width * sizeof(double));
		return;
	}
	for (size_t i = 0; i < j->n; i++)
		for (size_t k = 0; k < width; k++)
			sums[k] += j->x[i * inputs + first + k];
	for (size_t k = 0; k < width; k++)
		mean[k] = (float) (sums[k] / (double) j->n);
	for (size_t i = 0; i < j->n; i++)
	{
		for (size_t k = 0; k < width; k++)
		{
			double d = (double) j->x[i * inputs + first + k] - mean[k];

			squares[k] += d * d;
		}
	}
	for (size_t k = 0; k < width; k++)
		j->variances[first + k] = squares[k] / (double) j->n;
}

/* One over the deviation; 1 where there is none to speak of. */
static float
scale_of(double variance)
{
	float scale = (float) (1 / sqrt(variance));

	return isfinite(scale) && scale > 0 ? scale : 1;
}

stk_status
stk_rqvae_take_scale(const stk_train_plan *plan, const stk_exec *exec, const float *x, size_t n,
					 stk_rqvae_state *state)
{
	size_t inputs = state->shape.inputs;
	scale_job job = {.state = state, .x = x, .n = n, .monitor = exec->monitor};
	double all = 0;

	if (plan->rqvae.standardize == STK_RQVAE_AS_IS)
		return STK_OK;
	job.variances = stk_alloc_array(&exec->a, inputs, sizeof(double));
	if (!job.variances)
		return STK_ENOMEM;
	stk_run(exec->pool, moments_task, &job, stk_rqvae_chunks(inputs, STRIP));
	for (size_t i = 0; i < inputs; i++)
		all += job.variances[i];
	for (size_t i = 0; i < inputs; i++)
		state->scale[i] = scale_of(
			plan->rqvae.standardize == STK_RQVAE_EACH ? job.variances[i] : all / (double) inputs);
	stk_free(&exec->a, job.variances);
	return stk_should_stop(exec->monitor) ? STK_ECANCELED : STK_OK;
}

static void
standardize_task(void *arg, size_t index, int thread)
{
	const scale_job *j = arg;
	size_t inputs = j->state->shape.inputs;
	size_t first = index * STK_RQVAE_CHUNK;
	size_t end = j->n - first < STK_RQVAE_CHUNK ? j->n : first + STK_RQVAE_CHUNK;

	(void) thread;
	for (size_t i = first; i < end; i++)
		for (size_t k = 0; k < inputs; k++)
			j->to[i * inputs + k] =
				(float) (((double) j->x[i * inputs + k] - j->state->mean[k]) * j->state->scale[k]);
}

void
stk_rqvae_standardize_rows(const stk_rqvae_state *state, const stk_exec *exec, const float *x,
						   size_t n, float *to)
{
	scale_job job = {.state = state, .x = x, .to = to, .n = n};

	stk_run(exec->pool, standardize_task, &job, stk_rqvae_chunks(n, STK_RQVAE_CHUNK));
}

/* Latent vectors z [count][latent] of the rows that order [count] names. */
static stk_status
encode_sample(const stk_train_plan *plan, const stk_exec *exec, const stk_rqvae_state *state,
			  const float *x, const size_t *order, size_t count, float *z, stk_error *err)
{
	size_t inputs = state->shape.inputs;
	size_t latent = state->shape.latent;
	stk_rqvae_net net;
	stk_status status = stk_rqvae_net_init(
		&net, exec, plan, &state->shape, count < STK_RQVAE_PIECE ? count : STK_RQVAE_PIECE, false);

	net.parameters = state->parameters;
	for (size_t first = 0; first < count && status == STK_OK; first += net.rows)
	{
		size_t n = count - first < net.rows ? count - first : net.rows;

		for (size_t i = 0; i < n; i++)
			memcpy(net.x + i * inputs, x + order[first + i] * inputs, inputs * sizeof(float));
		if (!stk_rqvae_encode(&net, n))
			status = stk_fail(err, STK_EINVAL, "latent vectors are not finite before step %llu",
							  (unsigned long long) state->step + 1);
		if (stk_should_stop(exec->monitor))
			status = STK_ECANCELED;
		if (status == STK_OK)
			memcpy(z + first * latent, net.residuals[0], n * latent * sizeof(float));
	}
	stk_rqvae_net_free(&net);
	return status;
}

/* Drawn from z [n][latent] by the plan's init, level by level: z becomes residuals. */
static stk_status
choose_plainly(const stk_train_plan *plan, const stk_exec *exec, float *z, size_t n,
			   uint32_t largest, stk_rqvae_state *state, stk_error *err)
{
	const stk_rqvae_shape *shape = &state->shape;
	float *codewords = state->parameters + shape->network;
	uint16_t *codes = stk_alloc_array(&exec->a, n, sizeof(uint16_t));
	double *counts = state->counts;
	stk_kmeans_work work;
	stk_status status = stk_kmeans_work_init(&work, n, shape->latent, largest, exec);

	if (status != STK_OK)
	{
		stk_free(&exec->a, codes);
		return status;
	}
	if (!codes)
		status = STK_ENOMEM;
	for (int l = 0; l < shape->levels && status == STK_OK; l++)
	{
		stk_kmeans km = {.dim = shape->latent,
						 .size = shape->sizes[l],
						 .centroids = codewords,
						 .counts = counts};
		double error;

		status = stk_kmeans_start(&km, &work, z, n, plan->init, plan->seed, l);
		if (status == STK_OK && l + 1 < shape->levels)
			status = stk_kmeans_assign(&km, &work, z, n, codes, &error);
		if (status == STK_OK && l + 1 < shape->levels)
			status =
				stk_train_rows_subtract(exec, z, n, shape->latent, codewords, codes, l, z, err);
		codewords += shape->sizes[l] * (size_t) shape->latent;
		counts += shape->sizes[l];
	}
	stk_kmeans_work_free(&work);
	stk_free(&exec->a, codes);
	return status;
}

/*
 * Residual k-means of z [n][latent]. Moving averages begin as if batches of `batch` rows had had
 * these codewords for ever.
 */
static stk_status
choose_by_lloyd(const stk_train_plan *plan, const stk_exec *exec, float *z, size_t n, size_t batch,
				stk_rqvae_state *state, stk_error *err)
{
	const stk_rqvae_shape *shape = &state->shape;
	float *codewords = state->parameters + shape->network;
	stk_rqkmeans_options opt = {.metric = plan->metric,
								.levels = shape->levels,
								.dim = (int) shape->latent,
								.epochs = SAMPLE_EPOCHS,
								.look_every = SAMPLE_EPOCHS,
								.init = plan->init,
								.empty = STK_EMPTY_FARTHEST,
								.seed = plan->seed};
	stk_status status;

	memcpy(opt.sizes, shape->sizes, sizeof(opt.sizes));
	status = stk_rqkmeans_train(&opt, exec, z, n, codewords, state->counts, err);
	for (size_t k = 0; k < shape->codes && status == STK_OK; k++)
	{
		state->counts[k] *= (double) batch / (double) n;
		for (size_t i = 0; i < shape->latent; i++)
			state->sums[k * shape->latent + i] =
				state->counts[k] * codewords[k * shape->latent + i];
	}
	return status;
}

stk_status
stk_rqvae_choose(const stk_train_plan *plan, const stk_exec *exec, const float *x, size_t n,
				 const size_t *order, stk_rqvae_state *state, stk_error *err)
{
	const stk_rqvae_shape *shape = &state->shape;
	size_t batch = plan->batch_size > 0 && plan->batch_size < n ? (size_t) plan->batch_size : n;
	size_t count = stk_rqvae_sample_rows(plan, n);
	float *z = stk_alloc_array(&exec->a, count, shape->latent * sizeof(float));
	uint32_t largest = 0;
	stk_status status;

	if (!z)
		return STK_ENOMEM;
	for (int l = 0; l < shape->levels; l++)
		largest = shape->sizes[l] > largest ? shape->sizes[l] : largest;
	status = encode_sample(plan, exec, state, x, order, count, z, err);
	if (status == STK_OK && plan->rqvae.init == STK_RQVAE_LLOYD)
		status = choose_by_lloyd(plan, exec, z, count, batch, state, err);
	else if (status == STK_OK)
		status = choose_plainly(plan, exec, z, count, largest, state, err);
	if (status == STK_OK)
	{
		memcpy(state->average + shape->network, state->parameters + shape->network,
			   (shape->total - shape->network) * sizeof(float));
		state->quantized = true;
	}
	else if (err)
		err->row = SIZE_MAX;
	stk_free(&exec->a, z);
	return status;
}

size_t
stk_rqvae_sample_rows(const stk_train_plan *plan, size_t n)
{
	size_t rows = plan->batch_size > 0 && plan->batch_size < n ? (size_t) plan->batch_size : n;

	for (int l = 0; l < plan->levels && plan->rqvae.init == STK_RQVAE_LLOYD; l++)
		rows = plan->sizes[l] * (size_t) SAMPLE_ROWS > rows ? plan->sizes[l] * (size_t) SAMPLE_ROWS
															: rows;
	return rows < n ? rows : n;
}
