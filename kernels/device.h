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

#include "core/both_sides.h"
#include "core/codebook.h"
#include "core/status.h"

/* Elements of a packed codeword come in chunks of so many, zeros behind the last. */
#define STK_CHUNK 64
/* Packed codewords come in panels of so many, in one piece, of which each chunk lies together. */
#define STK_PANEL 128

/*
 * Where element i of packed codeword k lies among binary16 numbers, in a level of `chunks` chunks:
 * [k / STK_PANEL][i / STK_CHUNK][k mod STK_PANEL][128 bytes]. In the 128 bytes
 *
 *   - four neighbours of each 16 elements go where one thread's registers hold them when the
 *     tensor unit takes rows from registers: 4t + b to 2t + b mod 2, and 8 further where b > 1;
 *     sums do not care as long as rows' elements lie likewise;
 *   - the 16-byte unit u of codeword k stands at u ^ (k mod 8), as the unit reads it from shared
 *     memory without conflicts between banks, so that panels are copied as they are.
 */
static STK_BOTH_SIDES inline size_t
stk_packed_at(size_t chunks, size_t k, size_t i)
{
	size_t line = (k / STK_PANEL * chunks + i / STK_CHUNK) * STK_PANEL + k % STK_PANEL;
	size_t unit = i % STK_CHUNK / 16 * 2 + (i >> 1 & 1);

	return line * STK_CHUNK + (unit ^ (k & 7)) * 8 + (i >> 2 & 3) * 2 + (i & 1);
}

/*
 * One level on the device. The filter multiplies y = (r - centre) scale by c^ = (c - centre) scale,
 * both rounded to binary16; its scores are offset + y.c^, larger is better, in units of scale^2.
 */
typedef struct stk_device_level
{
	const float *codewords; /* [size][dim] */
	const double *half;     /* [size] half squared norms by the reference; zeros: inner product */
	const uint16_t *packed; /* [panels][chunks][STK_PANEL][STK_CHUNK], binary16; stk_packed_at */
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

/* Levels that have a joint at most. */
#define STK_MOST_JOINT 4

/*
 * What scores a level from y of the first level, and the codewords taken since: offset + y.c^ less a
 * number for each codeword taken; see pack_joint.cu. The margin is of the first level's y.
 */
typedef struct stk_device_joint
{
	const float *offsets;                   /* [panels * STK_PANEL] */
	const float *taken[STK_MOST_JOINT - 1]; /* [size of that level][panels * STK_PANEL] */
	float by_norm;
	float by_lost;
	float fixed;
} stk_device_joint;

/* The encoder of a codebook's network on the device; network.h. */
typedef struct stk_device_network
{
	uint32_t inputs; /* 0: there is none */
	int n_layers;
	stk_activation activation;
	stk_layer layers[STK_MAX_LAYERS]; /* pointers are the device's */
	const float *mean, *scale;        /* NULL: embeddings are taken as they are */
	void *memory;                     /* all of it, in one piece */
	size_t bytes;
} stk_device_network;

/* A codebook on the device that was current when it was made. */
typedef struct stk_device_codebook
{
	stk_metric metric;
	int levels;
	int dim;
	int wide_dim;                             /* dim, up to the next multiple of STK_CHUNK */
	const stk_device_level *on_dev;           /* [levels], on the device */
	stk_device_level on_host[STK_MAX_LEVELS]; /* the same here; pointers are the device's */
	stk_device_joint joints[STK_MOST_JOINT];
	int njoints;      /* 0: there are none */
	uint32_t largest; /* size of the largest level */
	stk_device_network network;
	void *memory; /* levels, in one piece */
	void *joint_memory;
	size_t bytes;
} stk_device_codebook;

/*
 * Lay out cb for the filter and copy it to the current device; waits until it is there. cb's
 * codewords are finite and are not needed afterwards. lasting: so many rows will be encoded with it
 * that a look at all pairs of codewords, for the filter's margins, is worth some 10 ms a level. Free
 * with stk_device_codebook_free.
 */
extern stk_status stk_device_codebook_create(const stk_codebook *cb, bool lasting,
											 cudaStream_t stream, stk_device_codebook **out,
											 stk_error *err);
extern void stk_device_codebook_free(stk_device_codebook *cb);

/*
 * Room for `bytes` at memory + *at, on a boundary of its own; *at moves behind it. NULL memory: how
 * much there must be.
 */
static inline void *
stk_take(void *memory, size_t *at, size_t bytes)
{
	size_t place = *at;

	*at += (bytes + 255) / 256 * 256;
	return memory ? (char *) memory + place : NULL;
}

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
