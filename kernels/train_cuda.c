/*
 * Training on a device: each step that core asks for, from the kernels' launchers. What fails is
 * said once, and core goes on without the device.
 */
#include "train_cuda_impl.h"

#include <stdlib.h>

/* Multiply-adds of the iterations between two looks at a run: some tens of milliseconds. */
#define PIECE_WORK 4e12
/* Steps of a graph; of a piece at most: with assignment 0 all of a piece's are on record. */
#define GRAPH_STEPS 4
#define MOST_PIECE (STK_LLOYD_RECORDS - GRAPH_STEPS)

/* Count what the rows take now, or free what does not fit. */
static stk_status
count_bytes(stk_trainer *t, stk_accelerator_rows *r, stk_error *err)
{
	stk_device_kmeans *k = r->k;
	size_t bytes =
		k->bytes + (k->pack ? k->pack->codebook.bytes : 0) + (k->members ? k->members->bytes : 0);

	if (bytes <= r->taken)
		return STK_OK;
	if (!stk_gpu_take(t->gpu, bytes - r->taken))
		return stk_trainer_no_room(err);
	r->taken = bytes;
	return STK_OK;
}

static void
rows_free(void *ctx, stk_accelerator_rows *r)
{
	stk_trainer *t = ctx;
	stk_error unsaid = {.level = -1};

	/* What was on its way when a step was cancelled still works with them. */
	if (stk_gpu_use(t->gpu, &unsaid) == STK_OK &&
		stk_gpu_note(t->gpu, stk_trainer_wait(t, NULL, &unsaid), &unsaid) == STK_OK)
	{
		stk_device_kmeans_free(r->k);
		(void) cudaFree(r->codes);
	}
	stk_gpu_give(t->gpu, r->taken + r->codes_bytes);
	free(r);
}

static stk_status
rows_create(void *ctx, const float *x, size_t n, size_t dim, const stk_monitor *monitor,
			stk_accelerator_rows **out)
{
	stk_trainer *t = ctx;
	stk_error err = {.level = -1};
	stk_accelerator_rows *r = calloc(1, sizeof(*r));
	stk_status status = r ? stk_gpu_use(t->gpu, &err) : STK_ENOMEM;

	if (status == STK_OK)
		status = stk_device_kmeans_create(n, dim, t->stream, &r->k, &err);
	if (status == STK_OK)
		status = count_bytes(t, r, &err);
	if (status == STK_OK)
		status = stk_trainer_copy_in(t, r->k->x, x, n * dim * sizeof(float), monitor, &err);
	if (status == STK_OK)
		status = stk_norms_launch(r->k->x, n, dim, r->k->norms, t->stream, &err);
	if (status == STK_OK)
		status = stk_trainer_wait(t, monitor, &err);
	status = stk_trainer_settle(t, status, &err);
	if (status == STK_OK)
		*out = r;
	else if (r && r->k)
		rows_free(t, r);
	else
		free(r);
	return status;
}

static stk_status
measure(void *ctx, stk_accelerator_rows *r, double *norms, const stk_monitor *monitor)
{
	stk_trainer *t = ctx;
	stk_device_kmeans *k = r->k;
	stk_error err = {.level = -1};
	stk_status status = stk_gpu_use(t->gpu, &err);

	if (status == STK_OK)
		status = stk_norms_launch(k->x, k->n, k->dim, k->norms, t->stream, &err);
	if (status == STK_OK)
		status = stk_trainer_wait(t, monitor, &err);
	if (status == STK_OK)
		status = stk_trainer_copy_out(t, norms, k->norms, k->n * sizeof(double), &err);
	return stk_trainer_settle(t, status, &err);
}

/* The last assignment, of rows that wait for nothing. */
static stk_status
copy_assignment(stk_trainer *t, const stk_device_kmeans *k, uint16_t *codes, double *scores,
				stk_error *err)
{
	stk_status status = stk_trainer_copy_out(t, codes, k->codes, k->n * sizeof(uint16_t), err);

	if (status == STK_OK)
		status = stk_trainer_copy_out(t, scores, k->scores, k->n * sizeof(double), err);
	return status;
}

static stk_status
nearest(void *ctx, stk_accelerator_rows *r, const stk_accelerator_centroids *c, uint16_t *codes,
		double *scores, const stk_monitor *monitor)
{
	stk_trainer *t = ctx;
	stk_device_kmeans *k = r->k;
	stk_error err = {.level = -1};
	stk_status status = stk_gpu_use(t->gpu, &err);

	if (status == STK_OK)
		status = stk_kmeans_room(k, c->size, t->stream, &err);
	if (status == STK_OK)
		status = count_bytes(t, r, &err);
	if (status == STK_OK)
		status = stk_trainer_copy_in(t, k->pack->codewords, c->centroids,
									 c->size * k->dim * sizeof(float), monitor, &err);
	if (status == STK_OK)
		status = stk_kmeans_nearest_launch(k, c->size, c->inner_product, t->stream, &err);
	if (status == STK_OK)
		status = stk_trainer_wait(t, monitor, &err);
	if (status == STK_OK)
		status = copy_assignment(t, k, codes, scores, &err);
	return stk_trainer_settle(t, status, &err);
}

/* Steps between two looks at a run: whole graphs, unless they are too long. */
static int
piece_of(const stk_device_kmeans *k, uint32_t size)
{
	double steps = PIECE_WORK / ((double) k->n * (double) k->dim * size + 1);

	if (steps > MOST_PIECE)
		return MOST_PIECE;
	return steps < 1             ? 1
		   : steps < GRAPH_STEPS ? (int) steps
								 : (int) steps / GRAPH_STEPS * GRAPH_STEPS;
}

/* The assignments on record since number *seen; the last one of a run that is over goes to run. */
static void
take_records(const stk_lloyd_state *s, stk_accelerator_lloyd *run, bool over, uint32_t *seen)
{
	for (; *seen < s->number; (*seen)++)
	{
		const stk_lloyd_record *r = &s->records[*seen % STK_LLOYD_RECORDS];

		if (over && *seen + 1 == s->number)
		{
			run->updates = (int) *seen;
			run->changed = *seen == 0 || r->changed > 0;
			run->error = r->error;
			run->empty = r->empty;
		}
		else
			run->report(run->report_ctx, (int) *seen, r->error, r->empty);
	}
}

/* The run, from centroids that are there, until it is over. */
static stk_status
run_lloyd(stk_trainer *t, stk_device_kmeans *k, stk_accelerator_lloyd *run,
		  const stk_lloyd_call *call, cudaGraphExec_t graph, const stk_monitor *monitor,
		  stk_error *err)
{
	int steps = 0;
	uint32_t seen = 0;
	bool over = false;

	while (!over)
	{
		stk_status status = STK_OK;

		int end = run->epochs - steps;

		end = steps + (end < piece_of(k, run->size) ? end : piece_of(k, run->size));
		for (; graph && end - steps >= GRAPH_STEPS && status == STK_OK; steps += GRAPH_STEPS)
			status = stk_cuda_status(cudaGraphLaunch(graph, t->stream), "train on the device", err);
		if (status == STK_OK)
			status = stk_lloyd_steps_launch(k, call, steps, end - steps, t->stream, err);
		steps = end;
		if (status == STK_OK)
			status = stk_cuda_status(cudaMemcpyAsync(k->state_here, k->state, sizeof(*k->state),
													 cudaMemcpyDeviceToHost, t->stream),
									 "train on the device", err);
		if (status == STK_OK)
			status = stk_trainer_wait(t, monitor, err);
		if (status == STK_OK && stk_should_stop(monitor))
			status = STK_ECANCELED;
		if (status != STK_OK)
			return status;
		over = k->state_here->over || steps == run->epochs;
		take_records(k->state_here, run, over, &seen);
	}
	return STK_OK;
}

static stk_status
lloyd(void *ctx, stk_accelerator_rows *r, stk_accelerator_lloyd *run, const stk_monitor *monitor)
{
	stk_trainer *t = ctx;
	stk_device_kmeans *k = r->k;
	stk_lloyd_call call = {run->size, run->inner_product, run->unit, run->until_empty};
	size_t bytes = run->size * k->dim * sizeof(float);
	cudaGraphExec_t graph = NULL;
	stk_error err = {.level = -1};
	stk_status status = stk_gpu_use(t->gpu, &err);

	if (status == STK_OK)
		status = stk_lloyd_room(k, run->size, t->stream, &err);
	if (status == STK_OK)
		status = count_bytes(t, r, &err);
	if (status == STK_OK)
		status = stk_trainer_copy_in(t, k->pack->codewords, run->centroids, bytes, monitor, &err);
	if (status == STK_OK)
		status = stk_lloyd_begin_launch(k, &call, t->stream, &err);
	if (status == STK_OK && run->epochs >= 2 * GRAPH_STEPS && piece_of(k, run->size) >= GRAPH_STEPS)
		status = stk_lloyd_steps_graph(k, &call, GRAPH_STEPS, t->stream, &graph, &err);
	if (status == STK_OK)
		status = run_lloyd(t, k, run, &call, graph, monitor, &err);
	if (status == STK_OK)
		status = copy_assignment(t, k, run->codes, run->scores, &err);
	if (status == STK_OK)
		status = stk_trainer_copy_out(t, run->centroids, k->pack->codewords, bytes, &err);
	if (graph)
		(void) cudaGraphExecDestroy(graph);
	return stk_trainer_settle(t, status, &err);
}

static stk_status
subtract(void *ctx, stk_accelerator_rows *r, const stk_accelerator_centroids *c,
		 const uint16_t *codes, const stk_monitor *monitor)
{
	stk_trainer *t = ctx;
	stk_device_kmeans *k = r->k;
	stk_error err = {.level = -1};
	stk_status status = stk_gpu_use(t->gpu, &err);

	if (status == STK_OK)
		status = stk_kmeans_room(k, c->size, t->stream, &err);
	if (status == STK_OK)
		status = stk_trainer_copy_in(t, k->pack->codewords, c->centroids,
									 c->size * k->dim * sizeof(float), monitor, &err);
	if (status == STK_OK)
		status = stk_trainer_copy_in(t, k->codes, codes, k->n * sizeof(uint16_t), monitor, &err);
	if (status == STK_OK)
		status = stk_subtract_launch(k->x, k->n, k->dim, k->pack->codewords, k->codes, NULL,
									 t->stream, &err);
	if (status == STK_OK)
		status = stk_trainer_wait(t, monitor, &err);
	return stk_trainer_settle(t, status, &err);
}

static const stk_accelerator_ops ops = {.rows_create = rows_create,
										.rows_free = rows_free,
										.measure = measure,
										.nearest = nearest,
										.lloyd = lloyd,
										.subtract = subtract,
										.batches = stk_trainer_batches,
										.codebook_create = stk_trainer_codebook_create,
										.codebook_free = stk_trainer_codebook_free,
										.encode = stk_trainer_encode,
										.evaluate = stk_trainer_evaluate,
										.normal = stk_trainer_normal,
										.rqvae = &stk_trainer_rqvae};

stk_status
stk_trainer_create(stk_gpu *gpu, stk_trainer **out, stk_error *err)
{
	stk_trainer *t = calloc(1, sizeof(*t));
	stk_status status = t ? stk_gpu_use(gpu, err) : STK_ENOMEM;

	*out = NULL;
	if (status == STK_OK)
	{
		t->gpu = gpu;
		t->accelerator = (stk_accelerator){&ops, t};
		status = stk_gpu_note(
			gpu,
			stk_cuda_status(cudaStreamCreateWithFlags(&t->stream, cudaStreamNonBlocking),
							"begin to train", err),
			err);
	}
	if (status == STK_OK)
		*out = t;
	else
		free(t);
	return status;
}

const stk_accelerator *
stk_trainer_accelerator(const stk_trainer *t)
{
	return &t->accelerator;
}

void
stk_trainer_free(stk_trainer *t)
{
	if (!t)
		return;
	if (!atomic_load(&t->gpu->failed) && cudaSetDevice(t->gpu->number) == cudaSuccess)
		(void) cudaStreamDestroy(t->stream);
	free(t);
}
