/*
 * Residual encode of few rows by the certified filter, all levels in one kernel: a cluster of
 * blocks shares a tile of rows, and each block has a part of the codewords.
 *
 * With few rows nothing is short but time: a tile's way from memory to codes is a chain of waits.
 * So what may begin does before anything is waited for: bulk copies bring rows and codewords at
 * once, and the next level's codewords while this one ends; residuals stay in shared memory, for
 * the next level and for the reference; and a level costs the cluster one barrier, a second one
 * where another level follows. Nor is code run once cheap, which has to be fetched: loops stay loops. At
 * each level each block
 *
 *    1. forms all of the tile's residuals, rounds them to binary16 and bounds what that may mislead
 *       (pack.cu), as every block of the cluster does for itself;
 *    2. scores them against its part of the codewords, and of each row sends its best score and the
 *       codewords within the margin of it to the block that owns the row;
 *    3. behind the barrier, for the rows it owns: takes the codeword that is alone, or lets the
 *       reference choose among those left, or among all where nothing is proved; and tells the code
 *       to every block of the cluster.
 *
 * Bytes: rows once from memory, then PARTS times from the second-level cache; a tile's blocks read
 * all packed codewords from there. Operations: 2 n dim sum(K) in binary16 by mma.sync. Bound:
 * latency; with more rows than some thousand the processors have work enough without sharing it.
 *
 * Blocks of a cluster meet at its barriers only, and nothing is stored into a block that may have
 * ended: after the last barrier each looks at its own memory alone.
 */
#include "few_settle.cuh"
#include "few_turn.cuh"

template <int ROWS>
static __global__ void
__launch_bounds__(THREADS, 3) encode_few(const __grid_constant__ few_args a)
{
#if __CUDA_ARCH__ >= 900
	constexpr int groups = WARPS / (ROWS / 16); /* warps that share rows */
	extern __shared__ __align__(128) uint8_t memory[];
	few_store<ROWS> *store = (few_store<ROWS> *) memory;
	uint8_t *stages = memory + sizeof(few_store<ROWS>);
	uint8_t *tile = stages + (size_t) a.stages * a.stage_bytes;
	float *residuals = (float *) (tile + (size_t) ROWS * a.wide_dim * sizeof(__half));
	few_memory<ROWS> m = {store, stages, tile, residuals, residuals + ROWS * a.wide_dim};
	uint32_t parts = 1u << a.parts_log;
	uint32_t rank = cluster_rank();
	uint32_t warp = threadIdx.x >> 5;
	uint32_t lane = threadIdx.x & 31;
	size_t tile_row = (size_t) (blockIdx.x >> a.parts_log) * ROWS;
	int chunks = a.wide_dim / STK_CHUNK;
	uint32_t rows_at = shared_address(tile) + warp / groups * 16 * 128;
	uint32_t codes_at = shared_address(stages) + warp % groups * NTILES * 8 * 128;
	few_cursor coming = {};
	stk_device_level level;
	int stage = 0;
	uint32_t parity = 0;

	if (threadIdx.x == 0)
	{
		barrier_init(shared_address(&store->rows_there), 1);
#pragma unroll 1
		for (int s = 0; s < a.stages; s++)
			barrier_init(shared_address(&store->stage_there[s]), 1);
		barriers_ready();
	}
	/* Rows behind the last take a codeword, too. */
	if (threadIdx.x < ROWS)
		store->code[threadIdx.x] = 0;
	__syncwarp();
	if (warp == 0)
		start_rows<ROWS>(a, tile_row, m);
	if (threadIdx.x == 0)
	{
#pragma unroll 1
		for (int s = 0; s < a.stages; s++)
			start_stage<ROWS>(a, &coming, m);
	}
	/* Others store here once all blocks have begun. */
	cluster_begin();
	__syncthreads();
	/* What the reference may look at comes closer meanwhile. */
	if (tile_row == 0)
	{
		few_part p = part_of<ROWS>(a.near[0].size, rank, a.parts_log);
		const uint8_t *first = (const uint8_t *) (a.near[0].codewords + (size_t) p.begin * a.dim);
		const uint8_t *last =
			(const uint8_t *) (a.near[0].codewords + (size_t) min(p.end, a.near[0].size) * a.dim);

#pragma unroll 1
		for (first += threadIdx.x * 128; first < last; first += THREADS * 128)
			bring_near(first);
	}
	level = level_of(a, 0);
	complete_rows<ROWS>(a, tile_row, m);
	if (a.cosine)
		normalize_rows<ROWS>(a, tile_row, m.residuals);
#pragma unroll 1
	for (int l = 0; l < a.nlevels; l++)
	{
		float best[2] = {-INFINITY, -INFINITY};
		few_part p;

		if (threadIdx.x < ROWS)
			store->count[threadIdx.x] = 0;
		if (threadIdx.x == 0)
			store->queued = 0;
		if (l > 0)
		{
			const float *taken = level.codewords;

			level = level_of(a, l);
			subtract_codewords<ROWS>(a, taken, m.residuals, store);
			barrier_wait(shared_address(&store->rows_there), l & 1);
		}
		p = part_of<ROWS>(level.size, rank, a.parts_log);
		form_tile<ROWS>(a, level, l, tile_row, m);
		__syncthreads();
		if (threadIdx.x == 0 && l + 1 < a.nlevels)
		{
			uint32_t bytes = a.wide_dim * sizeof(float);
			uint32_t barrier = shared_address(&store->rows_there);

			barrier_expect(barrier, bytes);
			bulk_copy(shared_address(m.centre),
					  l + 1 < NEAR_LEVELS ? a.near[l + 1].centre : a.levels[l + 1].centre, bytes,
					  barrier);
		}
		if (l == 0)
			cluster_wait();
#pragma unroll 1
		for (int turn = 0; turn < p.turns; turn++)
		{
			uint32_t first = p.begin + turn * turn_codes<ROWS>() + warp % groups * NTILES * 8;
			bool any = first < p.end;
			float sums[NTILES][4] = {};
			float2 offsets[NTILES] = {};

#pragma unroll
			for (int t = 0; t < NTILES && any; t++)
				offsets[t] =
					__ldg((const float2 *) (level.offsets + first + 8 * t + 2 * (lane % 4)));

#pragma unroll 1
			for (int chunk = 0; chunk < chunks; chunk++)
			{
				barrier_wait(shared_address(&store->stage_there[stage]), parity);
				if (any)
					multiply_stage(sums, rows_at + chunk * (ROWS * 128),
								   codes_at + stage * a.stage_bytes);
				if (a.refilled)
				{
					/* Everybody is done with the stage. */
					__syncthreads();
					if (threadIdx.x == 0)
						start_stage<ROWS>(a, &coming, m);
				}
				if (++stage == a.stages)
				{
					stage = 0;
					parity ^= 1;
				}
			}
			take_turn<ROWS>(sums, any, offsets, first, turn, best, rank, a.parts_log, store);
		}
		__syncthreads();
		/* The first warps of the rows know the block's best of all of them. */
		if (warp % groups == 0 && lane % 4 == 0)
		{
#pragma unroll
			for (int r = 0; r < 2; r++)
			{
				uint32_t row = warp / groups * 16 + 8 * r + lane / 4;
				uint32_t slot = row >> a.parts_log << a.parts_log | rank;

				store_there(address_in(shared_address(&store->part_best[slot]), row & (parts - 1)),
							__float_as_uint(best[r]));
				store_there(address_in(shared_address(&store->part_count[slot]), row & (parts - 1)),
							(uint32_t) store->count[row]);
			}
		}
		cluster_arrive();
		cluster_wait();
#pragma unroll 1
		for (uint32_t j = warp; j * parts < ROWS; j += WARPS)
		{
			if (tile_row + j * parts + rank < a.n)
				settle_row<ROWS>(a, level, l, tile_row, (int) j, rank, parts, m.residuals, store);
		}
		__syncthreads();
#pragma unroll 1
		for (int q = 0; q < store->queued; q++)
			settle_by_reference<ROWS>(a, level, l, tile_row, store->queue[q], parts, m.residuals,
									  store);
		if (l + 1 < a.nlevels)
		{
			cluster_arrive();
			cluster_wait();
		}
	}
#endif
}

/* How many rows a tile has, how many blocks share it, and what they need. */
typedef struct few_plan
{
	int rows;
	int parts;
	int stages;
	int stage_bytes;
	bool refilled; /* there are more chunks than stages */
	size_t bytes;
	int most; /* bytes that a block may have */
	size_t tiles;
} few_plan;

/* parts is 1, 2, 4 or 8. */
static uint32_t
log_of(int parts)
{
	return parts == 8 ? 3 : parts == 4 ? 2 : parts == 2 ? 1 : 0;
}

/* Shared memory for tiles of ROWS rows; false where there is too little. */
template <int ROWS>
static bool
fit_plan(const stk_device_codebook *cb, int shared, few_plan *plan)
{
	int chunks = cb->wide_dim / STK_CHUNK;
	int widest = 0, all = 0;

	for (int l = 0; l < cb->levels; l++)
	{
		few_part p = part_of<ROWS>(cb->on_host[l].size, 0, log_of(plan->parts));
		int codes = (int) (p.end - p.begin);

		all += p.turns * chunks;
		codes = codes < turn_codes<ROWS>() ? codes : turn_codes<ROWS>();
		widest = codes > widest ? codes : widest;
	}
	plan->stage_bytes = widest * STK_CHUNK * (int) sizeof(uint16_t);
	plan->stages = all < MOST_STAGES ? all : MOST_STAGES;
	while (plan->stages > 2 &&
		   few_bytes<ROWS>(cb->wide_dim, plan->stages, plan->stage_bytes) > (size_t) shared)
		plan->stages--;
	plan->refilled = plan->stages < all;
	plan->bytes = few_bytes<ROWS>(cb->wide_dim, plan->stages, plan->stage_bytes);
	return plan->bytes <= (size_t) shared;
}

/* No plan: rows 0. Some devices have no clusters, and some rows are too long for shared memory. */
static cudaError_t
make_plan(const stk_encode_call *call, few_plan *plan)
{
	const stk_device_codebook *cb = call->cb;
	uint32_t units = (cb->largest + 8 * NTILES - 1) / (8 * NTILES);
	int device, processors, shared, major;
	cudaError_t code = cudaGetDevice(&device);

	if (code == cudaSuccess)
		code = cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
	if (code == cudaSuccess)
		code = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
	if (code == cudaSuccess)
		code = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
	if (code != cudaSuccess || major < 9)
		return code;
	plan->most = shared;
	plan->rows = call->tile ? call->tile : 16;
	plan->parts = call->parts;
	if (plan->parts == 0)
	{
		/*
		 * As many as keep the processors busy, each with 32 codewords at least; eight where they
		 * leave half of the processors idle and have 64 each.
		 */
		size_t tiles = (call->n + 15) / 16;

		plan->parts = 1;
		while (plan->parts < 4 && tiles * plan->parts * 2 <= (size_t) processors &&
			   (uint32_t) plan->parts * 4 <= units)
			plan->parts *= 2;
		if (plan->parts == 4 && tiles * 16 <= (size_t) processors && units >= 32)
			plan->parts = 8;
	}
	if (plan->rows == 32 && !fit_plan<32>(cb, shared, plan))
		plan->rows = 16;
	if (plan->rows == 16 && !fit_plan<16>(cb, shared, plan))
		plan->rows = 0;
	if (plan->rows)
		plan->tiles = (call->n + (size_t) plan->rows - 1) / (size_t) plan->rows;
	return code;
}

template <int ROWS>
static cudaError_t
launch(const few_args *args, const few_plan *plan, cudaStream_t stream)
{
	cudaLaunchConfig_t config = {};
	cudaLaunchAttribute cluster = {};
	/* Not what this call takes: another thread's call may take more, and launch after this. */
	cudaError_t code = cudaFuncSetAttribute(
		encode_few<ROWS>, cudaFuncAttributeMaxDynamicSharedMemorySize, plan->most);

	cluster.id = cudaLaunchAttributeClusterDimension;
	cluster.val.clusterDim.x = (unsigned) plan->parts;
	cluster.val.clusterDim.y = cluster.val.clusterDim.z = 1;
	config.gridDim = dim3((unsigned) (plan->tiles * plan->parts));
	config.blockDim = dim3(THREADS);
	config.dynamicSmemBytes = plan->bytes;
	config.stream = stream;
	config.attrs = &cluster;
	config.numAttrs = 1;
	if (code == cudaSuccess)
		code = cudaLaunchKernelEx(&config, encode_few<ROWS>, *args);
	return code;
}

bool
stk_encode_few_takes(const stk_encode_call *call)
{
	few_plan plan = {};

	return make_plan(call, &plan) == cudaSuccess && plan.rows > 0;
}

stk_status
stk_encode_few_launch(const stk_encode_call *call, cudaStream_t stream, stk_error *err)
{
	const stk_device_codebook *cb = call->cb;
	few_args args = {};
	few_plan plan = {};
	cudaError_t code = make_plan(call, &plan);

	if (call->n == 0)
		return STK_OK;
	for (int l = 0; l < cb->levels && l < NEAR_LEVELS; l++)
		args.near[l] = cb->on_host[l];
	args.levels = cb->on_dev;
	args.nlevels = cb->levels;
	args.dim = cb->dim;
	args.wide_dim = cb->wide_dim;
	args.aligned = cb->dim % 4 == 0;
	args.cosine = cb->metric == STK_COSINE;
	args.x = call->x;
	args.n = call->n;
	args.codes = call->codes;
	args.failure = call->failure;
	args.stats = call->stats;
	args.parts_log = log_of(plan.parts);
	args.stages = plan.stages;
	args.stage_bytes = plan.stage_bytes;
	args.refilled = plan.refilled;
	if (code == cudaSuccess)
		code =
			plan.rows == 32 ? launch<32>(&args, &plan, stream) : launch<16>(&args, &plan, stream);
	return stk_cuda_status(code, "encode few rows on the device", err);
}
