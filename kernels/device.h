/*
 * What the kernels' launchers share: a codebook on a device, and how CUDA's failures are told.
 *
 * Nothing here computes. Kernels run on the caller's stream and device; a launcher checks every
 * call it makes and returns STK_ENOMEM when the device has no memory left, STK_EIO with CUDA's own
 * words for everything else that CUDA says.
 */
#ifndef STK_DEVICE_H
#define STK_DEVICE_H

#include <cuda_runtime_api.h>
#include <stdbool.h>

/* These headers are C: the kernels' launchers have C's names, as core's functions have. */
#ifdef __cplusplus
#define STK_BEGIN_C                                                                                \
	extern "C"                                                                                     \
	{
#define STK_END_C }
#else
#define STK_BEGIN_C
#define STK_END_C
#endif

STK_BEGIN_C

#include "core/codebook.h"
#include "core/status.h"

/* Elements of a packed codeword come in chunks of so many, zeros behind the last. */
#define STK_CHUNK 64
/* Packed codewords come in blocks of so many, of which each chunk lies together. */
#define STK_BLOCK 64
/* A packed level has a multiple of so many. */
#define STK_PANEL 128

/*
 * One level on the device. The filter multiplies y = (r - centre) scale by c^ = (c - centre) scale,
 * both rounded to binary16; its scores are offset + y.c^, larger is better, in units of scale^2.
 */
typedef struct stk_device_level
{
	const float *codewords; /* [size][dim] */
	const double *half;     /* [size] half squared norms by the reference; zeros: inner product */
	const uint16_t *packed; /* [panels * STK_PANEL / STK_BLOCK][chunks][STK_BLOCK][STK_CHUNK],
							 * binary16 */
	const float *offsets;   /* [panels * STK_PANEL]; -INFINITY behind the last */
	const float *centre;    /* [wide_dim]; zeros behind the last */
	uint32_t size;
	uint32_t panels;
	float scale; /* a power of two */

	/* margin = by_norm |y^| + by_lost |y - y^| + fixed; see pack.cu. */
	float by_norm;
	float by_lost;
	float fixed;
} stk_device_level;

/* A codebook on the device that was current when it was made. */
typedef struct stk_device_codebook
{
	stk_metric metric;
	int levels;
	int dim;
	int wide_dim;                             /* dim, up to the next multiple of STK_CHUNK */
	const stk_device_level *on_dev;           /* [levels], on the device */
	stk_device_level on_host[STK_MAX_LEVELS]; /* the same here; pointers are the device's */
	uint32_t largest;                         /* size of the largest level */
	void *memory;                             /* everything above, in one piece */
	size_t bytes;
} stk_device_codebook;

/*
 * Lay out cb for the filter and copy it to the current device; waits until it is there. cb's
 * codewords are finite and are not needed afterwards. Free with stk_device_codebook_free.
 */
extern stk_status stk_device_codebook_create(const stk_codebook *cb, cudaStream_t stream,
											 stk_device_codebook **out, stk_error *err);
extern void stk_device_codebook_free(stk_device_codebook *cb);

/* What a CUDA call said, as a status; `doing` completes "could not ...". */
static inline stk_status
stk_cuda_status(cudaError_t code, const char *doing, stk_error *err)
{
	if (code == cudaSuccess)
		return STK_OK;
	if (code == cudaErrorMemoryAllocation)
	{
		(void) cudaGetLastError();
		return stk_fail(err, STK_ENOMEM, "could not %s: the device has no memory left", doing);
	}
	return stk_fail(err, STK_EIO, "could not %s: %s", doing, cudaGetErrorString(code));
}

STK_END_C

#endif
