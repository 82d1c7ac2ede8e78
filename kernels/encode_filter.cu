/*
 * Residual encode by a certified filter on tensor cores, all levels in one kernel.
 *
 * A block has a tile of rows. At each level it
 *
 *    1. forms the residuals from the rows and the codes so far, rounds them to binary16 into shared
 *       memory, and bounds from their norms by how much the filter's scores may mislead (pack.cu);
 *    2. scores them against the codewords, which stream through shared memory in panels, and keeps
 *       of each row the best score and the codewords within the margin of it;
 *    3. takes the codeword that is alone, or lets the reference choose: among the candidates, or
 *       among all codewords where nothing is proved. Only then does the next level begin.
 *
 * Bytes: rows once from memory, 4 n dim; from the second-level cache the rows again for each level
 * after the first, the codewords chosen, and all packed codewords for each tile. Operations:
 * 2 n dim sum(K) in binary16. Bound: the tensor units' rate by mma.sync, about 60 % of what wgmma
 * reaches on Hopper, where sum(K) is some hundreds; memory's below.
 *
 * Blocks do not meet. A row's scores belong to one warp for each column of warps; where warps read
 * what others wrote, a barrier stands between.
 */
#include "filter_choose.cuh"
#include "filter_panel.cuh"
#include "filter_residuals.cuh"

template <typename S>
static __global__ void
__launch_bounds__(S::threads, S::blocks) encode_filter(const __grid_constant__ encode_args a)
{
#if __CUDA_ARCH__ >= 800
	extern __shared__ __align__(128) uint8_t memory[];
	uint8_t *tile = memory; /* [chunks][rows][STK_CHUNK] */
	uint8_t *stages = tile + (size_t) S::rows * a.wide_dim * sizeof(__half);
	row_store<S> *store = (row_store<S> *) (stages + STAGES * S::stage_bytes);
	size_t tile_row = (size_t) blockIdx.x * S::rows;
	int warp = threadIdx.x >> 5;
	int lane = threadIdx.x & 31;
	int column = warp % S::columns;
	int warp_row = warp / S::columns * 16 * S::mtiles;
	int chunks = a.wide_dim / STK_CHUNK;
	uint32_t tile_at = shared_address(tile) + warp_row * 128;
	uint32_t stages_at = shared_address(stages);
	uint32_t codes_at = stages_at + column * S::ntiles * 8 * 128;
	unsigned long long several = 0;
	unsigned long long reference = 0;

	for (int l = 0; l < a.nlevels; l++)
	{
		const stk_device_level &level = a.levels[l];
		int panels = (int) ((level.size + S::codes - 1) / S::codes);
		int steps = panels * chunks;
		int next_panel = (STAGES - 1) / chunks;
		int next_chunk = (STAGES - 1) % chunks;
		const uint16_t *packed = level.packed;
		float sums[S::mtiles][S::ntiles][4];
		float margin[2 * S::mtiles];
		float best[2 * S::mtiles];

		/* Nobody uses the stages, the tile or the store any more: a barrier ended the level before. */
#pragma unroll
		for (int s = 0; s < STAGES - 1; s++)
		{
			if (s < steps)
				copy_stage<S>(packed, chunks, s / chunks, s % chunks,
							  stages_at + s * S::stage_bytes);
			copies_commit();
		}
		for (int first = warp * AT_ONCE; first < S::rows; first += S::warps * AT_ONCE)
			form_residuals<S>(a, level, l, tile_row, first, tile, store);
		for (int i = threadIdx.x; i < S::columns * S::rows; i += S::threads)
			store->count[i / S::rows][i % S::rows] = 0;
		if (threadIdx.x == 0)
			store->queued = store->several = 0;
		__syncthreads();
#pragma unroll
		for (int r = 0; r < 2 * S::mtiles; r++)
		{
			margin[r] = store->margin[warp_row + 8 * r + (lane >> 2)];
			best[r] = -INFINITY;
		}
		for (int step = 0, chunk = 0, panel = 0, stage = 0; step < steps; step++)
		{
			if (chunk == 0)
			{
#pragma unroll
				for (int m = 0; m < S::mtiles; m++)
#pragma unroll
					for (int t = 0; t < S::ntiles; t++)
						sums[m][t][0] = sums[m][t][1] = sums[m][t][2] = sums[m][t][3] = 0;
			}
			copies_wait<STAGES - 2>();
			/* Everybody's copies have arrived, and everybody is done with the stage before. */
			__syncthreads();
			if (next_panel < panels)
			{
				copy_stage<S>(packed, chunks, next_panel, next_chunk,
							  stages_at + (stage == 0 ? STAGES - 1 : stage - 1) * S::stage_bytes);
				if (++next_chunk == chunks)
				{
					next_chunk = 0;
					next_panel++;
				}
			}
			copies_commit();
			multiply_chunk<S>(sums, tile_at + chunk * (S::rows * 128),
							  codes_at + stage * S::stage_bytes);
			if (++stage == STAGES)
				stage = 0;
			if (++chunk == chunks)
			{
				take_panel<S>(sums, level.offsets, panel * S::codes + column * S::ntiles * 8,
							  margin, best, warp_row, store->candidates[column],
							  store->count[column]);
				chunk = 0;
				panel++;
			}
		}
		copies_wait<0>();
		if ((lane & 3) == 0)
		{
#pragma unroll
			for (int r = 0; r < 2 * S::mtiles; r++)
				store->best[column][warp_row + 8 * r + (lane >> 2)] = best[r];
		}
		__syncthreads();
		decide<S>(a, l, tile_row, store);
		__syncthreads();
		for (int q = warp; q < store->queued; q += S::warps)
			choose<S>(a, level, l, tile_row, store->queue[q], store);
		several += store->several;
		reference += store->queued - store->several;
		__syncthreads();
	}
	if (threadIdx.x == 0 && a.stats && several + reference > 0)
	{
		atomicAdd(&a.stats->undecided, several);
		atomicAdd(&a.stats->reference, reference);
	}
#endif
}

/* Large tiles read the codewords seldom; small ones leave no processor idle, and fit long rows. */
typedef shape<2, 8, 4, 1, 3> large;
typedef shape<1, 8, 4, 2, 2> middle;
typedef shape<1, 4, 2, 4, 2> small;

typedef struct device_limits
{
	int processors;
	int shared; /* bytes a block may have */
	int major;
} device_limits;

/* What the current device has. */
static cudaError_t
read_limits(device_limits *limits)
{
	int device;
	cudaError_t code = cudaGetDevice(&device);

	if (code == cudaSuccess)
		code = cudaDeviceGetAttribute(&limits->processors, cudaDevAttrMultiProcessorCount, device);
	if (code == cudaSuccess)
		code = cudaDeviceGetAttribute(&limits->shared, cudaDevAttrMaxSharedMemoryPerBlockOptin,
									  device);
	if (code == cudaSuccess)
		code = cudaDeviceGetAttribute(&limits->major, cudaDevAttrComputeCapabilityMajor, device);
	return code;
}

bool
stk_encode_filter_takes(const stk_device_codebook *cb)
{
	device_limits limits;

	return read_limits(&limits) == cudaSuccess && limits.major >= 8 &&
		   shared_bytes<small>(cb->wide_dim) <= (size_t) limits.shared;
}

/* most: bytes that a block may have; all are allowed, since another thread may need more than this. */
template <typename S>
static stk_status
launch(const encode_args *args, int most, cudaStream_t stream, stk_error *err)
{
	size_t bytes = shared_bytes<S>(args->wide_dim);
	size_t tiles = (args->n + S::rows - 1) / S::rows;
	stk_status status = stk_cuda_status(
		cudaFuncSetAttribute(encode_filter<S>, cudaFuncAttributeMaxDynamicSharedMemorySize, most),
		"take shared memory", err);

	if (status != STK_OK)
		return status;
	encode_filter<S><<<(unsigned) tiles, S::threads, bytes, stream>>>(*args);
	return stk_cuda_status(cudaGetLastError(), "encode rows on the device", err);
}

stk_status
stk_encode_filter_launch(const stk_encode_call *call, cudaStream_t stream, stk_error *err)
{
	const stk_device_codebook *cb = call->cb;
	encode_args args = {cb->on_dev, cb->levels, cb->dim,     cb->wide_dim,  cb->dim % 4 == 0,
						call->x,    call->n,    call->codes, call->failure, call->stats};
	device_limits limits;
	size_t room;
	int tile = call->tile;
	stk_status status = stk_cuda_status(read_limits(&limits), "ask the device for its limits", err);

	if (status != STK_OK || call->n == 0)
		return status;
	room = (size_t) limits.shared;
	/* Where two large blocks fit a processor, and there is work for some turns of all of them. */
	if (call->tile == 0)
		tile = shared_bytes<large>(cb->wide_dim) <= room / 2 &&
					   call->n >= (size_t) limits.processors * 8 * large::rows
				   ? large::rows
			   : call->n >= (size_t) limits.processors * middle::rows ? middle::rows
																	  : small::rows;
	if (tile == large::rows && shared_bytes<large>(cb->wide_dim) <= room)
		return launch<large>(&args, limits.shared, stream, err);
	if (tile >= middle::rows && shared_bytes<middle>(cb->wide_dim) <= room)
		return launch<middle>(&args, limits.shared, stream, err);
	return launch<small>(&args, limits.shared, stream, err);
}
