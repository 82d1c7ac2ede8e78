/*
 * The trainer of kernels/train_cuda.c on a fake device: it takes the rows, knows no step, and fails
 * when it is told to.
 */
#include <stdlib.h>

#include "core/accelerator.h"
#include "fake.h"
#include "train_cuda.h"

struct stk_trainer
{
	stk_gpu *gpu;
	stk_accelerator_ops ops;
	stk_accelerator accelerator;
};

struct stk_accelerator_rows
{
	void *memory;
};

static stk_status
rows_create(void *ctx, const float *x, size_t n, size_t dim, const stk_monitor *monitor,
			stk_accelerator_rows **out)
{
	stk_trainer *t = ctx;
	stk_accelerator_rows *r = malloc(sizeof(*r));
	stk_error err = {.level = -1};
	stk_status status;

	(void) x;
	(void) monitor;
	if (!r)
		abort();
	status = stk_cuda_status(cudaMalloc(&r->memory, n * dim * sizeof(float)),
							 "make room for a training's rows", &err);
	if (status == STK_OK)
		status = stk_cuda_status(fake_cuda_pass("train"), "train on the device", &err);
	if (status == STK_OK)
	{
		*out = r;
		return STK_OK;
	}
	(void) cudaFree(r->memory);
	free(r);
	(void) stk_gpu_note(t->gpu, status, &err);
	return status;
}

static void
rows_free(void *ctx, stk_accelerator_rows *rows)
{
	(void) ctx;
	(void) cudaFree(rows->memory);
	free(rows);
}

stk_status
stk_trainer_create(stk_gpu *gpu, stk_trainer **out, stk_error *err)
{
	stk_trainer *t = calloc(1, sizeof(*t));
	stk_status status = stk_gpu_use(gpu, err);

	if (!t)
		abort();
	t->gpu = gpu;
	t->ops.rows_create = rows_create;
	t->ops.rows_free = rows_free;
	t->accelerator = (stk_accelerator){.ops = &t->ops, .ctx = t};
	*out = status == STK_OK ? t : NULL;
	if (status != STK_OK)
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
	free(t);
}
