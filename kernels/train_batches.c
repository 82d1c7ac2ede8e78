/*
 * Training on a device by batches: what core has of the levels goes there, the batches of the rest
 * of the epoch are computed, and what became of the levels comes back.
 */
#include <stdlib.h>
#include <string.h>

#include "batches.h"
#include "train_cuda_impl.h"

/* Multiply-adds of the batches between two looks at the monitor: some tens of milliseconds. */
#define PIECE_WORK 4e12

/* Everything that a batch begins with. */
static stk_status
send(stk_trainer *t, const stk_device_batches *b, const stk_accelerator_batches *run,
	 const stk_monitor *monitor, stk_error *err)
{
	stk_status status =
		stk_trainer_copy_in(t, b->places, run->places, run->n * sizeof(size_t), monitor, err);

	for (int i = 0; i < run->nlevels && status == STK_OK; i++)
	{
		const stk_accelerator_level *from = &run->levels[i];
		const stk_batch_level *to = &b->levels[i];
		size_t values = from->size * b->dim;

		status = stk_trainer_copy_in(t, to->pack->codewords, from->codewords,
									 values * sizeof(float), monitor, err);
		if (status == STK_OK)
			status = stk_trainer_copy_in(t, to->counts, from->counts, from->size * sizeof(double),
										 monitor, err);
		if (status == STK_OK)
			status = stk_trainer_copy_in(t, to->used, from->used, from->size, monitor, err);
		if (status == STK_OK)
			status = stk_trainer_copy_in(t, &b->state->errors[i], &from->error, sizeof(double),
										 monitor, err);
		if (status == STK_OK && run->averages)
			status =
				stk_trainer_copy_in(t, to->sums, from->sums, values * sizeof(double), monitor, err);
		if (status == STK_OK && run->averages)
			status = stk_trainer_copy_in(t, to->idle, from->idle, from->size * sizeof(uint32_t),
										 monitor, err);
	}
	return status;
}

/*
 * What core gets. A copy that fails leaves some of it changed, so all of it is fetched before any of
 * it is given: here [bytes], laid out as it comes.
 */
static stk_status
receive(stk_trainer *t, const stk_device_batches *b, const stk_accelerator_batches *run, char *here,
		size_t *bytes, stk_error *err)
{
	stk_status status = STK_OK;
	size_t at = 0;

	for (int i = 0; i < run->nlevels; i++)
	{
		const stk_accelerator_level *to = &run->levels[i];
		const stk_batch_level *from = &b->levels[i];
		size_t values = to->size * b->dim;
		const struct
		{
			const void *from;
			size_t bytes;
		} parts[] = {{from->pack->codewords, values * sizeof(float)},
					 {from->counts, to->size * sizeof(double)},
					 {from->used, to->size},
					 {&b->state->errors[i], sizeof(double)},
					 {from->sums, run->averages ? values * sizeof(double) : 0},
					 {from->idle, run->averages ? to->size * sizeof(uint32_t) : 0}};

		for (size_t p = 0; p < sizeof(parts) / sizeof(parts[0]); p++)
		{
			if (here && status == STK_OK && parts[p].bytes > 0)
				status = stk_trainer_copy_out(t, here + at, parts[p].from, parts[p].bytes, err);
			at += parts[p].bytes;
		}
	}
	*bytes = at;
	return status;
}

static void
give_part(void *to, const char **from, size_t bytes)
{
	if (bytes > 0)
		memcpy(to, *from, bytes);
	*from += bytes;
}

static void
give(const stk_device_batches *b, stk_accelerator_batches *run, const char *here)
{
	for (int i = 0; i < run->nlevels; i++)
	{
		stk_accelerator_level *to = &run->levels[i];
		size_t values = to->size * b->dim;

		give_part(to->codewords, &here, values * sizeof(float));
		give_part(to->counts, &here, to->size * sizeof(double));
		give_part(to->used, &here, to->size);
		give_part(&to->error, &here, sizeof(double));
		give_part(to->sums, &here, run->averages ? values * sizeof(double) : 0);
		give_part(to->idle, &here, run->averages ? to->size * sizeof(uint32_t) : 0);
	}
}

/* Batches between two looks. */
static size_t
piece_of(const stk_device_batches *b)
{
	double work = 1;

	for (int l = 0; l < b->nlevels; l++)
		work += (double) b->size * (double) b->dim * b->levels[l].size;
	return PIECE_WORK < work ? 1 : PIECE_WORK / work > 256 ? 256 : (size_t) (PIECE_WORK / work);
}

/* All batches; *bad: a residual left binary32's range. */
static stk_status
run_batches(stk_trainer *t, const stk_device_batches *b, const stk_accelerator_batches *run,
			bool *bad, const stk_monitor *monitor, stk_error *err)
{
	size_t piece = piece_of(b);
	size_t batch = 0;
	uint32_t flag = 0;
	stk_status status = STK_OK;

	for (size_t first = 0; first < run->n && status == STK_OK; first += run->size)
	{
		size_t n = run->n - first < run->size ? run->n - first : run->size;

		status = stk_batch_launch(b, first, n, run->step + (uint32_t) batch, t->stream, err);
		if (status == STK_OK && ++batch % piece == 0)
			status = stk_trainer_wait(t, monitor, err);
		if (status == STK_OK && stk_should_stop(monitor))
			status = STK_ECANCELED;
	}
	if (status == STK_OK)
		status = stk_trainer_wait(t, monitor, err);
	if (status == STK_OK)
		status = stk_trainer_copy_out(t, &flag, &b->state->bad, sizeof(flag), err);
	*bad = flag != 0;
	return status;
}

stk_status
stk_trainer_batches(void *ctx, stk_accelerator_rows *r, stk_accelerator_batches *run,
					const stk_monitor *monitor)
{
	stk_trainer *t = ctx;
	stk_device_batches *b = NULL;
	stk_error err = {.level = -1};
	size_t taken = 0, bytes = 0;
	char *here = NULL;
	bool bad = false;
	stk_status status = stk_gpu_use(t->gpu, &err);

	if (status == STK_OK)
		status = stk_device_batches_create(run, r->k->x, r->k->dim, t->stream, &b, &err);
	if (status == STK_OK && !stk_gpu_take(t->gpu, b->bytes))
		status = stk_trainer_no_room(&err);
	else if (status == STK_OK)
		taken = b->bytes;
	if (status == STK_OK)
		(void) receive(t, b, run, NULL, &bytes, &err);
	if (status == STK_OK && !(here = malloc(bytes)))
		status = STK_ENOMEM;
	if (status == STK_OK)
		status = send(t, b, run, monitor, &err);
	if (status == STK_OK)
		status = run_batches(t, b, run, &bad, monitor, &err);
	if (status == STK_OK && !bad)
		status = receive(t, b, run, here, &bytes, &err);
	if (status == STK_OK && !bad)
		give(b, run, here);
	/* What is on its way after a stop still works with its memory. */
	if (b && !atomic_load(&t->gpu->failed) && cudaStreamSynchronize(t->stream) == cudaSuccess)
		stk_device_batches_free(b);
	stk_gpu_give(t->gpu, taken);
	free(here);
	status = stk_trainer_settle(t, status, &err);
	return status == STK_OK && bad ? STK_ERANGE : status;
}
