/*
 * Packing codewords that are on the device, without waiting: what pack.cu does on the processor,
 * with margins that do not look at pairs of codewords.
 *
 * The number that all offsets are short of is -|m|^2 e^2 / 2 here, so that o_k = -|c'_k|^2 / 2; for
 * the inner product it is 0, and o_k = m.c'_k / e.
 *
 * Bytes: codewords once, twice more where a centre is chosen: 4 K dim each; packed ones written,
 * 2 K dim. Bound: the launches.
 */
#include <cuda_fp16.h>
#include <stdlib.h>

#include "dependent.cuh"
#include "pack_device.h"
#include "pack_margin.cuh"
#include "reference.cuh"

#define THREADS 128
#define WARPS (THREADS / 32)
/* A block that finds the centre: so many columns side by side, by so many threads each. */
#define COLUMNS 32
#define PARTS 32
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

/* The mean of the codewords, and how far they are from it. */
static __global__ void
__launch_bounds__(COLUMNS *PARTS) find_centre(const pack_args a)
{
	__shared__ double sums[PARTS][COLUMNS];
	__shared__ float centre[COLUMNS];
	__shared__ unsigned long long largest;
	int side = threadIdx.x % COLUMNS;
	int part = threadIdx.x / COLUMNS;
	int i = blockIdx.x * COLUMNS + side;
	double sum = 0;
	double far = 0;

	if (threadIdx.x == 0)
		largest = 0;
	for (uint32_t k = part; k < a.level.size && i < a.dim; k += PARTS)
		sum += (double) a.level.codewords[(size_t) k * a.dim + i];
	sums[part][side] = sum;
	__syncthreads();
	if (part == 0)
	{
		for (int p = 1; p < PARTS; p++)
			sum += sums[p][side];
		centre[side] = __double2float_rn(sum / a.level.size);
		if (i < a.wide_dim)
			a.centre[i] = i < a.dim ? centre[side] : 0;
	}
	__syncthreads();
	for (uint32_t k = part; k < a.level.size && i < a.dim; k += PARTS)
		far = fmax(
			far, fabs((double) a.level.codewords[(size_t) k * a.dim + i] - (double) centre[side]));
	/* Bits of numbers that are not negative have the numbers' order. */
	atomicMax(&largest, (unsigned long long) __double_as_longlong(far));
	__syncthreads();
	if (threadIdx.x == 0)
		atomicMax(&a.state->largest, largest);
}

/* Sums of four kinds over the block, in each thread, in one order. */
static __device__ inline void
sum_block(double (&v)[4])
{
	__shared__ double of_warps[4][WARPS];

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
		for (int w = 0; w < WARPS; w++)
			v[j] += of_warps[j][w];
	}
}

/* What cannot be compared is larger than all. */
static __device__ inline double
sure(double v)
{
	return isnan(v) ? INFINITY : v;
}

/* Codeword k and what bounds it; a whole block. */
static __device__ inline void
pack_code(const pack_args &a, uint32_t k, double e)
{
	const float *c = a.level.codewords + (size_t) k * a.dim;
	double sums[4] = {}; /* of c^ c^, lost lost, m c, m m */
	double h = 0;

	for (int i = threadIdx.x; i < a.dim; i += THREADS)
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
	__shared__ double largest[WARPS][BOUNDS];
	double mine[BOUNDS] = {};
	level_bound bound;
	stk_device_level level = a.level;

	for (uint32_t k = threadIdx.x; k < a.level.size; k += THREADS)
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

		for (int w = 0; w < WARPS; w++)
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

/* A block a codeword, those behind the last one too. */
static __global__ void
__launch_bounds__(THREADS) pack_codes(const pack_args a)
{
	__shared__ bool last;
	float scale;

	wait_for_last();
	scale = scale_for(__longlong_as_double((long long) a.state->largest));
	if (blockIdx.x < a.level.size)
		pack_code(a, blockIdx.x, scale);
	else if (threadIdx.x == 0)
		a.offsets[blockIdx.x] = -INFINITY;
	__threadfence();
	__syncthreads();
	if (threadIdx.x == 0)
		last = atomicAdd(&a.state->done, 1) == gridDim.x - 1;
	__syncthreads();
	if (!last)
		return;
	__threadfence();
	finish_level(a, scale);
}

/* Room for `bytes` at memory + *at, on a boundary of its own. */
static void *
take(void *memory, size_t *at, size_t bytes)
{
	size_t place = *at;

	*at += (bytes + 255) / 256 * 256;
	return memory ? (char *) memory + place : NULL;
}

/* Lay everything out in the memory; returns how many bytes it takes. */
static size_t
lay_out(stk_device_pack *p)
{
	stk_device_codebook *cb = &p->codebook;
	stk_device_level *level = &cb->on_host[0];
	size_t dim = (size_t) cb->dim;
	size_t wide_dim = (size_t) cb->wide_dim;
	size_t padded = ((size_t) p->most + STK_PANEL - 1) / STK_PANEL * STK_PANEL;
	size_t at = 0;

	cb->on_dev = (stk_device_level *) take(cb->memory, &at, sizeof(stk_device_level));
	p->state = take(cb->memory, &at, sizeof(pack_state));
	p->zeros = (double *) take(cb->memory, &at, p->most * sizeof(double));
	level->packed = (uint16_t *) take(cb->memory, &at, padded * wide_dim * sizeof(uint16_t));
	level->offsets = (float *) take(cb->memory, &at, padded * sizeof(float));
	level->centre = (float *) take(cb->memory, &at, wide_dim * sizeof(float));
	p->codewords = (float *) take(cb->memory, &at, p->most * dim * sizeof(float));
	p->half = (double *) take(cb->memory, &at, p->most * sizeof(double));
	p->bounds = (double *) take(cb->memory, &at, p->most * sizeof(level_bound));
	level->codewords = p->codewords;
	return at;
}

void
stk_device_pack_shape(stk_device_pack *p, uint32_t size, bool inner_product)
{
	stk_device_codebook *cb = &p->codebook;
	stk_device_level *level = &cb->on_host[0];

	cb->metric = inner_product ? STK_IP : STK_L2;
	cb->largest = size;
	level->size = size;
	level->panels = (size + STK_PANEL - 1) / STK_PANEL;
	level->half = inner_product ? p->zeros : p->half;
}

stk_status
stk_device_pack_create(uint32_t most, size_t dim, cudaStream_t stream, stk_device_pack **out,
					   stk_error *err)
{
	static const char doing[] = "make room for codewords on the device";
	stk_device_pack *p = (stk_device_pack *) calloc(1, sizeof(*p));
	stk_device_codebook *cb;
	stk_status status;

	*out = NULL;
	if (!p)
		return STK_ENOMEM;
	cb = &p->codebook;
	cb->levels = 1;
	cb->dim = (int) dim;
	cb->wide_dim = (int) ((dim + STK_CHUNK - 1) / STK_CHUNK * STK_CHUNK);
	p->most = most;
	cb->bytes = lay_out(p);
	status = stk_cuda_status(cudaMalloc(&cb->memory, cb->bytes), doing, err);
	if (status == STK_OK)
	{
		lay_out(p);
		status = stk_cuda_status(cudaMemsetAsync(cb->memory, 0, cb->bytes, stream), doing, err);
	}
	if (status == STK_OK)
		*out = p;
	else
		stk_device_pack_free(p);
	return status;
}

void
stk_device_pack_free(stk_device_pack *p)
{
	if (!p)
		return;
	(void) cudaFree(p->codebook.memory);
	free(p);
}

stk_status
stk_pack_launch(const stk_device_pack *p, bool anew, cudaStream_t stream, stk_error *err)
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
	if (anew)
	{
		unsigned blocks = ((unsigned) cb->wide_dim + COLUMNS - 1) / COLUMNS;
		stk_status status =
			stk_cuda_status(cudaMemsetAsync(&a.state->largest, 0, sizeof(a.state->largest), stream),
							"pack codewords on the device", err);

		if (status != STK_OK)
			return status;
		find_centre<<<blocks, COLUMNS * PARTS, 0, stream>>>(a);
	}
	launch_next(pack_codes, level->panels * STK_PANEL, THREADS, stream, a);
	return stk_cuda_status(cudaGetLastError(), "pack codewords on the device", err);
}
