/*
 * Rows on their way to a device and codes on their way back: pieces of a call in pinned memory, of
 * which one is copied, one travels and one is computed at the same time. Queries of searches go the
 * same way (search_cuda.h).
 */
#ifndef STK_LANE_H
#define STK_LANE_H

#include "gpu.h"
#include "trie_search.h"

/* Lanes of a call on one device. */
#define STK_CALL_LANES 3

/* Buffers on both sides, and a stream. */
typedef struct stk_lane
{
	cudaStream_t stream;
	float *x_here; /* pinned */
	uint16_t *codes_here;
	double *sums_here;
	unsigned long long *failure_here;
	float *x;          /* on the device */
	float *normalized; /* under cosine; before that, scratch of a network */
	uint16_t *codes;
	double *sums;
	unsigned long long *failure;
	stk_trie_graphs *graphs; /* of searches that went this way; NULL: none did */
	size_t first;            /* row of the call that the piece begins with */
	size_t n;                /* 0: nothing on its way */
} stk_lane;

/* What one call uses of one device. */
typedef struct stk_lanes
{
	stk_gpu *gpu;
	const stk_device_codebook *cb;
	int beam;
	double *sums; /* rows are measured, too, and what stk_evaluate_call says goes here; or NULL */
	stk_lane lane[STK_CALL_LANES];
} stk_lanes;

/* Rows of a piece, at most: of whole chunks (members.h) where they are measured. */
extern size_t stk_lane_rows(const stk_codebook *cb);

/* Bytes of x_here, x and normalized each; codes_here and codes have an eighth of them. */
extern size_t stk_lane_bytes(void);
/* Copy a piece into pinned memory, by the pool's threads. */
extern void stk_lane_copy(const stk_exec *exec, void *to, const void *from, size_t bytes);

/* Take lanes of the device, which the thread uses. STK_EDEVICE. Give them back, whatever happened. */
extern stk_status stk_lanes_take(stk_gpu *gpu, stk_lanes **out, stk_error *err);
extern void stk_lanes_give(stk_lanes *lanes);
/* Free those that are kept. */
extern void stk_lanes_free_kept(stk_gpu *gpu);

/*
 * Send n <= stk_lane_rows rows first .. of x [][dim] on their way: the pool's threads copy them.
 * STK_EDEVICE.
 */
extern stk_status stk_lane_send(stk_lanes *lanes, stk_lane *l, const stk_exec *exec, const float *x,
								size_t first, size_t n, stk_error *err);
/*
 * Wait for the piece, if there is one, and put its codes to their places. STK_EDEVICE, STK_ECANCELED;
 * others are about a row, as of stk_rq_encode.
 */
extern stk_status stk_lane_receive(stk_lanes *lanes, stk_lane *l, const stk_exec *exec,
								   uint16_t *codes, stk_error *err);

#endif
