/*
 * Residual quantization within a training step: the reference for all codewords of all levels in
 * one kernel, since codewords are others in each step and a filter would have to be made anew.
 *
 * A block has ROWS latent vectors, and a thread a codeword of each tile of THREADS: it adds the
 * eight lanes of their dot products, and of the codeword's with itself, in registers. Codewords
 * come through shared memory in slabs of columns, the next while one is multiplied.
 *
 * Bytes: each block reads all codewords, 4 dim sum(K), from the second-level cache; rows once.
 * Operations: (n + n / ROWS) dim sum(K) fma in binary64. Bound: those where rows are many, 64 a
 * multiprocessor and clock; the way through the levels where they are few.
 */
#define SLAB 16

#include "slab.cuh"
#include "step_sum.cuh"

#define THREADS STK_SUM_THREADS
#define STAGES 4 /* slabs on their way, or in use */
/* Shared memory that a block has beside them, at most. */
#define STATIC_BYTES 1024

/* The slabs of all levels, one after the other: where the next to be copied is. */
struct cursor
{
	const float *codewords; /* of its level */
	int level;
	uint32_t first;
	size_t column;
	int stage;
};

/* Begin to copy the next slab, if there is one; a group of copies in any case. */
static __device__ inline void
start_next(const stk_quantize_call &c, cursor *next, float *slabs)
{
	if (next->level == c.levels)
	{
		copies_end();
		return;
	}
	start_slab<THREADS, THREADS>(next->codewords, c.sizes[next->level], c.dim, next->first,
								 next->column, slabs + next->stage * THREADS * SLAB_STRIDE);
	next->stage = (next->stage + 1) % STAGES;
	next->column += SLAB;
	if (next->column < c.dim)
		return;
	next->column = 0;
	next->first += THREADS;
	if (next->first < c.sizes[next->level])
		return;
	next->first = 0;
	next->codewords += c.sizes[next->level] * c.dim;
	next->level++;
}

/* The nearest codeword of each row, in winners [ROWS]; *stage is the first slab's. */
template <int ROWS>
static __device__ void
choose(const stk_quantize_call &c, int level, const double *residuals, size_t stride, float *slabs,
	   cursor *next, int *stage, uint32_t *winners)
{
	__shared__ double scores[ROWS][THREADS / 32];
	__shared__ uint32_t codes[ROWS][THREADS / 32];
	uint32_t size = c.sizes[level];
	double best[ROWS];
	uint32_t best_k[ROWS];

	for (int r = 0; r < ROWS; r++)
	{
		best[r] = INFINITY;
		best_k[r] = 0;
	}
	for (uint32_t first = 0; first < size; first += THREADS)
	{
		lanes<ROWS> sum = {};

		for (size_t column = 0; column < c.dim; column += SLAB)
		{
			const float *slab = slabs + (*stage * THREADS + threadIdx.x) * SLAB_STRIDE;

			copies_wait<STAGES - 2>();
			/* Everybody's copies are there, and everybody is done with the slab before. */
			__syncthreads();
			start_next(c, next, slabs);
			multiply_slab<ROWS, true>(sum, slab, residuals + column, stride,
									  (uint32_t) min(c.dim - column, (size_t) SLAB));
			*stage = (*stage + 1) % STAGES;
		}
		if (first + threadIdx.x < size)
		{
			double half = __dmul_rn(0.5, fold_lanes(sum.own));

			for (int r = 0; r < ROWS; r++)
			{
				double s = __dsub_rn(half, fold_lanes(sum.row[r]));

				if (wins(s, first + threadIdx.x, best[r], best_k[r]))
				{
					best[r] = s;
					best_k[r] = first + threadIdx.x;
				}
			}
		}
	}
#pragma unroll
	for (int r = 0; r < ROWS; r++)
	{
		for (int step = 1; step < 32; step <<= 1)
		{
			double other = __shfl_xor_sync(~0u, best[r], step);
			uint32_t other_k = __shfl_xor_sync(~0u, best_k[r], step);

			if (wins(other, other_k, best[r], best_k[r]))
			{
				best[r] = other;
				best_k[r] = other_k;
			}
		}
		if (threadIdx.x % 32 == 0)
		{
			scores[r][threadIdx.x / 32] = best[r];
			codes[r][threadIdx.x / 32] = best_k[r];
		}
	}
	__syncthreads();
	if (threadIdx.x < ROWS)
	{
		double s = scores[threadIdx.x][0];
		uint32_t k = codes[threadIdx.x][0];

		for (int w = 1; w < THREADS / 32; w++)
		{
			if (wins(scores[threadIdx.x][w], codes[threadIdx.x][w], s, k))
			{
				s = scores[threadIdx.x][w];
				k = codes[threadIdx.x][w];
			}
		}
		winners[threadIdx.x] = k;
	}
	__syncthreads();
}

template <int ROWS>
static __global__ void
__launch_bounds__(THREADS) quantize(const stk_quantize_call c)
{
	extern __shared__ __align__(16) uint8_t memory[];
	__shared__ uint32_t winners[ROWS];
	size_t stride = (c.dim + STK_GROUP - 1) / STK_GROUP * STK_GROUP;
	double *residuals = (double *) memory; /* [ROWS][stride] */
	float *slabs = (float *) (residuals + ROWS * stride);
	size_t wide = stk_wide(c.dim);
	double squares = 0;

	for (size_t first = (size_t) blockIdx.x * ROWS; first < c.n; first += (size_t) gridDim.x * ROWS)
	{
		int rows = c.n - first < ROWS ? (int) (c.n - first) : ROWS;
		const float *level = c.codewords;
		cursor next = {c.codewords, 0, 0, 0, 0};
		int stage = 0;

		for (int s = 0; s < STAGES - 1; s++)
			start_next(c, &next, slabs);
		for (size_t i = threadIdx.x; i < ROWS * stride; i += THREADS)
		{
			size_t r = i / stride, j = i % stride;
			float v = r < rows && j < c.dim ? c.z[(first + r) * wide + j] : 0;

			residuals[i] = v;
			if (r < rows && j < c.dim)
				c.residuals[(first + r) * c.dim + j] = v;
		}
		for (int l = 0; l < c.levels; l++)
		{
			choose<ROWS>(c, l, residuals, stride, slabs, &next, &stage, winners);
			if (threadIdx.x < rows)
				c.run.codes[(c.run.cursor->row + first + threadIdx.x) * c.levels + l] =
					(uint16_t) winners[threadIdx.x];
			for (size_t i = threadIdx.x; i < rows * c.dim; i += THREADS)
			{
				size_t r = i / c.dim, j = i % c.dim;
				float taken = level[winners[r] * c.dim + j];
				float left = __fsub_rn((float) residuals[r * stride + j], taken);
				float *y = &c.y[(first + r) * wide + j];

				residuals[r * stride + j] = left;
				c.residuals[((size_t) (l + 1) * c.n + first + r) * c.dim + j] = left;
				*y = l > 0 ? __fadd_rn(*y, taken) : taken;
				squares += (double) left * left;
			}
			level += c.sizes[l] * c.dim;
			/* The next level's first barrier stands between these residuals and their use. */
		}
		__syncthreads();
	}
	if (sum_of_grid(squares, c.sum, &squares) && threadIdx.x == 0)
		note_loss(c.run, STK_LOSS_RESIDUALS, squares);
}

/* Shared memory of a block. */
static size_t
shared_bytes(size_t rows, size_t dim)
{
	size_t stride = (dim + STK_GROUP - 1) / STK_GROUP * STK_GROUP;

	return rows * stride * sizeof(double) + STAGES * THREADS * SLAB_STRIDE * sizeof(float);
}

/* What a block may have, beside what it has anyway. */
static cudaError_t
shared_limit(size_t *limit)
{
	int device, most = 0;
	cudaError_t code = cudaGetDevice(&device);

	if (code == cudaSuccess)
		code = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
	*limit = most > STATIC_BYTES ? (size_t) most - STATIC_BYTES : 0;
	return code;
}

bool
stk_quantize_takes(size_t dim)
{
	size_t limit;

	return shared_limit(&limit) == cudaSuccess && shared_bytes(1, dim) <= limit;
}

template <int ROWS>
static cudaError_t
launch(const stk_quantize_call *call, size_t limit, cudaStream_t stream)
{
	size_t blocks = (call->n + ROWS - 1) / ROWS;
	/* Not what this call takes: another thread's call may take more, and launch after this. */
	cudaError_t code = cudaFuncSetAttribute(
		quantize<ROWS>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int) limit);

	if (code != cudaSuccess)
		return code;
	quantize<ROWS><<<(unsigned) (blocks < STK_STEP_BLOCKS ? blocks : STK_STEP_BLOCKS), THREADS,
					 shared_bytes(ROWS, call->dim), stream>>>(*call);
	return cudaGetLastError();
}

stk_status
stk_quantize_launch(const stk_quantize_call *call, cudaStream_t stream, stk_error *err)
{
	static const size_t sizes[] = {8, 5, 4, 3, 2, 1};
	int device, processors = 1;
	size_t limit, rows;
	cudaError_t code = cudaGetDevice(&device);
	int i = 0;

	if (code == cudaSuccess)
		code = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
	if (code == cudaSuccess)
		code = shared_limit(&limit);
	if (code != cudaSuccess)
		return stk_cuda_status(code, "quantize a batch on the device", err);
	/* So few that each multiprocessor has a block, and that they fit. */
	rows = (call->n + (size_t) processors - 1) / (size_t) processors;
	while (i < 5 && (sizes[i + 1] >= rows || shared_bytes(sizes[i], call->dim) > limit))
		i++;
	switch (sizes[i])
	{
		case 8:
			code = launch<8>(call, limit, stream);
			break;
		case 5:
			code = launch<5>(call, limit, stream);
			break;
		case 4:
			code = launch<4>(call, limit, stream);
			break;
		case 3:
			code = launch<3>(call, limit, stream);
			break;
		case 2:
			code = launch<2>(call, limit, stream);
			break;
		default:
			code = launch<1>(call, limit, stream);
	}
	return stk_cuda_status(code, "quantize a batch on the device", err);
}
