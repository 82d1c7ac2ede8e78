/*
 * Step 1 of encode_wide_hopper.cu: a warpgroup forms the block's rows, chunk by chunk, in slots of
 * shared memory from which the tensor units take them; and the order in which chunks come and go.
 *
 * A tile's rows are multiplied with PASS panels at a time, and each of these passes wants all
 * chunks. Odd passes take them in the other direction: so the chunks that a pass ends with are
 * there when the next begins, and only what the slots cannot hold is formed again. Slots are taken
 * in turn, and where the direction of the chunks turns, that of the slots does, too: a chunk that
 * stays is met in its slot, and each other slot is free for longer than any after it.
 */
#ifndef STK_WIDE_ROWS_CUH
#define STK_WIDE_ROWS_CUH

#include "hopper_rows.cuh"
#include "hopper_settle.cuh"

#define GROUPS 2
#define BLOCK_ROWS (GROUPS * GROUP_ROWS)
#define BLOCKS 2 /* of a cluster */
#define PASS 2   /* panels */
/* A slot has a chunk of the block's rows, or of a panel's codewords. */
#define SLOT_BYTES (BLOCK_ROWS * STK_CHUNK * 2)
#define MOST_ROW_SLOTS 5
/* Rows of a thread that forms: 8 apart. */
#define SIDE 4
/* Chunks of rows on their way from memory, as they are there. */
#define STAGES 2
#define STAGE_BYTES (BLOCK_ROWS * STK_CHUNK * 4)

static_assert(BLOCK_ROWS == STK_PANEL, "slots are of one size");

/* Where things lie in a block's shared memory, in bytes from a multiple of 1024. */
typedef struct wide_layout
{
	uint32_t panels_at; /* [panel_slots]; rows' slots are before it */
	uint32_t stages;    /* [STAGES], each thread's own 16 bytes side by side */
	uint32_t centre;    /* [wide_dim], scaled and negated */
	uint32_t norms;     /* [2][BLOCK_ROWS] of float2, of tiles in turn */
	uint32_t levels;    /* the launch's */
	uint32_t open;      /* [open_room] */
	uint32_t barriers;  /* as wide_memory has them, then open rows' counts */
	uint32_t bytes;
	uint32_t row_slots;
	uint32_t panel_slots;
	uint32_t open_room;
	uint32_t chunks;
} wide_layout;

typedef struct wide_args
{
	encode_args encode;
	wide_layout at;
	int level;    /* the first one */
	int levels;   /* how many, of which those behind the first go by their joints */
	size_t tiles; /* of BLOCKS x BLOCK_ROWS rows */
	stk_device_joint joints[STK_MOST_JOINT];
} wide_args;

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/* A block's shared memory, as addresses. */
struct wide_memory
{
	uint32_t base;
	uint32_t barriers;
	uint32_t row_slots;
	uint32_t panel_slots;

	__device__
	wide_memory(uint32_t at, const wide_layout &layout)
		: base(at), barriers(at + layout.barriers), row_slots(layout.row_slots),
		  panel_slots(layout.panel_slots)
	{
	}
	__device__ uint32_t
	rows_full(uint32_t slot) const
	{
		return barriers + 8 * slot;
	}
	__device__ uint32_t
	rows_empty(uint32_t slot) const
	{
		return barriers + 8 * (row_slots + slot);
	}
	__device__ uint32_t
	panel_full(uint32_t slot) const
	{
		return barriers + 8 * (2 * row_slots + slot);
	}
	__device__ uint32_t
	panel_empty(uint32_t slot) const
	{
		return barriers + 8 * (2 * row_slots + panel_slots + slot);
	}
	__device__ uint32_t
	count() const
	{
		return barriers + 24 * row_slots + 16 * panel_slots;
	}
	__device__ uint32_t
	rows_formed(uint32_t slot) const
	{
		return barriers + 16 * panel_slots + 8 * (2 * row_slots + slot);
	}
};

/* The first row of this block's tile in turn r. */
static __device__ inline size_t
tile_row(size_t r)
{
	size_t tile = blockIdx.x / BLOCKS + r * (gridDim.x / BLOCKS);

	return (tile * BLOCKS + cluster_rank()) * BLOCK_ROWS;
}

/* Rows' slots, as all who use them go through them. */
struct slot_walk
{
	uint32_t slot;
	uint32_t phases; /* bit s: parity of slot s's next filling */
	bool back;

	/* The parity of this slot's next filling, which is met now. */
	__device__ uint32_t
	meet()
	{
		uint32_t parity = phases >> slot & 1;

		phases ^= 1u << slot;
		return parity;
	}
	/* To the next chunk's slot, or in the other direction from this one on. */
	__device__ void
	step(uint32_t slots, bool turn)
	{
		if (turn)
			back = !back;
		else if (back)
			slot = slot == 0 ? slots - 1 : slot - 1;
		else
			slot = slot + 1 == slots ? 0 : slot + 1;
	}
};

/* The rows that a thread forms, from its first element of the first of them on. */
struct formed_rows
{
	const float *x;
	const uint16_t *codes;
	uint32_t left; /* rows behind it, or more than a thread's */

	__device__
	formed_rows(const encode_args &a, size_t first)
	{
		size_t at = first + (threadIdx.x >> 5 & 3) * (8 * SIDE) + (threadIdx.x >> 2 & 7);

		/* Behind the last row comes the last row, of which nobody wants to know more. */
		at = min(at, a.n - 1);
		left = (uint32_t) min(a.n - 1 - at, (size_t) 8 * SIDE);
		x = a.x + at * a.dim + 4 * (threadIdx.x & 3);
		codes = a.codes + at * a.nlevels;
	}
	__device__ uint32_t
	further(int h) const
	{
		return min(8u * h, left);
	}
};

/* The chunks that are formed, one after the other. */
struct fresh_walk
{
	uint32_t turn;
	uint32_t pass;
	uint32_t i;

	__device__ void
	step(uint32_t chunks, uint32_t passes, uint32_t slots)
	{
		if (++i < chunks)
			return;
		i = ++pass < passes ? slots : 0;
		if (pass == passes || slots >= chunks)
		{
			i = pass = 0;
			turn++;
		}
	}
};

/* Start to copy 16 bytes, of which there are `bytes`; zeros behind them. */
static __device__ inline void
copy_some(uint32_t to, const void *from, uint32_t bytes)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes)
				 : "memory");
}

/*
 * Start to bring what this thread wants of a chunk; nobody else looks at it. It takes no registers,
 * of which what is on its way would take too many.
 */
static __device__ inline void
fetch_chunk(const encode_args &a, const formed_rows &rows, uint32_t chunk, uint32_t to)
{
	const float *x = rows.x + chunk * STK_CHUNK;
	int left = a.dim - (int) (chunk * STK_CHUNK + 4 * (threadIdx.x & 3));

#pragma unroll
	for (int h = 0; h < SIDE; h++)
	{
#pragma unroll
		for (int s = 0; s < 4; s++)
			copy_some(to + (4 * h + s) * (128 * 16),
					  16 * s < left ? x + (rows.further(h) * a.dim + 16 * s) : a.x,
					  16 * s < left ? 16 : 0);
	}
}

/* Take the codewords of levels before off elements i and following of this thread's rows. */
static __device__ inline void
subtract_taken(const encode_args &a, int levels, const formed_rows &rows, int i, float4 (&v)[SIDE])
{
	if (i >= a.dim)
		return;
	for (int before = 0; before < levels; before++)
	{
#pragma unroll
		for (int h = 0; h < SIDE; h++)
		{
			const float *taken =
				a.levels[before].codewords +
				(size_t) __ldg(rows.codes + rows.further(h) * a.nlevels + before) * a.dim;

			v[h] = subtract(v[h], __ldg((const float4 *) (taken + i)));
		}
	}
}

/* No less than what is kept of this thread's t-th row, and what is lost; four threads have parts. */
static __device__ inline float2
norms_above(const float (&kept)[SIDE], const float (&lost)[SIDE], int dim)
{
	float2 own = {};

#pragma unroll
	for (int h = 0; h < SIDE; h++)
	{
		float k = __fadd_rn(kept[h], __shfl_xor_sync(~0u, kept[h], 1));
		float l = __fadd_rn(lost[h], __shfl_xor_sync(~0u, lost[h], 1));

		k = __fadd_rn(k, __shfl_xor_sync(~0u, k, 2));
		l = __fadd_rn(l, __shfl_xor_sync(~0u, l, 2));
		if (h == (threadIdx.x & 3))
			own = make_float2(k, l);
	}
	return make_float2(norm_above(own.x, dim), norm_above(own.y, dim));
}

/*
 * A warpgroup's work: all chunks of all tiles, and the rows' norms.
 *
 *   norms   [2][BLOCK_ROWS] out, in shared memory: a tile's are there when the last of its chunks is
 *   passes  over a tile's chunks
 */
template <bool RESIDUALS>
static __device__ __forceinline__ void
form_rows(const wide_args &w, const wide_memory &m, float2 *norms, uint32_t turns, uint32_t passes)
{
	const encode_args &a = w.encode;
	const stk_device_level &level = a.levels[w.level];
	const uint32_t chunks = w.at.chunks;
	const float scale = level.scale;
	int q = threadIdx.x >> 2 & 7;
	int t = threadIdx.x & 3;
	int warp = threadIdx.x >> 5 & 3;
	uint32_t own = warp * (8 * SIDE * 128) + 4 * t;
	uint32_t stage = m.base + w.at.stages + (threadIdx.x & 127) * 16;
	slot_walk walk = {};
	fresh_walk ahead = {};

	norms += warp * 8 * SIDE + 8 * t + q;
#pragma unroll 1
	for (int i = 0; i < STAGES; i++)
	{
		if (ahead.turn < turns)
			fetch_chunk(a, formed_rows(a, tile_row(ahead.turn)),
						ahead.pass & 1 ? chunks - 1 - ahead.i : ahead.i, stage + i * STAGE_BYTES);
		copies_commit();
		ahead.step(chunks, passes, m.row_slots);
	}
	for (uint32_t r = 0; r < turns; r++)
	{
		formed_rows rows(a, tile_row(r));
		float kept[SIDE] = {}, lost[SIDE] = {};

		for (uint32_t p = 0; p < passes; p++)
		{
			for (uint32_t i = 0; i < chunks; i++)
			{
				uint32_t chunk = p & 1 ? chunks - 1 - i : i;

				if (p == 0 || i >= m.row_slots)
				{
					uint32_t to = m.base + walk.slot * SLOT_BYTES + own;

					copies_wait<STAGES - 1>();
					barrier_wait(m.rows_empty(walk.slot), walk.meet() ^ 1);
#pragma unroll
					for (int s = 0; s < 4; s++)
					{
						uint32_t at = chunk * STK_CHUNK + 16 * s + 4 * t;
						float4 c =
							load_shared(m.base + w.at.centre + at * (uint32_t) sizeof(float));
						float4 v[SIDE];

#pragma unroll
						for (int h = 0; h < SIDE; h++)
							v[h] = load_shared(stage + (4 * h + s) * (128 * 16));
						if (RESIDUALS)
							subtract_taken(a, w.level, rows, (int) at, v);
#pragma unroll
						for (int h = 0; h < SIDE; h++)
						{
							store_word(to + 8 * h * 128 + swizzled(q, 2 * s),
									   round_two(__fmaf_rn(v[h].x, scale, c.x),
												 __fmaf_rn(v[h].y, scale, c.y), &kept[h],
												 &lost[h]));
							store_word(to + 8 * h * 128 + swizzled(q, 2 * s + 1),
									   round_two(__fmaf_rn(v[h].z, scale, c.z),
												 __fmaf_rn(v[h].w, scale, c.w), &kept[h],
												 &lost[h]));
						}
					}
					/* All loads have landed: what was stored came of them. */
					if (ahead.turn < turns)
						fetch_chunk(a, formed_rows(a, tile_row(ahead.turn)),
									ahead.pass & 1 ? chunks - 1 - ahead.i : ahead.i, stage);
					copies_commit();
					ahead.step(chunks, passes, m.row_slots);
					stage +=
						(stage - (m.base + w.at.stages) < STAGE_BYTES) ? STAGE_BYTES : -STAGE_BYTES;
					if (p == 0 && i + 1 == chunks)
						norms[(r & 1) * BLOCK_ROWS] = norms_above(kept, lost, a.dim);
					__syncwarp();
					if ((threadIdx.x & 31) == 0)
						barrier_arrive(m.rows_formed(walk.slot));
				}
				walk.step(m.row_slots, i + 1 == chunks && p + 1 < passes);
			}
		}
	}
}

/*
 * What has been formed is there for the tensor units, too, behind this thread's fence. Whoever forms
 * rows would wait there for those on their way, and whoever multiplies for products.
 */
static __device__ __forceinline__ void
pass_rows_on(const wide_args &w, const wide_memory &m, uint32_t turns, uint32_t passes)
{
	slot_walk walk = {};

	for (uint32_t r = 0; r < turns; r++)
	{
		for (uint32_t p = 0; p < passes; p++)
		{
			for (uint32_t i = 0; i < w.at.chunks; i++)
			{
				if (p == 0 || i >= m.row_slots)
				{
					barrier_wait(m.rows_formed(walk.slot), walk.meet());
					stores_ready();
					barrier_arrive(m.rows_full(walk.slot));
				}
				walk.step(m.row_slots, i + 1 == w.at.chunks && p + 1 < passes);
			}
		}
	}
}

#endif

#endif
