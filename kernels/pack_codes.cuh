/*
 * Codewords packed by whole blocks, each by one, whatever else the block has done with it; the last
 * of them makes the level's margin of what bounds them all.
 */
#ifndef STK_PACK_CODES_CUH
#define STK_PACK_CODES_CUH

#include <cuda_fp16.h>

#include "pack_device.h"
#include "pack_margin.cuh"
#include "reference.cuh"

/* Warps of a block, at most. */
#define MOST_PACK_WARPS 8
/* Numbers of level_bound. */
#define BOUNDS ((int) (sizeof(level_bound) / sizeof(double)))

/* Between launches and blocks. */
typedef struct pack_state
{
	unsigned long long largest; /* |c - m|, a double's bits */
	uint32_t done;              /* 0 between launches: blocks that are */
} pack_state;

typedef struct pack_args
{
	stk_device_level level; /* as it is to be, but for what packing finds */
	stk_device_level *to;
	float *centre;
	uint16_t *packed;
	float *offsets;
	double *half;
	double *bounds;
	pack_state *state;
	int dim;
	int wide_dim;
	bool inner_product;
} pack_args;

/* Sums of four kinds over the block, in each thread, in one order. */
static __device__ inline void
sum_block(double (&v)[4])
{
	__shared__ double of_warps[4][MOST_PACK_WARPS];

#pragma unroll
	for (int j = 0; j < 4; j++)
	{
		for (int step = 16; step > 0; step >>= 1)
			v[j] += __shfl_xor_sync(~0u, v[j], step);
		if (threadIdx.x % 32 == 0)
			of_warps[j][threadIdx.x / 32] = v[j];
	}
	__syncthreads();
#pragma unroll
	for (int j = 0; j < 4; j++)
	{
		v[j] = 0;
		for (unsigned w = 0; w < blockDim.x / 32; w++)
			v[j] += of_warps[j][w];
	}
}

/* What cannot be compared is larger than all. */
static __device__ inline double
sure(double v)
{
	return isnan(v) ? INFINITY : v;
}

/* The scale that the level has had since its centre was chosen. */
static __device__ inline float
pack_scale(const pack_args &a)
{
	return scale_for(__longlong_as_double((long long) a.state->largest));
}

/* Codeword k and what bounds it; a whole block. */
static __device__ inline void
pack_code(const pack_args &a, uint32_t k)
{
	double e = pack_scale(a);
	const float *c = a.level.codewords + (size_t) k * a.dim;
	double sums[4] = {}; /* of c^ c^, lost lost, m c, m m */
	double h = 0;

	for (int i = threadIdx.x; i < a.dim; i += blockDim.x)
	{
		double v = c[i];
		double m = a.centre[i];
		double exact = (v - m) * e;
		__half r = __double2half(exact);
		double kept = (double) __half2float(r);
		double lost = exact - kept;

		a.packed[stk_packed_at(a.wide_dim / STK_CHUNK, k, i)] = __half_as_ushort(r);
		sums[0] = fma(kept, kept, sums[0]);
		sums[1] = fma(lost, lost, sums[1]);
		sums[2] = fma(m, v, sums[2]);
		sums[3] = fma(m, m, sums[3]);
	}
	if (threadIdx.x < STK_GROUP)
	{
		for (int i = threadIdx.x; i < a.dim; i += STK_GROUP)
			h = fma((double) c[i], (double) c[i], h);
		h = 0.5 * add_lanes(h);
	}
	sum_block(sums);
	if (threadIdx.x == 0)
	{
		double kept = sqrt(sums[0]) * (1 + 1e-9);
		double lost = sqrt(sums[1]) * (1 + 1e-9) + 1e-12 * kept;
		double offset = a.inner_product ? sums[2] - sums[3] : sums[2] - 0.5 * sums[3] - h;
		double *b = a.bounds + (size_t) k * BOUNDS;
		level_bound bound;

		offset *= e * e;
		a.half[k] = h;
		a.offsets[k] = (float) offset;
		bound.norm = sure(sqrt(2 * h) * e);
		bound.half = a.inner_product ? 0 : sure(h * e * e);
		bound.centre = sure(sqrt(sums[3]) * e);
		bound.packed = sure(kept);
		bound.radius = sure(kept + lost);
		bound.rounding = sure(lost);
		bound.offset = sure(fabs(offset));
		for (int j = 0; j < BOUNDS; j++)
			b[j] = ((const double *) &bound)[j];
	}
}

/* The level's margin, of all codewords' bounds; a whole block. */
static __device__ inline void
finish_level(const pack_args &a, float scale)
{
	__shared__ double largest[MOST_PACK_WARPS][BOUNDS];
	double mine[BOUNDS] = {};
	level_bound bound;
	stk_device_level level = a.level;

	for (uint32_t k = threadIdx.x; k < a.level.size; k += blockDim.x)
	{
#pragma unroll
		for (int j = 0; j < BOUNDS; j++)
			mine[j] = fmax(mine[j], __ldcg(&a.bounds[(size_t) k * BOUNDS + j]));
	}
#pragma unroll
	for (int j = 0; j < BOUNDS; j++)
	{
		for (int step = 16; step > 0; step >>= 1)
			mine[j] = fmax(mine[j], __shfl_xor_sync(~0u, mine[j], step));
		if (threadIdx.x % 32 == 0)
			largest[threadIdx.x / 32][j] = mine[j];
	}
	__syncthreads();
	if (threadIdx.x > 0)
		return;
	for (int j = 0; j < BOUNDS; j++)
	{
		double v = 0;

		for (unsigned w = 0; w < blockDim.x / 32; w++)
			v = fmax(v, largest[w][j]);
		((double *) &bound)[j] = v;
	}
	/* What all offsets are short of was rounded, too. */
	bound.offset = fmax(bound.offset, bound.centre * bound.centre * 0x1p-28);
	level.scale = scale;
	set_margin(&level, &bound, (size_t) a.dim);
	*a.to = level;
	a.state->done = 0;
}

/*
 * A block is done with a codeword, or with the room for one, of `all`: the last one of them finishes
 * the level. By a whole block, again and again if need be.
 */
static __device__ inline void
pack_done(const pack_args &a, uint32_t all)
{
	__shared__ bool last;

	__threadfence();
	__syncthreads();
	if (threadIdx.x == 0)
		last = atomicAdd(&a.state->done, 1) == all - 1;
	__syncthreads();
	if (!last)
		return;
	__threadfence();
	finish_level(a, pack_scale(a));
}

/* What packs p's codewords as they are. */
static inline pack_args
pack_args_of(const stk_device_pack *p)
{
	const stk_device_codebook *cb = &p->codebook;
	const stk_device_level *level = &cb->on_host[0];
	pack_args a = {};

	a.level = *level;
	a.to = (stk_device_level *) (uintptr_t) cb->on_dev;
	a.centre = (float *) (uintptr_t) level->centre;
	a.packed = (uint16_t *) (uintptr_t) level->packed;
	a.offsets = (float *) (uintptr_t) level->offsets;
	a.half = p->half;
	a.bounds = p->bounds;
	a.state = (pack_state *) p->state;
	a.dim = cb->dim;
	a.wide_dim = cb->wide_dim;
	a.inner_product = cb->metric == STK_IP;
	return a;
}

#endif
