/*
 * An RQ-VAE's training: epochs, rates, measurings, who computes.
 */
#include <math.h>
#include <string.h>

#include "explog.h"
#include "fpenv.h"
#include "rqvae_impl.h"

typedef struct training
{
	const stk_train_plan *plan;
	stk_exec exec; /* the caller's, without an accelerator that has failed */
	const stk_rqvae_hooks *hooks;
	stk_rqvae_state *state;
	const float *x; /* [n][inputs], standardised */
	size_t n;
	const float *heldout;
	size_t heldout_n;

	size_t batch;
	size_t steps; /* of an epoch */
	stk_batches batches;
	stk_rqvae_pace *paces;  /* [steps] */
	stk_rqvae_loss *losses; /* [steps] */
	uint16_t *codes;        /* [n][levels] */
	uint64_t *chosen;       /* [codes] rows of the epoch that chose a code */
	uint32_t *table;        /* [table_size] ids of a batch: row + 1 */
	size_t table_size;      /* a power of two, at least twice a batch */

	const stk_rqvae_device_ops *ops; /* of the device; NULL: there is none */
	stk_rqvae_device *device;
	bool there; /* it is not the processor */
	double seconds[3];
} training;

enum
{
	STARTING,
	STEPPING,
	MEASURING
};

static double
now(const training *t)
{
	return t->hooks && t->hooks->seconds ? t->hooks->seconds(t->hooks->ctx) : 0;
}

/* Add what has passed since `since` to a phase. */
static void
spent(training *t, int phase, double since)
{
	t->seconds[phase] += now(t) - since;
}

/* cos(pi x), 0 <= x <= 1, without a library: sin(pi (1/2 - x)) by its series. */
static double
cosine_of_pi(double x)
{
	double y = 3.14159265358979323846 * (0.5 - x);
	double term = y;
	double sum = y;

	for (int i = 1; i <= 12; i++)
	{
		term *= -y * y / (2 * i * (2 * i + 1));
		sum += term;
	}
	return sum;
}

/* What step number `step` of this training computes with, from 0. */
static stk_rqvae_pace
pace_of(const training *t, uint64_t step)
{
	const stk_rqvae_plan *p = &t->plan->rqvae;
	uint64_t all = (uint64_t) t->plan->epochs * t->steps;
	double keep = (double) (step + 1) / (double) (step + 10);
	stk_rqvae_pace pace = {.rate = p->learning_rate, .keep = keep < p->average ? keep : p->average};

	if (step < p->warmup)
		pace.rate *= (double) (step + 1) / (double) p->warmup;
	else if (p->schedule == STK_RQVAE_COSINE && all > p->warmup)
		pace.rate *=
			0.5 + 0.5 * cosine_of_pi((double) (step - p->warmup) / (double) (all - p->warmup));
	return pace;
}

static void
free_device(training *t)
{
	if (t->ops)
		t->ops->free(t->device);
	t->ops = NULL;
}

/* Let a device begin at the state: the accelerator, where there is one that takes the plan. */
static stk_status
create_device(training *t)
{
	const stk_accelerator *a = t->exec.accelerator;
	stk_status status = STK_EDEVICE;

	free_device(t);
	t->there = a && a->ops->rqvae;
	if (t->there)
	{
		status = a->ops->rqvae->create(a->ctx, t->plan, &t->exec, t->state, t->x, t->n, &t->device);
		if (status == STK_OK)
			t->ops = a->ops->rqvae;
		if (status == STK_OK || status == STK_ECANCELED)
			return status;
		t->there = false;
		t->exec.accelerator = NULL;
	}
	status = stk_rqvae_processor.create(NULL, t->plan, &t->exec, t->state, t->x, t->n, &t->device);
	if (status == STK_OK)
		t->ops = &stk_rqvae_processor;
	return status;
}

/* Is a loss one to go on from? */
static bool
is_finite(const stk_rqvae_loss *l)
{
	return isfinite(l->reconstruction + l->commitment + l->codebook + l->diversity + l->norm);
}

static stk_status
check_losses(const training *t, stk_error *err)
{
	for (size_t i = 0; i < t->steps; i++)
	{
		if (is_finite(&t->losses[i]))
			continue;
		if (err)
			err->row = SIZE_MAX;
		return stk_fail(err, STK_EINVAL, "loss is not a finite number at step %llu",
						(unsigned long long) (t->state->step + i + 1));
	}
	return STK_OK;
}

/* All steps of an epoch, and the state that they lead to. */
static stk_status
run_epoch(training *t, stk_error *err)
{
	stk_rqvae_run run = {.places = t->batches.order,
						 .n = t->n,
						 .size = t->batch,
						 .quantize = t->state->quantized,
						 .paces = t->paces,
						 .losses = t->losses,
						 .codes = t->codes};
	stk_status status = t->ops ? STK_OK : create_device(t);

	for (size_t i = 0; i < t->steps; i++)
		t->paces[i] = pace_of(t, t->state->step - t->state->begin + i);
	if (status == STK_OK)
		status = t->ops->run(t->device, &run);
	if (status == STK_OK)
		status = check_losses(t, err);
	else if (t->there && status != STK_ECANCELED)
		status = STK_EDEVICE;
	if (status == STK_OK)
		status = t->ops->read(t->device, t->state);
	if (status == STK_OK || status == STK_ECANCELED || status == STK_EINVAL || !t->there)
		return status;
	/* The device is of no use any more: the processor takes the epoch from its beginning. */
	t->exec.accelerator = NULL;
	free_device(t);
	return run_epoch(t, err);
}

/* Distinct ids among rows first .. first + n - 1 of the epoch. */
static size_t
count_ids(training *t, size_t first, size_t n)
{
	size_t width = (size_t) t->plan->levels * sizeof(uint16_t);
	const uint16_t *codes = t->codes + first * (size_t) t->plan->levels;
	size_t ids = 0;

	memset(t->table, 0, t->table_size * sizeof(uint32_t));
	for (size_t i = 0; i < n; i++)
	{
		const uint16_t *id = codes + i * (size_t) t->plan->levels;
		uint64_t hash = 0;
		size_t at;

		for (int l = 0; l < t->plan->levels; l++)
			hash = (hash ^ id[l]) * 0x9E3779B97F4A7C15;
		for (at = hash >> 32 & (t->table_size - 1); t->table[at];
			 at = (at + 1) & (t->table_size - 1))
			if (memcmp(codes + (size_t) (t->table[at] - 1) * (size_t) t->plan->levels, id, width) ==
				0)
				break;
		if (t->table[at])
			continue;
		t->table[at] = (uint32_t) i + 1;
		ids++;
	}
	return ids;
}

/* What the epoch's codes say. */
static void
report_codes(training *t, stk_rqvae_report *r)
{
	const stk_rqvae_shape *shape = &t->state->shape;
	uint64_t *chosen = t->chosen;

	memset(chosen, 0, shape->codes * sizeof(uint64_t));
	for (size_t first = 0; first < t->n; first += t->batch)
	{
		size_t n = t->n - first < t->batch ? t->n - first : t->batch;

		r->p_unique += (double) count_ids(t, first, n) / (double) n / (double) t->steps;
	}
	for (int l = 0; l < shape->levels; l++)
	{
		for (size_t i = 0; i < t->n; i++)
			chosen[t->codes[i * (size_t) shape->levels + (size_t) l]]++;
		for (uint32_t k = 0; k < shape->sizes[l]; k++)
		{
			double p = (double) chosen[k] / (double) t->n;

			r->used[l] += chosen[k] > 0;
			r->entropy[l] -= p > 0 ? p * stk_log(p) : 0;
		}
		chosen += shape->sizes[l];
	}
}

/* The parameters that are measured, and come out in the end. */
static const float *
current(const training *t)
{
	return t->plan->rqvae.average > 0 ? t->state->average : t->state->parameters;
}

/* Measure on the held-out rows, where it is time to. */
static stk_status
measure(training *t, stk_rqvae_report *r, stk_error *err)
{
	stk_rqvae_state *s = t->state;
	int every = t->plan->eval_every > 0 ? t->plan->eval_every : t->plan->epochs;
	double since = now(t);
	bool finite;
	stk_status status;

	if (t->heldout_n == 0 || !s->quantized ||
		(s->epoch % (uint32_t) every != 0 && s->epoch != (uint32_t) t->plan->epochs))
		return STK_OK;
	status = stk_rqvae_measure_rows(t->plan, &t->exec, s, current(t), t->heldout, t->heldout_n,
									&r->heldout, &finite);
	if (status != STK_OK)
		return status;
	if (!finite)
	{
		if (err)
			err->row = SIZE_MAX;
		return stk_fail(err, STK_EINVAL,
						"loss on held-out rows is not a finite number after step %llu",
						(unsigned long long) s->step);
	}
	r->evaluated = true;
	r->best = r->heldout.reconstruction < s->best_loss;
	s->waited++;
	if (r->best)
	{
		s->best_loss = r->heldout.reconstruction;
		s->best_epoch = s->epoch;
		s->waited = 0;
		memcpy(s->best, current(t), s->shape.total * sizeof(float));
	}
	spent(t, MEASURING, since);
	return STK_OK;
}

/* Choose codewords when their time has come. */
static stk_status
begin_epoch(training *t, stk_error *err)
{
	stk_rqvae_state *s = t->state;
	int delay = t->plan->rqvae.delay;
	int last = t->plan->epochs - 1;
	double since = now(t);
	stk_status status;

	stk_batches_begin(&t->batches, t->plan->seed, (int) s->epoch + 1);
	if (!s->quantized && s->epoch >= (uint32_t) (delay < last ? delay : last))
	{
		status = stk_rqvae_choose(t->plan, &t->exec, t->x, t->n, t->batches.order, s, err);
		if (status != STK_OK)
			return status;
		free_device(t);
		spent(t, STARTING, since);
	}
	return stk_batches_order(&t->batches, &t->exec);
}

static stk_status
train_epoch(training *t, stk_error *err)
{
	stk_rqvae_state *s = t->state;
	stk_rqvae_report *r = stk_alloc_array(&t->exec.a, 1, sizeof(stk_rqvae_report));
	stk_status status = r ? begin_epoch(t, err) : STK_ENOMEM;
	double since = now(t);

	if (status == STK_OK)
		status = run_epoch(t, err);
	if (status != STK_OK)
	{
		stk_free(&t->exec.a, r);
		return status;
	}
	spent(t, STEPPING, since);
	s->epoch++;
	*r = (stk_rqvae_report){.epoch = s->epoch, .step = s->step, .quantized = s->quantized};
	for (size_t i = 0; i < t->steps; i++)
	{
		r->loss.reconstruction += t->losses[i].reconstruction / (double) t->steps;
		r->loss.commitment += t->losses[i].commitment / (double) t->steps;
		r->loss.codebook += t->losses[i].codebook / (double) t->steps;
		r->loss.diversity += t->losses[i].diversity / (double) t->steps;
		r->loss.norm += t->losses[i].norm / (double) t->steps;
	}
	if (s->quantized)
		report_codes(t, r);
	status = measure(t, r, err);
	r->seconds_start = t->seconds[STARTING];
	r->seconds_steps = t->seconds[STEPPING];
	r->seconds_heldout = t->seconds[MEASURING];
	if (status == STK_OK && t->hooks && t->hooks->report)
		t->hooks->report(t->hooks->ctx, r);
	stk_free(&t->exec.a, r);
	return status;
}

/* Is the training at its end? */
static bool
is_over(const training *t)
{
	const stk_rqvae_state *s = t->state;
	int patience = t->plan->rqvae.patience;

	return s->epoch >= (uint32_t) t->plan->epochs ||
		   (patience > 0 && s->waited >= (uint32_t) patience);
}

static stk_status
train_epochs(training *t, stk_error *err)
{
	stk_status status = STK_OK;

	while (!is_over(t) && status == STK_OK)
	{
		const stk_rqvae_hooks *h = t->hooks;

		status = train_epoch(t, err);
		if (status == STK_OK && !is_over(t) && h && h->checkpoint && h->checkpoint_every > 0 &&
			t->state->epoch % (uint32_t) h->checkpoint_every == 0)
			status = h->checkpoint(h->ctx, t->state);
	}
	free_device(t);
	return status;
}

/* Allocate what training needs, train, free it. */
static stk_status
run(training *t, stk_error *err)
{
	const stk_allocator *a = &t->exec.a;
	uint64_t size = t->plan->batch_size;
	stk_status status;

	t->batch = size > 0 && size < t->n ? (size_t) size : t->n;
	t->steps = (t->n + t->batch - 1) / t->batch;
	for (t->table_size = 2; t->table_size < 2 * t->batch;)
		t->table_size *= 2;
	status = stk_batches_init(&t->batches, &t->exec, t->n, t->batch);
	t->paces = stk_alloc_array(a, t->steps, sizeof(stk_rqvae_pace));
	t->losses = stk_alloc_array(a, t->steps, sizeof(stk_rqvae_loss));
	t->codes = stk_alloc_array(a, t->n, (size_t) t->plan->levels * sizeof(uint16_t));
	t->chosen = stk_alloc_array(a, t->state->shape.codes, sizeof(uint64_t));
	t->table = stk_alloc_array(a, t->table_size, sizeof(uint32_t));
	if (!t->paces || !t->losses || !t->codes || !t->chosen || !t->table)
		status = STK_ENOMEM;
	if (status == STK_OK)
		status = train_epochs(t, err);
	stk_free(a, t->table);
	stk_free(a, t->chosen);
	stk_free(a, t->codes);
	stk_free(a, t->losses);
	stk_free(a, t->paces);
	stk_batches_free(&t->batches, &t->exec);
	return status;
}

/* Put rows x [n][dim] on the state's scale; from [n]: where they came from. */
static stk_status
standardize_piece(const training *t, float *x, size_t n, const size_t *from, stk_error *err)
{
	size_t dim = (size_t) t->plan->dim;

	if (stk_should_stop(t->exec.monitor))
		return STK_ECANCELED;
	stk_rqvae_standardize_rows(t->state, &t->exec, x, n, x);
	for (size_t i = 0; i < n; i++)
	{
		if (t->exec.cpu->reference->finite(x + i * dim, dim))
			continue;
		if (err)
			err->row = from[i];
		return stk_fail(err, STK_ERANGE, "standardized row is out of range for type real");
	}
	return STK_OK;
}

/* Put the rows in order and on the state's scale. */
static stk_status
prepare(training *t, float *x, stk_error *err)
{
	const stk_allocator *a = &t->exec.a;
	size_t dim = (size_t) t->plan->dim;
	stk_rqvae_state *s = t->state;
	size_t *from = stk_alloc_array(a, t->n, sizeof(size_t));
	double since = now(t);
	stk_status status =
		from ? stk_train_rows_prepare(&t->exec, STK_L2, x, t->n, dim, err) : STK_ENOMEM;

	if (status == STK_OK)
		status = stk_train_rows_sort(&t->exec, x, t->n, dim, from);
	if (status == STK_OK && s->step == 0)
		status = stk_rqvae_take_scale(t->plan, &t->exec, x, t->n, s);
	for (size_t first = 0; first < t->n && status == STK_OK; first += STK_RQVAE_PIECE)
	{
		size_t n = t->n - first < STK_RQVAE_PIECE ? t->n - first : STK_RQVAE_PIECE;

		status = standardize_piece(t, x + first * dim, n, from + first, err);
	}
	stk_free(a, from);
	spent(t, STARTING, since);
	return status;
}

stk_status
stk_rqvae_train(const stk_train_plan *plan, const stk_exec *exec, float *x, size_t n,
				const float *heldout, size_t heldout_n, const stk_rqvae_hooks *hooks,
				stk_rqvae_state *state, stk_error *err)
{
	training t = {.plan = plan,
				  .exec = *exec,
				  .hooks = hooks,
				  .state = state,
				  .x = x,
				  .n = n,
				  .heldout = heldout,
				  .heldout_n = heldout ? heldout_n : 0};
	stk_status status = stk_rqvae_check(plan, err);
	stk_fpenv env;

	if (status != STK_OK)
		return status;
	if (n == 0)
		return stk_fail(err, STK_EINVAL, "no rows to train on");
	env = stk_fpenv_enter();
	status = prepare(&t, x, err);
	if (status == STK_OK)
		status = run(&t, err);
	stk_fpenv_leave(env);
	return status;
}
