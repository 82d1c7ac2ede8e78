/*
 * How encode_few.cu cuts its work: what a block has in shared memory, and the arguments of the
 * kernel. Step 1: residuals, rounded to binary16, and the margins that go with them.
 */
#ifndef STK_FEW_TILE_CUH
#define STK_FEW_TILE_CUH

#include "cluster.cuh"
#include "filter_residuals.cuh"

#define WARPS 8
#define THREADS (32 * WARPS)
/* A warp has 16 rows and so many tiles of 8 codewords a turn. */
#define NTILES 2
/* Chunks of codewords in shared memory at most: one multiplied, the others on their way. */
#define MOST_STAGES 8
#define MOST_PARTS 8
/* Candidates kept of a row by each part. */
#define KEPT 16
/* Levels that travel as arguments; those behind are read from memory. */
#define NEAR_LEVELS 4

typedef struct few_args
{
	stk_device_level near[NEAR_LEVELS];
	const stk_device_level *levels;
	int nlevels;
	int dim;
	int wide_dim;
	uint32_t parts_log; /* blocks of a cluster: 1 << parts_log */
	int stages;
	int stage_bytes; /* of codewords' chunks */
	bool refilled;   /* stages are used more than once */
	bool aligned;    /* rows of 16 bytes' multiple */
	bool cosine;
	const float *x;
	size_t n;
	uint16_t *codes;
	stk_encode_failure *failure;
	stk_encode_stats *stats;
} few_args;

/* Codewords of a block's turn: a power of two, so that no turn leaves a panel. */
template <int ROWS>
static __host__ __device__ constexpr int
turn_codes()
{
	return WARPS / (ROWS / 16) * NTILES * 8;
}

/* A block's shared memory before stages, tile and residuals. */
template <int ROWS> struct alignas(128) few_store
{
	candidate kept[ROWS][KEPT]; /* of owned row j, part p: [j * parts + p] */
	float part_best[ROWS];      /* likewise */
	int part_count[ROWS];       /* likewise; beyond KEPT: some were dropped */
	float warp_best[2][WARPS][16];
	float margin[ROWS]; /* not finite: nothing is proved */
	int count[ROWS];    /* what this part sent */
	uint32_t code[ROWS];
	uint32_t choice[WARPS][MOST_PARTS * KEPT];
	double scores[WARPS];
	uint32_t winners[WARPS];
	int queue[ROWS]; /* owned rows of which nothing is proved */
	int queued;
	uint64_t rows_there; /* barriers; a phase for each level */
	uint64_t stage_there[MOST_STAGES];
};

template <int ROWS> struct few_memory
{
	few_store<ROWS> *store;
	uint8_t *stages;  /* [stages][codewords of a turn][STK_CHUNK] */
	uint8_t *tile;    /* [chunks][ROWS][STK_CHUNK], binary16, swizzled */
	float *residuals; /* [ROWS][wide_dim] */
	float *centre;    /* [wide_dim], the level's */
};

template <int ROWS>
static __host__ __device__ inline size_t
few_bytes(int wide_dim, int stages, int stage_bytes)
{
	return sizeof(few_store<ROWS>) + (size_t) stages * stage_bytes +
		   (size_t) ROWS * wide_dim * (sizeof(float) + sizeof(__half)) + wide_dim * sizeof(float);
}

/* Level l: what its numbers are is known to the device alone where codewords were packed there. */
static __device__ inline stk_device_level
level_of(const few_args &a, int l)
{
	stk_device_level level = l < NEAR_LEVELS ? a.near[l] : a.levels[l];

	level.scale = a.levels[l].scale;
	level.by_norm = a.levels[l].by_norm;
	level.by_lost = a.levels[l].by_lost;
	level.fixed = a.levels[l].fixed;
	return level;
}

/* Start to bring the first level's centre and the tile's rows; the first warp. */
template <int ROWS>
static __device__ inline void
start_rows(const few_args &a, size_t tile_row, const few_memory<ROWS> &m)
{
	uint32_t barrier = shared_address(&m.store->rows_there);
	int rows = a.n - tile_row < ROWS ? (int) (a.n - tile_row) : ROWS;
	int lane = threadIdx.x;

	if (lane == 0)
	{
		barrier_expect(barrier,
					   (uint32_t) ((a.aligned ? rows * a.dim : 0) + a.wide_dim) * sizeof(float));
		bulk_copy(shared_address(m.centre), a.near[0].centre, a.wide_dim * sizeof(float), barrier);
	}
	__syncwarp();
	if (a.aligned && lane < rows)
		bulk_copy(shared_address(m.residuals + lane * a.wide_dim), a.x + (tile_row + lane) * a.dim,
				  (uint32_t) a.dim * sizeof(float), barrier);
}

/* What bulk copies leave: rows that they cannot bring, and zeros. Each warp its own rows. */
template <int ROWS>
static __device__ inline void
complete_rows(const few_args &a, size_t tile_row, const few_memory<ROWS> &m)
{
#pragma unroll 1
	for (int row = threadIdx.x / 32; row < ROWS; row += WARPS)
	{
		bool inside = tile_row + row < a.n;

#pragma unroll 1
		for (int i = (inside && a.aligned ? a.dim : 0) + threadIdx.x % 32; i < a.wide_dim; i += 32)
			m.residuals[row * a.wide_dim + i] =
				inside && i < a.dim ? a.x[(tile_row + row) * a.dim + i] : 0;
	}
	barrier_wait(shared_address(&m.store->rows_there), 0);
	__syncwarp();
}

/* Under cosine: divide rows by their lengths as normalize.cu does; each warp its own rows. */
template <int ROWS>
static __device__ __noinline__ void
normalize_rows(const few_args &a, size_t tile_row, float *residuals)
{
	int lane = threadIdx.x % STK_GROUP;
	int turn = (threadIdx.x & 31) / STK_GROUP;
	int row = (int) (threadIdx.x >> 5) + WARPS * turn;
	float *r = residuals + row * a.wide_dim;
	double sum = 0;
	double norm;
	bool finite = true;

	static_assert(ROWS / WARPS <= 32 / STK_GROUP, "a warp has a group for each of its rows");
	if (row < ROWS)
	{
		/* Zeros behind the end change nothing: a lane is never -0. */
#pragma unroll 1
		for (int i = lane; i < a.wide_dim; i += STK_GROUP)
		{
			finite &= isfinite(r[i]) != 0;
			sum = fma((double) r[i], (double) r[i], sum);
		}
		norm = __dsqrt_rn(add_lanes(sum));
		finite = __all_sync(group_mask(), finite);
		if (lane == 0 && tile_row + row < a.n && cluster_rank() == 0 && (!finite || norm == 0))
			atomicMin(a.failure,
					  stk_encode_failed(tile_row + row, -1,
										finite ? STK_ENCODE_ZERO : STK_ENCODE_NOT_FINITE));
			/* A row that failed becomes zeros: it must not fail again under another name. */
#pragma unroll 1
		for (int i = lane; i < a.wide_dim; i += STK_GROUP)
			r[i] = finite && norm != 0 ? __double2float_rn(__ddiv_rn((double) r[i], norm)) : 0;
	}
	__syncwarp();
}

/* Take the codewords chosen at the level before off the residuals; each warp its own rows. */
template <int ROWS>
static __device__ inline void
subtract_codewords(const few_args &a, const float *taken, float *residuals,
				   const few_store<ROWS> *store)
{
	constexpr int rows = ROWS / WARPS;
	int warp = threadIdx.x >> 5;

#pragma unroll 1
	for (int i = threadIdx.x & 31; i < a.dim; i += 32)
	{
		float c[rows];

#pragma unroll
		for (int q = 0; q < rows; q++)
			c[q] = __ldg(taken + (size_t) store->code[warp + WARPS * q] * a.dim + i);
#pragma unroll
		for (int q = 0; q < rows; q++)
		{
			float *r = residuals + (warp + WARPS * q) * a.wide_dim + i;

			*r = __fsub_rn(*r, c[q]);
		}
	}
	__syncwarp();
}

/* A residual without a finite margin: is it finite itself? If not, say so. A whole warp. */
static __device__ __noinline__ void
check_residual(const few_args &a, int l, size_t row, const float *r)
{
	bool finite = true;

#pragma unroll 1
	for (int i = threadIdx.x & 31; i < a.dim; i += 32)
		finite &= isfinite(r[i]) != 0;
	if (!__all_sync(~0u, finite) && (threadIdx.x & 31) == 0)
		atomicMin(a.failure,
				  stk_encode_failed(row, l == 0 ? -1 : l,
									l == 0 ? STK_ENCODE_NOT_FINITE : STK_ENCODE_OUT_OF_RANGE));
}

/* Step 1: the binary16 tile and the margins, from residuals; each warp its own rows. */
template <int ROWS>
static __device__ inline void
form_tile(const few_args &a, const stk_device_level &level, int l, size_t tile_row,
		  const few_memory<ROWS> &m)
{
	constexpr int rows = ROWS / WARPS;
	int warp = threadIdx.x >> 5;
	int lane = threadIdx.x & 31;
	float kept[rows] = {};
	float lost[rows] = {};

#pragma unroll 1
	for (int i = 4 * lane; i < a.wide_dim; i += 128)
	{
		float4 centre = *(const float4 *) (m.centre + i);
		uint8_t *to = m.tile + (i / STK_CHUNK) * (ROWS * 128) + (i & 12);
		int unit = i % STK_CHUNK / 16 * 2;

#pragma unroll
		for (int q = 0; q < rows; q++)
		{
			int row = warp + WARPS * q;
			float4 y = subtract(*(const float4 *) (m.residuals + row * a.wide_dim + i), centre);
			__half2 low, high;

			low.x = round_element(y.x * level.scale, &kept[q], &lost[q]);
			low.y = round_element(y.y * level.scale, &kept[q], &lost[q]);
			high.x = round_element(y.z * level.scale, &kept[q], &lost[q]);
			high.y = round_element(y.w * level.scale, &kept[q], &lost[q]);
			/* Permuted as codewords are: stk_packed_at. */
			*(__half2 *) (to + swizzled(row, unit)) = low;
			*(__half2 *) (to + swizzled(row, unit + 1)) = high;
		}
	}
#pragma unroll 1
	for (int step = 16; step > 0; step >>= 1)
	{
#pragma unroll
		for (int q = 0; q < rows; q++)
		{
			kept[q] = __fadd_rn(kept[q], __shfl_xor_sync(~0u, kept[q], step));
			lost[q] = __fadd_rn(lost[q], __shfl_xor_sync(~0u, lost[q], step));
		}
	}
	/* Lane q works the margin of row q out. */
#pragma unroll
	for (int q = 1; q < rows; q++)
	{
		kept[0] = lane == q ? kept[q] : kept[0];
		lost[0] = lane == q ? lost[q] : lost[0];
	}
	float norm = norm_above(kept[0], a.dim);
	float away = norm_above(lost[0], a.dim);
	float margin;

	/* The subtraction of the centre rounded, and so may have the scaling. */
	away = __fmaf_ru(norm + away, 0x1.1p-24f, away) + (float) a.dim * 0x1p-149f;
	margin = __fmaf_ru(norm, level.by_norm, __fmaf_ru(away, level.by_lost, level.fixed));
	if (lane < rows)
		m.store->margin[warp + WARPS * lane] = margin;
	/* What is not finite leaves no margin finite; one block of the cluster says so. */
	for (unsigned strange = __ballot_sync(~0u, lane < rows && !isfinite(margin));
		 strange && cluster_rank() == 0; strange &= strange - 1)
	{
		int row = warp + WARPS * (__ffs(strange) - 1);

		if (tile_row + row < a.n)
			check_residual(a, l, tile_row + row, m.residuals + row * a.wide_dim);
	}
}

#endif
