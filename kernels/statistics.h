/*
 * Sums over rows and their codes on a device: what evaluation asks of them (core's evaluate.h), and
 * the normal equations of a refit (least_squares.h); bit for bit as there.
 */
#ifndef STK_DEVICE_STATISTICS_H
#define STK_DEVICE_STATISTICS_H

#include "encode.h"
#include "members.h"

STK_BEGIN_C

/* Rows and their codes under evaluation; all pointers but cb are the device's. */
typedef struct stk_evaluate_call
{
	const stk_device_codebook *cb;
	const float *x; /* [n][dim] as the metric sees them: stk_normalize_launch */
	size_t n;
	const uint16_t *codes; /* [n][levels], each in the codebook unless *failure was lowered */
	double *sums;          /* [n / STK_MEMBERS_CHUNK, rounded up][levels + 1] out: of each chunk
								  * of rows, in the shape of member_sums.h, the squared norms and the
								  * squared distances after each level */
	stk_encode_failure *failure; /* STK_ENCODE_NO_FAILURE before; lowered where a row is not finite,
								  * or its sum up to a level: what came out then means nothing */
} stk_evaluate_call;

/* Asynchronous on stream. STK_EIO. */
extern stk_status stk_evaluate_launch(const stk_evaluate_call *call, cudaStream_t stream,
									  stk_error *err);

/* Normal equations of n rows; all pointers are the device's. */
typedef struct stk_normal_call
{
	int levels;
	uint32_t first[STK_MAX_LEVELS + 1]; /* each level's first codeword among all; last: how many */
	size_t dim;
	const float *codewords; /* [ΣK][dim] */
	const float *x;         /* [n][dim] */
	size_t n;
	const uint16_t *codes; /* [n][levels] */
	double *right;         /* [ΣK][dim] out: A'(X - A C) */
	uint32_t *pairs; /* [ΣK][ΣK] out, on and above the diagonal: rows that have both codes */
	double *chunks;  /* [n / STK_MEMBERS_CHUNK, rounded up][dim] scratch */
	double *squares; /* [dim] out: of X - A C, added up by chunks of rows */
} stk_normal_call;

/*
 * members [levels], each for its level's size and n rows. Asynchronous on stream. STK_EIO.
 */
extern stk_status stk_normal_launch(const stk_normal_call *call,
									const stk_device_members *const *members, cudaStream_t stream,
									stk_error *err);

STK_END_C

#endif
