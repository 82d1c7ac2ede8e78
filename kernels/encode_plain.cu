/*
 * Residual encode by the reference alone: any shape, any device.
 *
 * A block encodes one row, or four where they fit, all levels: the residuals stay in shared memory.
 * Groups of eight threads take the codewords in turn, a lane each.
 *
 * Bytes: rows once; each block reads all codewords, from the second-level cache. Operations:
 * n dim sum(K) fma in binary64. Bound: the cache's rate, 4 dim sum(K) bytes a block, on devices
 * with full binary64 units; those units elsewhere.
 */
#include "reference.cuh"

#define THREADS 256
#define GROUPS (THREADS / STK_GROUP)
/* Shared memory of a block, which every device has: 48 kB less what winners take; see below. */
#define SMALL_BYTES 40960

/* The first non-finite element of a row's residual, noted. All threads of the block. */
template <int ROWS>
static __device__ void
note_failures(const bool *bad, size_t first, int level, stk_encode_failure *failure)
{
	for (int r = 0; r < ROWS; r++)
	{
		if (__syncthreads_or(bad[r]) && threadIdx.x == 0)
			atomicMin(failure, stk_encode_failed(first + r, level < 0 ? -1 : level,
												 level < 0 ? STK_ENCODE_NOT_FINITE
														   : STK_ENCODE_OUT_OF_RANGE));
	}
}

template <int ROWS>
static __global__ void
__launch_bounds__(THREADS)
	encode_plain(const stk_device_level *levels, int nlevels, const float *__restrict__ x, size_t n,
				 size_t dim, uint16_t *codes, stk_encode_failure *failure, stk_encode_stats *stats)
{
	extern __shared__ float residuals[]; /* [ROWS][dim] */
	__shared__ double scores[ROWS][GROUPS];
	__shared__ uint32_t winners[ROWS][GROUPS];
	size_t first = (size_t) blockIdx.x * ROWS;
	int rows = n - first < ROWS ? (int) (n - first) : ROWS;
	int group = threadIdx.x / STK_GROUP;
	int lane = threadIdx.x % STK_GROUP;
	bool bad[ROWS] = {};

	for (int r = 0; r < ROWS; r++)
	{
		for (size_t i = threadIdx.x; i < dim; i += THREADS)
		{
			float v = r < rows ? x[(first + r) * dim + i] : 0;

			residuals[r * dim + i] = v;
			bad[r] |= !isfinite(v);
		}
	}
	note_failures<ROWS>(bad, first, -1, failure);
	for (int l = 0; l < nlevels; l++)
	{
		const stk_device_level *level = levels + l;
		double best[ROWS];
		uint32_t best_k[ROWS];

		for (int r = 0; r < ROWS; r++)
		{
			best[r] = INFINITY;
			best_k[r] = 0;
		}
		for (uint32_t k = group; k < level->size; k += GROUPS)
		{
			const float *c = level->codewords + k * dim;
			double sum[ROWS] = {};

			for (size_t i = lane; i < dim; i += STK_GROUP)
			{
				double v = c[i];

				for (int r = 0; r < ROWS; r++)
					sum[r] = fma((double) residuals[r * dim + i], v, sum[r]);
			}
			for (int r = 0; r < ROWS; r++)
			{
				double s = __dsub_rn(level->half[k], add_lanes(sum[r]));

				if (wins(s, k, best[r], best_k[r]))
				{
					best[r] = s;
					best_k[r] = k;
				}
			}
		}
		if (lane == 0)
		{
			for (int r = 0; r < ROWS; r++)
			{
				scores[r][group] = best[r];
				winners[r][group] = best_k[r];
			}
		}
		__syncthreads();
		if (threadIdx.x < ROWS)
		{
			int r = threadIdx.x;

			for (int g = 1; g < GROUPS; g++)
			{
				if (wins(scores[r][g], winners[r][g], scores[r][0], winners[r][0]))
				{
					scores[r][0] = scores[r][g];
					winners[r][0] = winners[r][g];
				}
			}
			if (r < rows)
				codes[(first + r) * nlevels + l] = (uint16_t) winners[r][0];
		}
		__syncthreads();
		if (l + 1 == nlevels)
			break;
		for (int r = 0; r < ROWS; r++)
		{
			const float *c = level->codewords + winners[r][0] * dim;

			bad[r] = false;
			for (size_t i = threadIdx.x; i < dim && r < rows; i += THREADS)
			{
				float v = __fsub_rn(residuals[r * dim + i], c[i]);

				residuals[r * dim + i] = v;
				bad[r] |= !isfinite(v);
			}
		}
		/* Its barriers also stand between these residuals and their use. */
		note_failures<ROWS>(bad, first, l + 1, failure);
	}
	if (threadIdx.x == 0 && stats)
		atomicAdd(&stats->reference, (unsigned long long) rows * nlevels);
}

template <int ROWS>
static stk_status
launch(const stk_encode_call *call, cudaStream_t stream, stk_error *err)
{
	size_t dim = (size_t) call->cb->dim;
	size_t bytes = ROWS * dim * sizeof(float);
	size_t blocks = (call->n + ROWS - 1) / ROWS;
	stk_status status = STK_OK;

	/* As much as any call may take: another thread's may take more than this one. */
	if (bytes > SMALL_BYTES)
		status = stk_cuda_status(cudaFuncSetAttribute(encode_plain<ROWS>,
													  cudaFuncAttributeMaxDynamicSharedMemorySize,
													  STK_MAX_DIM * sizeof(float)),
								 "take shared memory", err);
	if (status != STK_OK)
		return status;
	encode_plain<ROWS><<<(unsigned) blocks, THREADS, bytes, stream>>>(
		call->cb->on_dev, call->cb->levels, call->x, call->n, dim, call->codes, call->failure,
		call->stats);
	return stk_cuda_status(cudaGetLastError(), "encode rows on the device", err);
}

stk_status
stk_encode_plain_launch(const stk_encode_call *call, cudaStream_t stream, stk_error *err)
{
	if (call->n == 0)
		return STK_OK;
	if (4 * (size_t) call->cb->dim * sizeof(float) <= SMALL_BYTES)
		return launch<4>(call, stream, err);
	return launch<1>(call, stream, err);
}
