/*
 * The encoder of a codebook's network (core's network.h) on a device: the same latent vectors, bit
 * for bit, and the same failures.
 */
#ifndef STK_DEVICE_NETWORK_H
#define STK_DEVICE_NETWORK_H

#include "device.h"

STK_BEGIN_C

#include "core/network.h"

/*
 * Copy the encoder of net to the current device; asynchronous on stream, net's floats outlive that.
 */
extern stk_status stk_device_network_create(const stk_network *net, cudaStream_t stream,
											stk_device_network *out, stk_error *err);
extern void stk_device_network_free(stk_device_network *net);

/*
 * Latent vectors of embeddings, in their place.
 *
 *   x        [n][inputs]  in; out: [n][latent]
 *   scratch  [n][widest]  as x has room for, too
 *   failure  lowered (encode.h) for rows that fail, whose numbers are others
 *
 * Asynchronous on stream. STK_EIO.
 */
extern stk_status stk_network_launch(const stk_device_network *net, float *x, float *scratch,
									 size_t n, unsigned long long *failure, cudaStream_t stream,
									 stk_error *err);

STK_END_C

#endif
