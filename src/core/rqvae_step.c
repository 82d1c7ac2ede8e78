/*
 * The processor's steps of an RQ-VAE: gradients, AdamW, moving averages, weight averaging.
 */
#include <math.h>
#include <string.h>

#include "dense.h"
#include "ema.h"
#include "fpenv.h"
#include "kmeans_impl.h"
#include "rqvae_impl.h"

struct stk_rqvae_device
{
	const stk_train_plan *plan;
	stk_exec exec;
	const float *x; /* [n][inputs] */
	stk_rqvae_state state;
	stk_rqvae_net net;
	size_t rows; /* that the net has room for */
};

/* What the tasks of one update share. */
typedef struct update
{
	stk_rqvae_device *d;
	stk_adamw adamw;
	float take; /* of averages: 1 - keep */
} update;

static size_t
chunk_numbers(size_t n, size_t index, size_t *first)
{
	*first = index * STK_RQVAE_NUMBERS;
	return n - *first < STK_RQVAE_NUMBERS ? n - *first : STK_RQVAE_NUMBERS;
}

static void
run_numbers(const update *u, stk_task task, size_t n)
{
	stk_run(u->d->exec.pool, task, (void *) u, stk_rqvae_chunks(n, STK_RQVAE_NUMBERS));
}

static void
square_task(void *arg, size_t index, int thread)
{
	const update *u = arg;
	size_t first;
	size_t n = chunk_numbers(u->d->state.shape.trained, index, &first);
	const float *g = u->d->net.gradients + first;

	(void) thread;
	u->d->exec.cpu->reference->dots(g, &g, 1, n, &u->d->net.sums[index]);
}

/* Length of all gradients together. */
static double
gradient_norm(const update *u)
{
	size_t n = u->d->state.shape.trained;
	double sum = 0;

	run_numbers(u, square_task, n);
	for (size_t i = 0; i < stk_rqvae_chunks(n, STK_RQVAE_NUMBERS); i++)
		sum += u->d->net.sums[i];
	return sqrt(sum);
}

static void
adamw_task(void *arg, size_t index, int thread)
{
	const update *u = arg;
	stk_rqvae_state *s = &u->d->state;
	size_t first;
	size_t n = chunk_numbers(s->shape.trained, index, &first);

	(void) thread;
	stk_dense_of(u->d->exec.cpu)
		->adamw(&u->adamw, u->d->net.gradients + first, s->first + first, s->second + first,
				s->parameters + first, n);
}

static void
average_task(void *arg, size_t index, int thread)
{
	const update *u = arg;
	stk_rqvae_state *s = &u->d->state;
	size_t first;
	size_t n = chunk_numbers(s->shape.total, index, &first);

	(void) thread;
	stk_dense_of(u->d->exec.cpu)->approach(s->average + first, s->parameters + first, u->take, n);
}

/* base^t, the same on every machine. */
static double
power(double base, uint64_t t)
{
	double result = 1;

	for (; t > 0; t >>= 1)
	{
		if (t & 1)
			result *= base;
		base *= base;
	}
	return result;
}

/* AdamW's numbers for step t. */
static void
set_rates(update *u, const stk_rqvae_pace *pace, double norm)
{
	const stk_rqvae_plan *p = &u->d->plan->rqvae;
	uint64_t t = u->d->state.step + 1;
	double cut = p->clip > 0 ? p->clip / (norm + 1e-6) : 1;

	u->adamw = (stk_adamw){.cut = cut < 1 ? (float) cut : 1,
						   .decay = (float) (1 - pace->rate * p->weight_decay),
						   .first = (float) (1 - p->beta1),
						   .second = (float) p->beta2,
						   .fresh = (float) (1 - p->beta2),
						   .root = (float) sqrt(1 - power(p->beta2, t)),
						   .rate = (float) (pace->rate / (1 - power(p->beta1, t))),
						   .epsilon = (float) p->epsilon};
	u->take = 1 - (float) pace->keep;
}

/* Codewords of a level that are moving averages learn from their rows. */
static stk_status
follow(stk_rqvae_device *d, size_t n, int level, size_t first, float *codewords)
{
	stk_rqvae_state *s = &d->state;
	stk_ema ema = {.size = s->shape.sizes[level],
				   .dim = s->shape.latent,
				   .codewords = codewords,
				   .counts = s->counts + first,
				   .sums = s->sums + first * s->shape.latent,
				   .idle = s->idle + first,
				   .a = d->exec.a};
	stk_ema_rule rule = {.decay = d->plan->decay,
						 .restart_after = d->plan->restart_after,
						 .unit = d->plan->metric == STK_COSINE && level == 0,
						 .seed = d->plan->seed,
						 .level = level,
						 .step = (uint32_t) s->step};

	return stk_ema_update(&ema, &rule, &d->exec, d->net.residuals[level], n, d->net.codes[level],
						  NULL);
}

/* Codewords of a level that AdamW moved: dead ones restart, and lengths are kept. */
static void
restart(stk_rqvae_device *d, size_t n, int level, size_t first, float *codewords)
{
	stk_rqvae_state *s = &d->state;
	size_t width = s->shape.latent;
	uint32_t *idle = s->idle + first;

	for (uint32_t k = 0; k < s->shape.sizes[level]; k++)
		idle[k] += idle[k] < UINT32_MAX;
	for (size_t i = 0; i < n; i++)
		idle[d->net.codes[level][i]] = 0;
	for (uint32_t k = 0; k < s->shape.sizes[level]; k++)
	{
		float *c = codewords + k * width;
		size_t place = (size_t) (c - s->parameters);

		if (d->plan->restart_after > 0 && idle[k] >= d->plan->restart_after)
		{
			uint64_t bits =
				stk_random(d->plan->seed, STK_RANDOM_RESTART, level, (uint32_t) s->step, k);

			memcpy(c, d->net.residuals[level] + (size_t) stk_below(bits, n) * width,
				   width * sizeof(float));
			memset(s->first + place, 0, width * sizeof(float));
			memset(s->second + place, 0, width * sizeof(float));
			idle[k] = 0;
		}
		if (d->plan->metric == STK_COSINE && level == 0)
			stk_kmeans_normalise(c, width);
	}
}

static stk_status
learn_codewords(stk_rqvae_device *d, size_t n)
{
	const stk_rqvae_shape *shape = &d->state.shape;
	size_t first = 0;

	for (int l = 0; l < shape->levels; l++)
	{
		float *codewords = d->state.parameters + shape->network + first * shape->latent;
		stk_status status = STK_OK;

		if (d->plan->rqvae.learnable)
			restart(d, n, l, first, codewords);
		else
			status = follow(d, n, l, first, codewords);
		if (status != STK_OK)
			return status;
		first += shape->sizes[l];
	}
	return STK_OK;
}

/* Averages of the first level's codewords under cosine have a length again. */
static void
lengthen_averages(stk_rqvae_state *s)
{
	for (uint32_t k = 0; k < s->shape.sizes[0]; k++)
		stk_kmeans_normalise(s->average + s->shape.network + k * (size_t) s->shape.latent,
							 s->shape.latent);
}

/* One step on the n rows in the net. *finite: the state may go on from it. */
static stk_status
step(stk_rqvae_device *d, size_t n, bool quantize, const stk_rqvae_pace *pace, stk_rqvae_loss *loss,
	 bool *finite)
{
	stk_rqvae_state *s = &d->state;
	update u = {.d = d};
	stk_status status = stk_rqvae_gradients(&d->net, n, quantize, loss, finite);

	if (stk_should_stop(d->exec.monitor))
		return STK_ECANCELED;
	if (status != STK_OK || !*finite)
		return status;
	loss->norm = gradient_norm(&u);
	*finite = isfinite(loss->norm);
	if (!*finite)
		return STK_OK;
	set_rates(&u, pace, loss->norm);
	run_numbers(&u, adamw_task, s->shape.trained);
	if (quantize)
		status = learn_codewords(d, n);
	if (d->plan->rqvae.average > 0)
		run_numbers(&u, average_task, s->shape.total);
	if (d->plan->rqvae.average > 0 && d->plan->metric == STK_COSINE && quantize)
		lengthen_averages(s);
	s->step++;
	return status;
}

/* Rows of a batch on their way to the net. */
typedef struct gathering
{
	const stk_rqvae_device *d;
	const size_t *places;
	size_t n;
} gathering;

static void
gather_task(void *arg, size_t index, int thread)
{
	const gathering *g = arg;
	size_t inputs = g->d->state.shape.inputs;
	size_t first = index * STK_RQVAE_CHUNK;
	size_t end = g->n - first < STK_RQVAE_CHUNK ? g->n : first + STK_RQVAE_CHUNK;

	(void) thread;
	for (size_t i = first; i < end; i++)
		memcpy(g->d->net.x + i * inputs, g->d->x + g->places[i] * inputs, inputs * sizeof(float));
}

static void
gather(const stk_rqvae_device *d, const size_t *places, size_t n)
{
	gathering g = {d, places, n};

	stk_run(d->exec.pool, gather_task, &g, stk_rqvae_chunks(n, STK_RQVAE_CHUNK));
}

static stk_status
processor_run(stk_rqvae_device *d, stk_rqvae_run *run)
{
	int levels = d->state.shape.levels;
	stk_fpenv env = stk_fpenv_enter();
	stk_status status = STK_OK;
	bool finite = true;

	for (size_t first = 0, i = 0; first < run->n && status == STK_OK; first += run->size, i++)
	{
		size_t n = run->n - first < run->size ? run->n - first : run->size;

		if (stk_should_stop(d->exec.monitor))
			status = STK_ECANCELED;
		/* Nothing follows a loss that is none. */
		if (!finite)
			run->losses[i] = (stk_rqvae_loss){.reconstruction = NAN, .norm = NAN};
		if (status != STK_OK || !finite)
			continue;
		gather(d, run->places + first, n);
		status = step(d, n, run->quantize, &run->paces[i], &run->losses[i], &finite);
		if (status == STK_OK && !finite)
			run->losses[i].norm = NAN;
		for (size_t r = 0; r < n && status == STK_OK && finite && run->quantize; r++)
			for (int l = 0; l < levels; l++)
				run->codes[(first + r) * (size_t) levels + (size_t) l] = d->net.codes[l][r];
	}
	stk_fpenv_leave(env);
	return status;
}

static void
processor_free(stk_rqvae_device *d)
{
	stk_allocator a = d->exec.a;

	stk_rqvae_net_free(&d->net);
	stk_rqvae_state_free(&d->state);
	stk_free(&a, d);
}

static stk_status
processor_create(void *ctx, const stk_train_plan *plan, const stk_exec *exec,
				 const stk_rqvae_state *state, const float *x, size_t n, stk_rqvae_device **out)
{
	stk_rqvae_device *d = stk_alloc_array(&exec->a, 1, sizeof(stk_rqvae_device));
	stk_status status;

	(void) ctx;
	if (!d)
		return STK_ENOMEM;
	memset(d, 0, sizeof(*d));
	d->plan = plan;
	d->exec = *exec;
	d->x = x;
	d->rows = plan->batch_size > 0 && plan->batch_size < n ? (size_t) plan->batch_size : n;
	status = stk_rqvae_state_init(&d->state, plan, &exec->a);
	if (status == STK_OK)
		status = stk_rqvae_net_init(&d->net, &d->exec, plan, &d->state.shape, d->rows, true);
	if (status != STK_OK)
	{
		processor_free(d);
		return status;
	}
	stk_rqvae_state_copy(&d->state, state);
	d->net.parameters = d->state.parameters;
	*out = d;
	return STK_OK;
}

static stk_status
processor_read(stk_rqvae_device *d, stk_rqvae_state *state)
{
	stk_rqvae_state_copy(state, &d->state);
	return STK_OK;
}

const stk_rqvae_device_ops stk_rqvae_processor = {processor_create, processor_run, processor_read,
												  processor_free};
