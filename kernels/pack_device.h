/*
 * One level's codewords that live on a device, where they are trained, and are packed there.
 */
#ifndef STK_PACK_DEVICE_H
#define STK_PACK_DEVICE_H

#include "device.h"

STK_BEGIN_C

/*
 * A codebook of one level, for up to `most` codewords. What encodes with it takes `codebook`; the
 * numbers that packing finds are on the device alone (codebook.on_dev).
 */
typedef struct stk_device_pack
{
	stk_device_codebook codebook;
	uint32_t most;
	float *codewords; /* [size][dim] on the device: whoever writes them packs them again */
	double *half;     /* [size] half squared norms by the reference, for the inner product too */
	double *zeros;    /* [most] */
	double *bounds;   /* [most] of level_bound */
	void *state;
} stk_device_pack;

/*
 * Room on the current device. STK_ENOMEM, STK_EIO; asynchronous on stream; free with
 * stk_device_pack_free.
 */
extern stk_status stk_device_pack_create(uint32_t most, size_t dim, cudaStream_t stream,
										 stk_device_pack **out, stk_error *err);
extern void stk_device_pack_free(stk_device_pack *p);

/* How many codewords there are from now on, <= most, and what they are for. */
extern void stk_device_pack_shape(stk_device_pack *p, uint32_t size, bool inner_product);

/*
 * Choose the codewords' centre and scale, and pack them as they are; asynchronously on stream. Those
 * that move only a little since are packed by who moves them (pack_codes.cuh). STK_EIO.
 */
extern stk_status stk_pack_launch(const stk_device_pack *p, cudaStream_t stream, stk_error *err);

STK_END_C

#endif
