/*
 * Kernels that take the sum of each code's rows, in the shape of core's member_sums.h, and do
 * something with it.
 *
 * A block adds up one chunk of a code in a slab of columns: eight threads, a lane each, for up to
 * four columns. Of a code with several blocks the last one to finish, known by an integer ticket,
 * adds the chunks in order. Then `finish`, an object of the caller's, gets the whole sum in a whole
 * block:
 *
 *    finish.ahead(code)             before a code's sums are taken: to ask for what it will need
 *    finish.sum(code, rows, sum)    rows > 0; column i of sum [dim], on the device, is this
 *                                   thread's where i % blockDim.x == threadIdx.x, to read and write
 *    finish.none(code)              a code without rows
 *
 * Every thread of a block calls them, the last two once for each code.
 *
 * Bytes: rows once, 4 n dim, of whole sectors; sums once. Operations: n dim additions in binary64.
 * Bound: memory where rows are many; where they are few, the launches and the way from one read to
 * the next.
 */
#ifndef STK_MEMBERS_CUH
#define STK_MEMBERS_CUH

#include "dependent.cuh"
#include "members.h"
#include "reference.cuh"

/* Groups of columns in a slab, at most. */
#define STK_SLAB_GROUPS 32
/* Rows of a lane that are read before they are added, and how many whole slabs' blocks of them share
 * an SM's registers. */
#ifndef STK_LANE_AHEAD
#define STK_LANE_AHEAD 8
#define STK_SUM_BLOCKS 3
#endif
/* Chunks that are read before they are added. */
#define STK_CHUNKS_AHEAD 16

/* Ask for dim numbers from `from` on, by the threads of a block; the cache's lines are 128 bytes. */
template <class Number>
static __device__ inline void
fetch_ahead(const Number *from, size_t dim)
{
	for (size_t i = threadIdx.x * (128 / sizeof(Number)); i < dim;
		 i += blockDim.x * (128 / sizeof(Number)))
		asm volatile("prefetch.global.L2 [%0];" ::"l"(from + i));
}

/* WIDTH numbers, in one access. */
template <int WIDTH> struct stk_columns;
template <> struct stk_columns<4>
{
	float4 v;
	__device__ void
	read(const float *from)
	{
		v = __ldg((const float4 *) from);
	}
	__device__ float
	operator[](int i) const
	{
		return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
	}
};
template <> struct stk_columns<2>
{
	float2 v;
	__device__ void
	read(const float *from)
	{
		v = __ldg((const float2 *) from);
	}
	__device__ float
	operator[](int i) const
	{
		return i == 0 ? v.x : v.y;
	}
};
template <> struct stk_columns<1>
{
	float v;
	__device__ void
	read(const float *from)
	{
		v = __ldg(from);
	}
	__device__ float
	operator[](int) const
	{
		return v;
	}
};

/* The chunk's columns from `column` on, added up by this thread's lane, then by its group. */
template <int WIDTH>
static __device__ inline void
add_chunk(const float *__restrict__ x, size_t dim, size_t column, const uint32_t *members,
		  uint32_t count, double *sum)
{
	uint32_t lane = threadIdx.x % STK_GROUP;
	uint32_t steps = lane < count ? (count - lane + STK_GROUP - 1) / STK_GROUP : 0;

	for (int i = 0; i < WIDTH; i++)
		sum[i] = 0;
	for (uint32_t step = 0; step < steps; step += STK_LANE_AHEAD)
	{
		stk_columns<WIDTH> ahead[STK_LANE_AHEAD];

#pragma unroll
		for (uint32_t a = 0; a < STK_LANE_AHEAD; a++)
		{
			ahead[a] = {};
			if (step + a < steps)
				ahead[a].read(x + members[(step + a) * STK_GROUP + lane] * dim + column);
		}
		/* No sum is ever -0: +0 where there is no row changes none. */
#pragma unroll
		for (uint32_t a = 0; a < STK_LANE_AHEAD; a++)
		{
#pragma unroll
			for (int i = 0; i < WIDTH; i++)
				sum[i] = __dadd_rn(sum[i], (double) ahead[a][i]);
		}
	}
	for (int i = 0; i < WIDTH; i++)
		sum[i] = add_lanes(sum[i]);
}

/* Add a code's chunks in order, from +0 on: the first chunk's place gets the sum. */
static __device__ inline void
add_chunks(double *sums, uint32_t chunks, size_t dim)
{
	for (size_t i = threadIdx.x; i < dim; i += blockDim.x)
	{
		double sum = 0;

		for (uint32_t c = 0; c < chunks; c += STK_CHUNKS_AHEAD)
		{
			double ahead[STK_CHUNKS_AHEAD];

#pragma unroll
			for (uint32_t a = 0; a < STK_CHUNKS_AHEAD; a++)
				ahead[a] = c + a < chunks ? __ldcg(&sums[(c + a) * dim + i]) : 0;
#pragma unroll
			for (uint32_t a = 0; a < STK_CHUNKS_AHEAD; a++)
				sum = c + a < chunks ? __dadd_rn(sum, ahead[a]) : sum;
		}
		sums[i] = sum;
	}
}

/* One chunk in a slab of columns; the code's end, too, where this block is its last. */
template <int WIDTH, class Finish>
static __device__ inline void
sum_chunk(const stk_members_view &m, const stk_members_chunk &chunk, const float *__restrict__ x,
		  size_t dim, Finish &finish)
{
	__shared__ uint32_t members[STK_MEMBERS_CHUNK];
	__shared__ bool last;
	size_t column =
		WIDTH * ((size_t) blockIdx.y * (blockDim.x / STK_GROUP) + threadIdx.x / STK_GROUP);
	uint32_t count = min(chunk.rows - chunk.number * STK_MEMBERS_CHUNK, STK_MEMBERS_CHUNK);
	uint32_t chunks = (chunk.rows + STK_MEMBERS_CHUNK - 1) / STK_MEMBERS_CHUNK;
	double *sums = m.sums + (blockIdx.x - chunk.number) * dim;

	for (uint32_t i = threadIdx.x; i < count; i += blockDim.x)
		members[i] = m.rows[chunk.begin + i];
	finish.ahead(chunk.code);
	__syncthreads();
	if (column < dim)
	{
		double sum[WIDTH];
		uint32_t lane = threadIdx.x % STK_GROUP;

		add_chunk<WIDTH>(x, dim, column, members, count, sum);
#pragma unroll
		for (int i = 0; i < WIDTH; i++)
		{
			if (lane == i)
				m.sums[blockIdx.x * dim + column + i] = sum[i];
		}
	}
	if (chunks * gridDim.y > 1)
	{
		__threadfence();
		__syncthreads();
		if (threadIdx.x == 0)
		{
			last = atomicAdd(&m.arrived[chunk.code], 1) == chunks * gridDim.y - 1;
			if (last)
				m.arrived[chunk.code] = 0;
		}
		__syncthreads();
		if (!last)
			return;
		__threadfence();
	}
	else
		__syncthreads();
	add_chunks(sums, chunks, dim);
	finish.sum(chunk.code, chunk.rows, sums);
}

/* Blocks: (chunks that there may be) x slabs. */
template <int WIDTH, class Finish>
static __global__ void
__launch_bounds__(STK_GROUP *STK_SLAB_GROUPS, STK_SUM_BLOCKS)
	sum_members(const stk_members_view m, const float *__restrict__ x, size_t dim, Finish finish)
{
	stk_members_chunk chunk;

	let_next_begin();
	wait_for_last();
	chunk = m.chunks[blockIdx.x];
	if (blockIdx.x < m.first_chunk[m.size])
		sum_chunk<WIDTH>(m, chunk, x, dim, finish);
	for (uint32_t k = blockIdx.x; k < m.size && blockIdx.y == 0; k += gridDim.x)
	{
		if (m.first[k] == m.first[k + 1])
			finish.none(k);
	}
}

/*
 * Sum the rows x [n][dim] of each code of m's grouping of them, and finish; the last thing that was
 * launched on stream is the grouping. Asynchronous on stream. STK_EIO.
 */
template <class Finish>
static stk_status
sum_members_launch(const stk_device_members *m, const float *x, size_t n, const Finish &finish,
				   cudaStream_t stream, stk_error *err)
{
	size_t dim = m->dim;
	size_t apart = (uintptr_t) x / sizeof(float) | dim;
	int width = apart % 4 == 0 ? 4 : apart % 2 == 0 ? 2 : 1;
	size_t groups = dim / width;
	size_t chunks = n / STK_MEMBERS_CHUNK + (n < m->view.size ? n : m->view.size);
	/* Whole warps. */
	unsigned side = groups < STK_SLAB_GROUPS ? ((unsigned) groups + 3) / 4 * 4 : STK_SLAB_GROUPS;
	dim3 blocks((unsigned) (chunks ? chunks : 1), (unsigned) ((groups + side - 1) / side));
	unsigned threads = side * STK_GROUP;

	if (width == 4)
		launch_next(sum_members<4, Finish>, blocks, threads, stream, m->view, x, dim, finish);
	else if (width == 2)
		launch_next(sum_members<2, Finish>, blocks, threads, stream, m->view, x, dim, finish);
	else
		launch_next(sum_members<1, Finish>, blocks, threads, stream, m->view, x, dim, finish);
	return stk_cuda_status(cudaGetLastError(), "sum rows by code on the device", err);
}

#endif
