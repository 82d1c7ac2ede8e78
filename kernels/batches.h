/*
 * Batches of rows that a device has, one after the other through the levels of a codebook, as
 * core's stk_accelerator_batches says: nothing comes back before the last.
 */
#ifndef STK_DEVICE_BATCHES_H
#define STK_DEVICE_BATCHES_H

#include "kmeans.h"

STK_BEGIN_C

/* What comes back beside the levels. */
typedef struct stk_batches_state
{
	double errors[STK_MAX_LEVELS]; /* of each level, added up batch by batch */
	uint32_t bad;                  /* not 0: a residual left binary32's range */
} stk_batches_state;

/* One level there; its codewords are pack's. */
typedef struct stk_batch_level
{
	uint32_t size;
	stk_device_pack *pack;
	stk_device_members *members;
	double *counts; /* [size] */
	double *sums;   /* [size][dim]; moving averages */
	uint32_t *idle; /* [size]; the same */
	uint8_t *used;  /* [size] */
} stk_batch_level;

/* A run; all pointers but those to structs are the device's. */
typedef struct stk_device_batches
{
	const float *all; /* [][dim] all rows; the caller's */
	size_t dim;
	size_t size; /* rows of a batch, at most */
	int nlevels;
	bool inner_product;
	bool unit;
	bool averages;
	stk_ema_rule rule; /* but for level and step */
	stk_batch_level levels[STK_MAX_LEVELS];

	size_t *places; /* [n] of all batches */
	float *x;       /* [size][dim] the batch, then its residuals */
	double *norms;  /* [size] */
	uint16_t *codes;
	double *scores;
	double *errors;   /* [size / STK_MEMBERS_CHUNK, rounded up] */
	float *codewords; /* [largest level][dim] as they were when they were chosen */
	stk_encode_failure *encode_failure;
	stk_update_failure *update_failure;
	stk_batches_state *state;
	void *memory; /* from levels' counts on, in one piece */
	size_t bytes; /* of everything */
} stk_device_batches;

/*
 * Room on the current device for run's batches of rows `all` [][dim] there. Levels and places are
 * the caller's to fill; the state is all 0. STK_ENOMEM, STK_EIO, STK_EINVAL (2^31 rows or more in a
 * batch); free with stk_device_batches_free.
 */
extern stk_status stk_device_batches_create(const stk_accelerator_batches *run, const float *all,
											size_t dim, cudaStream_t stream,
											stk_device_batches **out, stk_error *err);
extern void stk_device_batches_free(stk_device_batches *b);

/* The batch of n rows at places + first, in this step. Asynchronous on stream. STK_EIO. */
extern stk_status stk_batch_launch(const stk_device_batches *b, size_t first, size_t n,
								   uint32_t step, cudaStream_t stream, stk_error *err);

STK_END_C

#endif
