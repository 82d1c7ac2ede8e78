/*
 * Training an RQ-VAE on a device: core's state goes there, steps are taken from the rows that it
 * has, and the state comes back.
 *
 * The same bits in each run on one device: nothing adds in an order that may change. With the
 * processor it agrees to tolerance.
 */
#include "train_rqvae.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Multiply-adds of the steps between two looks at the monitor: some tens of milliseconds. */
#define PIECE_WORK 5e11
/* Steps that are sent together, at most: what they note is read back behind them. */
#define MOST_STEPS 4096

/* Numbers as core has them, to where the device has them, or back. */
static void
spread(const stk_rqvae_device *d, const float *from, size_t n, float *to)
{
	const stk_rqvae_shape *s = &d->shape;

	memset(to, 0, d->wide * sizeof(float));
	for (int i = 0; i < s->n_encoder + s->n_decoder; i++)
	{
		const stk_rqvae_layer *l = &s->layers[i];
		size_t wide = stk_wide(l->in);

		for (uint32_t row = 0; row < l->out; row++)
		{
			float *w = to + d->layers[i].at + row * wide;

			memcpy(w, from + l->weight + (size_t) row * l->in, l->in * sizeof(float));
			w[l->in] = from[l->bias + row];
		}
	}
	if (n > s->network)
		memcpy(to + d->codewords, from + s->network, (n - s->network) * sizeof(float));
}

static void
collect(const stk_rqvae_device *d, const float *from, size_t n, float *to)
{
	const stk_rqvae_shape *s = &d->shape;

	for (int i = 0; i < s->n_encoder + s->n_decoder; i++)
	{
		const stk_rqvae_layer *l = &s->layers[i];
		size_t wide = stk_wide(l->in);

		for (uint32_t row = 0; row < l->out; row++)
		{
			const float *w = from + d->layers[i].at + row * wide;

			memcpy(to + l->weight + (size_t) row * l->in, w, l->in * sizeof(float));
			to[l->bias + row] = w[l->in];
		}
	}
	if (n > s->network)
		memcpy(to + s->network, from + d->codewords, (n - s->network) * sizeof(float));
}

/* A part of the state: so many of its numbers, and where the device has them; or plain bytes. */
typedef struct part
{
	void *here;
	void *there;
	size_t floats; /* laid out anew; 0: plain */
	size_t bytes;
} part;

#define MOST_PARTS 7

static int
parts_of(const stk_rqvae_device *d, const stk_rqvae_state *state, part parts[MOST_PARTS])
{
	const stk_rqvae_shape *s = &d->shape;
	size_t bytes = d->wide * sizeof(float);
	int n = 0;

	parts[n++] = (part){state->parameters, d->parameters, s->total, bytes};
	parts[n++] = (part){state->first, d->first, s->trained, bytes};
	parts[n++] = (part){state->second, d->second, s->trained, bytes};
	if (d->average)
		parts[n++] = (part){state->average, d->average, s->total, bytes};
	parts[n++] = (part){state->counts, d->counts, 0, s->codes * sizeof(double)};
	parts[n++] = (part){state->sums, d->sums, 0, s->codes * s->latent * sizeof(double)};
	parts[n++] = (part){state->idle, d->idle, 0, s->codes * sizeof(uint32_t)};
	return n;
}

static stk_status
send_state(stk_rqvae_device *d, const stk_rqvae_state *state, stk_error *err)
{
	part parts[MOST_PARTS];
	int n = parts_of(d, state, parts);
	float *wide = malloc(d->wide * sizeof(float));
	stk_status status = wide ? STK_OK : STK_ENOMEM;

	for (int i = 0; i < n && status == STK_OK; i++)
	{
		const part *p = &parts[i];

		if (p->floats)
			spread(d, p->here, p->floats, wide);
		status = stk_trainer_copy_in(d->trainer, p->there, p->floats ? wide : p->here, p->bytes,
									 NULL, err);
		/* The next part is laid out in the same place. */
		if (status == STK_OK)
			status = stk_trainer_wait(d->trainer, NULL, err);
	}
	free(wide);
	return status;
}

static void
device_free(stk_rqvae_device *d)
{
	stk_trainer *t = d->trainer;
	stk_error unsaid = {.level = -1};

	/* What was on its way when a step was cancelled still works with it. */
	if (stk_gpu_use(t->gpu, &unsaid) == STK_OK &&
		stk_gpu_note(t->gpu, stk_trainer_wait(t, NULL, &unsaid), &unsaid) == STK_OK)
	{
		if (d->graph)
			(void) cudaGraphExecDestroy(d->graph);
		stk_blas_free(d->blas);
		stk_blas_free(d->blas_beside);
		if (d->beside)
			(void) cudaStreamDestroy(d->beside);
		if (d->codes_stream)
			(void) cudaStreamDestroy(d->codes_stream);
		if (d->ready)
			(void) cudaEventDestroy(d->ready);
		if (d->beside_ends)
			(void) cudaEventDestroy(d->beside_ends);
		if (d->codes_end)
			(void) cudaEventDestroy(d->codes_end);
		(void) cudaFree(d->memory);
	}
	stk_gpu_give(t->gpu, d->taken);
	free(d);
}

/* Is it anything that the current device computes? */
static bool
takes(const stk_train_plan *plan)
{
	return plan->metric == STK_L2 && plan->rqvae.diversity == 0 &&
		   plan->rqvae.latent <= STK_CODES_MOST_DIM &&
		   stk_quantize_takes((size_t) plan->rqvae.latent);
}

static stk_status
make_streams(stk_rqvae_device *d, stk_error *err)
{
	cudaError_t code = cudaStreamCreateWithFlags(&d->beside, cudaStreamNonBlocking);
	stk_status status;

	if (code == cudaSuccess)
		code = cudaStreamCreateWithFlags(&d->codes_stream, cudaStreamNonBlocking);
	if (code == cudaSuccess)
		code = cudaEventCreateWithFlags(&d->ready, cudaEventDisableTiming);
	if (code == cudaSuccess)
		code = cudaEventCreateWithFlags(&d->beside_ends, cudaEventDisableTiming);
	if (code == cudaSuccess)
		code = cudaEventCreateWithFlags(&d->codes_end, cudaEventDisableTiming);
	status = stk_cuda_status(code, "begin to train a network", err);
	if (status == STK_OK)
		status = stk_blas_create(d->trainer->stream, &d->blas, err);
	if (status == STK_OK)
		status = stk_blas_create(d->beside, &d->blas_beside, err);
	return status;
}

/* Room on the device, with what no step writes. */
static stk_status
make_room(stk_rqvae_device *d, stk_error *err)
{
	static const char doing[] = "make room for a network on the device";
	stk_trainer *t = d->trainer;
	stk_status status;

	stk_rqvae_lay_out(d);
	if (!stk_gpu_take(t->gpu, d->bytes + 2 * STK_BLAS_BYTES))
		return stk_trainer_no_room(err);
	d->taken = d->bytes + 2 * STK_BLAS_BYTES;
	status = stk_cuda_status(cudaMalloc(&d->memory, d->bytes), doing, err);
	if (status != STK_OK)
		return status;
	stk_rqvae_lay_out(d);
	status = stk_cuda_status(cudaMemsetAsync(d->memory, 0, d->bytes, t->stream), doing, err);
	for (int i = 0; i < d->shape.n_encoder + d->shape.n_decoder && status == STK_OK; i++)
		status = stk_ones_launch(d->layers[i].input, d->most, d->layers[i].in, t->stream, err);
	return status;
}

static stk_status
create(void *ctx, const stk_train_plan *plan, const stk_exec *exec, const stk_rqvae_state *state,
	   const float *x, size_t n, stk_rqvae_device **out)
{
	stk_trainer *t = ctx;
	stk_error err = {.level = -1};
	stk_rqvae_device *d;
	stk_status status = stk_gpu_use(t->gpu, &err);

	if (status != STK_OK)
		return stk_trainer_settle(t, status, &err);
	if (!takes(plan))
		return STK_EDEVICE;
	d = calloc(1, sizeof(*d));
	if (!d)
		return STK_ENOMEM;
	d->trainer = t;
	d->monitor = exec->monitor;
	d->plan = *plan;
	d->shape = state->shape;
	d->n = n;
	d->step = state->step;
	d->most = plan->batch_size > 0 && plan->batch_size < n ? (size_t) plan->batch_size : n;
	d->steps = (n + d->most - 1) / d->most;
	d->steps = d->steps < MOST_STEPS ? d->steps : MOST_STEPS;
	d->portion = d->steps * d->most;
	status = make_streams(d, &err);
	if (status == STK_OK)
		status = make_room(d, &err);
	if (status == STK_OK)
		status = stk_trainer_copy_in(t, d->x, x, n * d->shape.inputs * sizeof(float), exec->monitor,
									 &err);
	if (status == STK_OK)
		status = send_state(d, state, &err);
	status = stk_trainer_settle(t, status, &err);
	if (status == STK_OK)
		*out = d;
	else
		device_free(d);
	return status;
}

/* What AdamW's step t, from 1 on, computes with. */
static stk_step_pace
pace_of(const stk_rqvae_device *d, const stk_rqvae_pace *pace, uint64_t t)
{
	const stk_rqvae_plan *p = &d->plan.rqvae;

	return (stk_step_pace){.keep = (float) (1 - pace->rate * p->weight_decay),
						   .rate = (float) (pace->rate / (1 - pow(p->beta1, (double) t))),
						   .correct = (float) sqrt(1 - pow(p->beta2, (double) t)),
						   .average = (float) pace->keep,
						   .step = (uint32_t) (t - 1)};
}

/* Steps between two looks. */
static size_t
piece_of(const stk_rqvae_device *d)
{
	double work = 6.0 * (double) d->wide * (double) d->most;

	return work > PIECE_WORK ? 1 : (size_t) (PIECE_WORK / work);
}

/* What steps of a portion note: read back, in core's terms. */
static stk_status
read_losses(stk_rqvae_device *d, const stk_rqvae_run *run, size_t first, size_t n, double *noted,
			stk_rqvae_loss *losses, stk_error *err)
{
	const stk_rqvae_plan *p = &d->plan.rqvae;
	size_t steps = (n + run->size - 1) / run->size;
	stk_status status = stk_trainer_copy_out(d->trainer, noted, d->run.losses,
											 steps * STK_LOSSES * sizeof(double), err);

	if (status == STK_OK && run->quantize)
		status = stk_trainer_copy_out(d->trainer, run->codes + first * (size_t) d->shape.levels,
									  d->run.codes, n * (size_t) d->shape.levels * sizeof(uint16_t),
									  err);
	for (size_t i = 0; i < steps && status == STK_OK; i++)
	{
		const double *l = noted + i * STK_LOSSES;
		double rows = (double) (n - i * run->size < run->size ? n - i * run->size : run->size);
		double residuals = run->quantize ? l[STK_LOSS_RESIDUALS] / rows : 0;

		losses[i] = (stk_rqvae_loss){
			.reconstruction = l[STK_LOSS_RECONSTRUCTION],
			.commitment = p->commitment * (p->learnable ? residuals : residuals / d->shape.latent),
			.codebook = p->learnable ? residuals : 0,
			.norm = sqrt(l[STK_LOSS_GRADIENT])};
	}
	return status;
}

/* Steps with rows first .. first + n - 1 of the run's, which fit. */
static stk_status
run_portion(stk_rqvae_device *d, const stk_rqvae_run *run, size_t first, size_t n,
			stk_step_pace *paces, stk_error *err)
{
	stk_trainer *t = d->trainer;
	size_t steps = (n + run->size - 1) / run->size;
	size_t piece = piece_of(d);
	stk_status status;

	for (size_t i = 0; i < steps; i++)
		paces[i] = pace_of(d, &run->paces[first / run->size + i], d->step + i + 1);
	status = stk_trainer_copy_in(t, (void *) (uintptr_t) d->run.paces, paces,
								 steps * sizeof(*paces), NULL, err);
	if (status == STK_OK)
		status = stk_trainer_copy_in(t, (void *) (uintptr_t) d->run.places, run->places + first,
									 n * sizeof(size_t), NULL, err);
	if (status == STK_OK)
		status =
			stk_cuda_status(cudaMemsetAsync(d->run.cursor, 0, sizeof(*d->run.cursor), t->stream),
							"begin a run of steps", err);
	for (size_t i = 0; i < steps && status == STK_OK; i++)
	{
		size_t rows = n - i * run->size < run->size ? n - i * run->size : run->size;
		bool whole = rows == d->most && d->graph && d->graph_quantizes == run->quantize;

		status = whole ? stk_cuda_status(cudaGraphLaunch(d->graph, t->stream),
										 "train on the device", err)
					   : stk_rqvae_step_launch(d, rows, run->quantize, err);
		/* The first of its kind was not within a graph, so that all is there that one needs. */
		if (status == STK_OK && rows == d->most && !whole)
			status = stk_rqvae_step_graph(d, run->quantize, err);
		if (status == STK_OK && (i + 1) % piece == 0)
			status = stk_trainer_wait(t, d->monitor, err);
		if (status == STK_OK && stk_should_stop(d->monitor))
			status = STK_ECANCELED;
	}
	if (status == STK_OK)
		status = stk_trainer_wait(t, d->monitor, err);
	d->step += steps;
	return status;
}

static stk_status
run_steps(stk_rqvae_device *d, stk_rqvae_run *run)
{
	stk_error err = {.level = -1};
	stk_step_pace *paces = malloc(d->steps * sizeof(*paces));
	double *noted = malloc(d->steps * STK_LOSSES * sizeof(*noted));
	size_t portion = d->steps * run->size;
	stk_status status = paces && noted ? stk_gpu_use(d->trainer->gpu, &err) : STK_ENOMEM;

	if (status == STK_OK && run->size > d->most)
		status = stk_fail(&err, STK_EINVAL, "a batch of %zu rows, expected at most %zu", run->size,
						  d->most);
	for (size_t first = 0; first < run->n && status == STK_OK; first += portion)
	{
		size_t n = run->n - first < portion ? run->n - first : portion;

		status = run_portion(d, run, first, n, paces, &err);
		if (status == STK_OK)
			status = read_losses(d, run, first, n, noted, run->losses + first / run->size, &err);
	}
	free(paces);
	free(noted);
	return stk_trainer_settle(d->trainer, status, &err);
}

static stk_status
read_state(stk_rqvae_device *d, stk_rqvae_state *state)
{
	stk_error err = {.level = -1};
	part parts[MOST_PARTS];
	int n = parts_of(d, state, parts);
	size_t all = 0, at = 0;
	uint8_t *bytes;
	stk_status status;

	for (int i = 0; i < n; i++)
		all += parts[i].bytes;
	bytes = malloc(all);
	status = bytes ? stk_gpu_use(d->trainer->gpu, &err) : STK_ENOMEM;
	/* All of it before any: a device that fails meanwhile leaves the state as it was. */
	for (int i = 0; i < n && status == STK_OK; at += parts[i++].bytes)
		status = stk_trainer_copy_out(d->trainer, bytes + at, parts[i].there, parts[i].bytes, &err);
	at = 0;
	for (int i = 0; i < n && status == STK_OK; at += parts[i++].bytes)
	{
		const part *p = &parts[i];

		if (p->floats)
			collect(d, (const float *) (const void *) (bytes + at), p->floats, p->here);
		else
			memcpy(p->here, bytes + at, p->bytes);
	}
	if (status == STK_OK)
		state->step = d->step;
	free(bytes);
	return stk_trainer_settle(d->trainer, status, &err);
}

const stk_rqvae_device_ops stk_trainer_rqvae = {
	.create = create, .run = run_steps, .read = read_state, .free = device_free};
