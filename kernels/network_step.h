/*
 * The parts of a training step of an RQ-VAE (core's rqvae.h) on a device, but for the products of
 * matrices (train_blas.h): one kernel each. All pointers are the device's; launches are
 * asynchronous on the stream and return STK_EIO.
 *
 * A layer's input has a column of ones behind its own, and zeros behind that up to a multiple of
 * four columns, and so have its weights: the bias stands in the column of the ones, so that
 * products add it, and give its gradient, too.
 */
#ifndef STK_NETWORK_STEP_H
#define STK_NETWORK_STEP_H

#include "device.h"

STK_BEGIN_C

#include "core/ema.h"
#include "core/network.h"

/* Columns of the input of a layer, or of its weights. */
static STK_BOTH_SIDES inline size_t
stk_wide(size_t columns)
{
	return (columns + 4) / 4 * 4;
}

/* What is another in each step of a run. */
typedef struct stk_step_pace
{
	float keep;    /* parameters, times this: 1 - rate * weight decay */
	float rate;    /* over the correction of the first moment */
	float correct; /* square root of that of the second */
	float average; /* what averages keep */
	uint32_t step; /* of the training: of its draws */
} stk_step_pace;

/* Where a run is; the last kernel of a step moves it on. */
typedef struct stk_step_cursor
{
	unsigned long long row; /* of the run's places: where the batch begins */
	uint32_t step;          /* of the run */
} stk_step_cursor;

/* What a step notes: squares and sums, in binary64. */
enum
{
	STK_LOSS_RECONSTRUCTION = 0, /* mean squared error */
	STK_LOSS_RESIDUALS = 1,      /* squares of what codewords leave, of all levels together */
	STK_LOSS_GRADIENT = 2,       /* squares of all gradients */
	STK_LOSSES = 3
};

/* A run of steps as its kernels see it. */
typedef struct stk_step_view
{
	stk_step_cursor *cursor;
	const stk_step_pace *paces; /* [steps] */
	const size_t *places;       /* [rows of all batches] */
	uint16_t *codes;            /* [rows of all batches][levels] */
	double *losses;             /* [steps][STK_LOSSES] */
} stk_step_view;

/* Scratch of a sum over a grid: partial sums by block, which are added in order. */
typedef struct stk_step_sum
{
	double *partial;   /* [STK_STEP_BLOCKS] */
	uint32_t *arrived; /* 0 between launches */
} stk_step_sum;

/* Blocks of a kernel that sums, at most. */
#define STK_STEP_BLOCKS 1024

/* The batch's n rows of `all` [][dim], to x [n][stk_wide(dim)]. */
typedef struct stk_batch_rows
{
	stk_step_view run;
	const float *all;
	size_t n;
	size_t dim;
	float *x;
} stk_batch_rows;

extern stk_status stk_batch_rows_launch(const stk_batch_rows *call, cudaStream_t stream,
										stk_error *err);

/* Ones behind the columns of x [n][stk_wide(columns)], zeros everywhere else. */
extern stk_status stk_ones_launch(float *x, size_t n, size_t columns, cudaStream_t stream,
								  stk_error *err);

/*
 * y = activation(x); backward, y holds its own gradient and gets x's. Both [n][stk_wide(columns)],
 * of which the columns alone are touched.
 */
typedef struct stk_activation_call
{
	stk_activation activation;
	size_t n;
	size_t columns;
	const float *x;
	float *y;
} stk_activation_call;

extern stk_status stk_activation_launch(const stk_activation_call *call, cudaStream_t stream,
										stk_error *err);
extern stk_status stk_activation_backward_launch(const stk_activation_call *call,
												 cudaStream_t stream, stk_error *err);

/* The loss of y against x, both [n][stk_wide(columns)]; y's gradient in its place. */
typedef struct stk_error_call
{
	stk_step_view run;
	stk_step_sum sum;
	size_t n;
	size_t columns;
	const float *x;
	float *y;
} stk_error_call;

extern stk_status stk_error_launch(const stk_error_call *call, cudaStream_t stream, stk_error *err);

/*
 * Quantize n latent vectors by the reference, level by level: codes to the run's, what each level
 * is given and the last one leaves to residuals, the sum of the codewords to y.
 */
typedef struct stk_quantize_call
{
	stk_step_view run;
	stk_step_sum sum;
	size_t n;
	size_t dim;
	int levels;
	uint32_t sizes[STK_MAX_LEVELS];
	const float *codewords; /* [codes of all levels][dim] */
	const float *z;         /* [n][stk_wide(dim)] */
	float *residuals;       /* [levels + 1][n][dim] */
	float *y;               /* [n][stk_wide(dim)], of which the columns alone are touched */
} stk_quantize_call;

/* Does the current device take latent vectors of dim numbers? */
extern bool stk_quantize_takes(size_t dim);
extern stk_status stk_quantize_launch(const stk_quantize_call *call, cudaStream_t stream,
									  stk_error *err);

/* Add factor * what levels 1 .. leave of the latents to their gradient [n][stk_wide(dim)]. */
typedef struct stk_latent_call
{
	size_t n;
	size_t dim;
	int levels; /* so many of them */
	float factor;
	const float *residuals; /* as stk_quantize_call's */
	float *gradient;
} stk_latent_call;

extern stk_status stk_latent_launch(const stk_latent_call *call, cudaStream_t stream,
									stk_error *err);

/*
 * What codewords learn from a batch's residuals and codes. Moving averages: as stk_ema_update, the
 * same bits. Learnable: gradient, of the mean over rows of the squared distance of a residual from
 * its codeword; a code that restarts has no gradient and no moments.
 */
typedef struct stk_codes_call
{
	stk_step_view run;
	size_t n;
	size_t dim;
	int levels;
	uint32_t sizes[STK_MAX_LEVELS];
	const float *residuals; /* as stk_quantize_call's */
	stk_ema_rule rule;      /* but for level and step */
	float *codewords;       /* [codes of all levels][dim] */
	double *counts;         /* [codes] moving averages */
	double *sums;           /* [codes][dim] the same, and scratch */
	uint32_t *idle;         /* [codes] */
	bool learnable;
	float *gradient; /* [codes][dim] */
	float *first;    /* [codes][dim] */
	float *second;   /* [codes][dim] */
} stk_codes_call;

/* Numbers of a codeword, at most. */
#define STK_CODES_MOST_DIM 4096

extern stk_status stk_codes_launch(const stk_codes_call *call, cudaStream_t stream, stk_error *err);

/*
 * The squares of all gradients; then AdamW's step for parameters [trained], averages of all
 * [total], and the cursor moves on by n rows.
 */
typedef struct stk_adamw_call
{
	stk_step_view run;
	stk_step_sum sum;
	size_t n;
	size_t trained; /* a multiple of 4, as total */
	size_t total;
	float *parameters;
	const float *gradient;
	float *first;
	float *second;
	float *average; /* NULL: none */
	float beta1;
	float beta2;
	float epsilon;
	double clip; /* length of the gradients at most; 0: any */
} stk_adamw_call;

extern stk_status stk_adamw_launch(const stk_adamw_call *call, cudaStream_t stream, stk_error *err);

STK_END_C

#endif
