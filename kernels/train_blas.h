/*
 * Products of matrices on a device, by NVIDIA's cuBLAS, which is opened when it is first needed:
 * machines that train no networks need not have it.
 *
 * Numbers are binary32 and stay so within a product: no TF32. A product of one shape adds in one
 * order on one device, whatever else runs there: each stream has a handle and a workspace of its
 * own.
 */
#ifndef STK_TRAIN_BLAS_H
#define STK_TRAIN_BLAS_H

#include "device.h"

STK_BEGIN_C

/* Memory of the device that one stream's products take: what cuBLAS wants on Hopper. */
#define STK_BLAS_BYTES ((size_t) 32 << 20)

/* One stream's products; of one thread at a time. */
typedef struct stk_blas stk_blas;

/*
 * Products on `stream` of the current device. STK_EDEVICE, with the reason: there is no cuBLAS of
 * this CUDA version, or it is of no use; STK_ENOMEM. Free with stk_blas_free, the device current.
 */
extern stk_status stk_blas_create(cudaStream_t stream, stk_blas **out, stk_error *err);
extern void stk_blas_free(stk_blas *b);

/* A matrix on the device: rows `stride` numbers apart. */
typedef struct stk_blas_matrix
{
	float *at;
	size_t stride;
} stk_blas_matrix;

/*
 * Asynchronous, into a graph, too, where the stream is being captured. STK_EIO.
 *
 *    stk_blas_forward    y [n][out] = x [n][in] w [out][in]'
 *    stk_blas_backward   x [n][in]  = y [n][out] w [out][in]
 *    stk_blas_weights    w [out][in] = y [n][out]' x [n][in]
 */
extern stk_status stk_blas_forward(stk_blas *b, size_t n, int in, int out, stk_blas_matrix x,
								   stk_blas_matrix w, stk_blas_matrix y, stk_error *err);
extern stk_status stk_blas_backward(stk_blas *b, size_t n, int in, int out, stk_blas_matrix y,
									stk_blas_matrix w, stk_blas_matrix x, stk_error *err);
extern stk_status stk_blas_weights(stk_blas *b, size_t n, int in, int out, stk_blas_matrix y,
								   stk_blas_matrix x, stk_blas_matrix w, stk_error *err);

STK_END_C

#endif
