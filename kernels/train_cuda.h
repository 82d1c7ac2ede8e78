/*
 * The accelerator (core's accelerator.h) that a CUDA device is to a training.
 */
#ifndef STK_TRAIN_CUDA_H
#define STK_TRAIN_CUDA_H

#include "gpu.h"

/* What one training uses of a device: of one thread. */
typedef struct stk_trainer stk_trainer;

/* STK_ENOMEM, STK_EDEVICE. The accelerator is good until the trainer is freed. */
extern stk_status stk_trainer_create(stk_gpu *gpu, stk_trainer **out, stk_error *err);
extern const stk_accelerator *stk_trainer_accelerator(const stk_trainer *t);
extern void stk_trainer_free(stk_trainer *t);

#endif
