/*
 * The trainer of kernels/train_cuda.c on a fake device: it takes the rows, knows of their steps only
 * those about whole codebooks, and fails when it is told to.
 */
#include <stdlib.h>

#include "fake.h"
#include "train_cuda_impl.h"

static void
rows_free(void *ctx, stk_accelerator_rows *r)
{
	stk_trainer *t = ctx;

	(void) cudaFree(r->codes);
	(void) cudaFree(r->k->memory);
	stk_gpu_give(t->gpu, r->codes_bytes);
	free(r->k);
	free(r);
}

static stk_status
rows_create(void *ctx, const float *x, size_t n, size_t dim, const stk_monitor *monitor,
			stk_accelerator_rows **out)
{
	stk_trainer *t = ctx;
	size_t bytes = n * dim * sizeof(float);
	stk_accelerator_rows *r = calloc(1, sizeof(*r));
	stk_error err = {.level = -1};
	stk_status status;

	if (!r || !(r->k = calloc(1, sizeof(*r->k))))
		abort();
	r->k->n = n;
	r->k->dim = dim;
	status = stk_cuda_status(cudaMalloc(&r->k->memory, bytes + sizeof(*r->k->failure)),
							 "make room for a training's rows", &err);
	if (status == STK_OK)
		status = stk_cuda_status(fake_cuda_pass("train"), "train on the device", &err);
	if (status == STK_OK)
	{
		r->k->failure = r->k->memory;
		r->k->x = (float *) (r->k->failure + 1);
		status = stk_trainer_copy_in(t, r->k->x, x, bytes, monitor, &err);
	}
	if (status == STK_OK)
		*out = r;
	else
		rows_free(t, r);
	return stk_trainer_settle(t, status, &err);
}

static const stk_accelerator_ops ops = {.rows_create = rows_create,
										.rows_free = rows_free,
										.codebook_create = stk_trainer_codebook_create,
										.codebook_free = stk_trainer_codebook_free,
										.encode = stk_trainer_encode,
										.evaluate = stk_trainer_evaluate,
										.normal = stk_trainer_normal};

stk_status
stk_trainer_create(stk_gpu *gpu, stk_trainer **out, stk_error *err)
{
	stk_trainer *t = calloc(1, sizeof(*t));
	stk_status status = stk_gpu_use(gpu, err);

	if (!t)
		abort();
	t->gpu = gpu;
	t->accelerator = (stk_accelerator){.ops = &ops, .ctx = t};
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
