/*
 * Private to a trainer's files: what its steps share (trainer.c), and the steps.
 */
#ifndef STK_TRAIN_CUDA_IMPL_H
#define STK_TRAIN_CUDA_IMPL_H

#include "kmeans.h"
#include "train_cuda.h"

struct stk_trainer
{
	stk_gpu *gpu;
	cudaStream_t stream;
	stk_accelerator accelerator;
	bool said; /* that the device fails */
};

struct stk_accelerator_rows
{
	stk_device_kmeans *k;
	size_t taken;       /* bytes counted for them */
	uint16_t *codes;    /* [n][levels] of whole codebooks; NULL: none yet */
	size_t codes_bytes; /* of those, counted, too */
};

/* A step ended with this status, and err: what core is to know of it. */
extern stk_status stk_trainer_settle(stk_trainer *t, stk_status status, stk_error *err);
extern stk_status stk_trainer_wait(stk_trainer *t, const stk_monitor *monitor, stk_error *err);
/* To and from the device. Out: after a wait, so that nothing else is on the stream. */
extern stk_status stk_trainer_copy_in(stk_trainer *t, void *to, const void *from, size_t bytes,
									  const stk_monitor *monitor, stk_error *err);
extern stk_status stk_trainer_copy_out(stk_trainer *t, void *to, const void *from, size_t bytes,
									   stk_error *err);

/* STK_ENOMEM: what a step needs is not to be had under the device's limit. */
extern stk_status stk_trainer_no_room(stk_error *err);

/* The step that train_batches.c is about. */
extern stk_status stk_trainer_batches(void *ctx, stk_accelerator_rows *r,
									  stk_accelerator_batches *run, const stk_monitor *monitor);

/* Those that measure_cuda.c is about. */
extern stk_status stk_trainer_codebook_create(void *ctx, const stk_codebook *cb, int beam,
											  stk_accelerator_codebook **out);
extern void stk_trainer_codebook_free(void *ctx, stk_accelerator_codebook *c);
extern stk_status stk_trainer_encode(void *ctx, stk_accelerator_rows *r,
									 const stk_accelerator_codebook *c, uint16_t *codes,
									 const stk_monitor *monitor);
extern stk_status stk_trainer_evaluate(void *ctx, const stk_accelerator_codebook *c,
									   stk_accelerator_evaluation *run, const stk_monitor *monitor);
extern stk_status stk_trainer_normal(void *ctx, stk_accelerator_rows *r,
									 stk_accelerator_normal *run, const stk_monitor *monitor);

/* What train_rqvae.c is about. */
extern const struct stk_rqvae_device_ops stk_trainer_rqvae;

#endif
