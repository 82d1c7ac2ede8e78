/*
 * Residual quantization on a device, as core's stk_rq_encode: the same codes, bit for bit, and the
 * same errors.
 *
 * Two kernels encode greedily. encode_filter.cu filters on tensor cores and lets the reference decide
 * what the filter leaves open; encode_plain.cu is the reference alone, for any shape and any device.
 * encode_beam.cu encodes with a beam, by the reference alone, where beam_shape.h takes the shape.
 */
#ifndef STK_ENCODE_H
#define STK_ENCODE_H

#include "device.h"

STK_BEGIN_C

/* What went on; added to by kernels. One row counts once for each level. */
typedef struct stk_encode_stats
{
	unsigned long long undecided; /* rows of which the filter left several codewords */
	unsigned long long reference; /* rows that the filter proved nothing about */
} stk_encode_stats;

/*
 * The first row that cannot be encoded, as a number that orders by row, then level, then kind; the
 * largest number when there is none.
 */
typedef unsigned long long stk_encode_failure;

#define STK_ENCODE_NO_FAILURE (~0ull)

typedef enum stk_encode_kind
{
	STK_ENCODE_NOT_FINITE = 0,
	STK_ENCODE_ZERO = 1,         /* under cosine */
	STK_ENCODE_OUT_OF_RANGE = 2, /* the residual of a level */
	STK_ENCODE_LAYER = 3         /* the output of a layer of the network, in the level's place */
} stk_encode_kind;

/* level -1: of the row itself, standardized or as it came. Rows below 2^54. */
static STK_BOTH_SIDES inline stk_encode_failure
stk_encode_failed(size_t row, int level, stk_encode_kind kind)
{
	return (stk_encode_failure) row << 10 | (unsigned) (level + 1) << 2 | (unsigned) kind;
}

/* Put a failure into the words of stk_rq_encode; first is the number of the call's first row. */
extern stk_status stk_encode_error(stk_encode_failure failure, size_t first, stk_error *err);

/* As a call's tile: Hopper's own kernels, where they take the call. */
#define STK_HOPPER 1

/* A call's arguments; all pointers are the device's. */
typedef struct stk_encode_call
{
	const stk_device_codebook *cb;
	const float *x; /* [n][dim] */
	size_t n;
	float *normalized;           /* [n][dim], cosine only */
	uint16_t *codes;             /* [n][levels]  out */
	stk_encode_failure *failure; /* STK_ENCODE_NO_FAILURE before; lowered */
	stk_encode_stats *stats;     /* added to; may be NULL */
	int tile;  /* encode_filter.cu with tiles of 128, 64, 32 rows, STK_HOPPER; 0: the fastest */
	int parts; /* encode_few.cu: tile of 32 or 16 rows, blocks that share it; 0: the fastest */
	int beam;  /* as stk_rq_encode's; 0: greedy, too */
} stk_encode_call;

/*
 * Encode with the fastest kernel that takes the shape; a beam wider than 1 is one that
 * stk_beam_shape_choose takes. Asynchronous on stream; codes mean nothing when *failure was lowered.
 * STK_EIO.
 */
extern stk_status stk_encode_launch(const stk_encode_call *call, cudaStream_t stream,
									stk_error *err);

/* The steps of it. */
extern stk_status stk_normalize_launch(const stk_encode_call *call, cudaStream_t stream,
									   stk_error *err);
extern stk_status stk_encode_plain_launch(const stk_encode_call *call, cudaStream_t stream,
										  stk_error *err);
/* Does the filter take this shape on the current device? */
extern bool stk_encode_filter_takes(const stk_device_codebook *cb);
extern stk_status stk_encode_filter_launch(const stk_encode_call *call, cudaStream_t stream,
										   stk_error *err);

/* Scores all children of all kept prefixes. STK_EINVAL when the device does not take the shape. */
extern stk_status stk_encode_beam_launch(const stk_encode_call *call, cudaStream_t stream,
										 stk_error *err);

/*
 * The filter on Hopper's own tensor instructions. *taken out: false, and nothing done, where the
 * device is another or the shape does not suit it.
 */
extern stk_status stk_encode_hopper_launch(const stk_encode_call *call, cudaStream_t stream,
										   bool *taken, stk_error *err);
extern stk_status stk_encode_wide_hopper_launch(const stk_encode_call *call, cudaStream_t stream,
												bool *taken, stk_error *err);

/*
 * The same for few rows, which it normalizes itself; takes none where the device is older than
 * sm_90, or rows are too long.
 */
extern bool stk_encode_few_takes(const stk_encode_call *call);
extern stk_status stk_encode_few_launch(const stk_encode_call *call, cudaStream_t stream,
										stk_error *err);

/*
 * Does the current device's tensor unit add as the certificate assumes? *holds out. Waits. Devices
 * without such a unit: true, nothing relies on it.
 */
extern stk_status stk_probe_tensor(cudaStream_t stream, bool *holds, stk_error *err);

STK_END_C

#endif
