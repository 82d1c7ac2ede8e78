/*
 * encode_hopper.cu's filter for rows longer than a thread's registers hold: up to 768 elements.
 *
 * A block has 128 rows, two warpgroups of 64; it forms their residuals from memory and rounds them
 * to binary16 into shared memory, where the tensor units read them, and multiplies them with
 * codewords that stream through slots of one chunk of one panel: 128 codewords x 64 elements. Two
 * blocks of a cluster have different rows and the same codewords: each copies half of a chunk, to
 * both.
 *
 * Bytes: rows once from memory, 4 n dim, and from the second-level cache for each level after the
 * first; there also the codewords chosen, and all panels once for each 256 rows. Operations: 2 n
 * dim sum(K) in binary16. Bound: the second-level cache, then the tensor units.
 *
 * Waits: a consumer for copies; a copy for the consumers of both blocks; at the end the blocks of a
 * cluster for each other. They run together, or not at all.
 */
#include "hopper_rows.cuh"
#include "hopper_settle.cuh"

#ifdef STK_HAVE_HOPPER

#define GROUPS 2
#define THREADS (128 * (GROUPS + 1))
#define BLOCKS 2 /* of a cluster */
#define SLOT_BYTES (STK_PANEL * STK_CHUNK * 2)
#undef OPEN_ROOM
#define OPEN_ROOM 12
#define REGISTERS 224

/* Where things lie in a block's shared memory, in bytes from a multiple of 1024. */
typedef struct wide_layout
{
	uint32_t slots_at; /* after the rows, [GROUPS][chunks][GROUP_ROWS][STK_CHUNK] */
	uint32_t open;
	uint32_t barriers; /* full, empty; then open rows' count */
	uint32_t bytes;
	uint32_t slots;
	uint32_t chunks;
} wide_layout;

typedef struct wide_args
{
	encode_args encode;
	wide_layout at;
	size_t tiles; /* of BLOCKS x GROUPS x GROUP_ROWS rows */
} wide_args;

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define CLUSTER __cluster_dims__(BLOCKS, 1, 1)

/*
 * Step 1 for a warp's 16 rows, from `first` on: residuals rounded into its part of the group's
 * rows, and their margins. Rows behind the last are as the last.
 */
static __device__ inline void
form_rows(const encode_args &a, const stk_device_level &level, int l, size_t first,
		  uint32_t rows_at, float (&margin)[2])
{
	int q = threadIdx.x >> 2 & 7;
	int t = threadIdx.x & 3;
	float kept[2] = {}, lost[2] = {};
	float scale = level.scale;
	const float *x[2];
	const uint16_t *codes[2];
	bool inside[2];

#pragma unroll
	for (int h = 0; h < 2; h++)
	{
		size_t row = min(first + q + 8 * h, a.n - 1);

		inside[h] = first + q + 8 * h < a.n;

		x[h] = a.x + row * a.dim;
		codes[h] = a.codes + row * a.nlevels;
	}
	for (int c = 0; c < a.wide_dim; c += STK_CHUNK)
	{
		float4 v[2][4];

#pragma unroll
		for (int h = 0; h < 2; h++)
		{
#pragma unroll
			for (int s = 0; s < 4; s++)
			{
				int i = c + 16 * s + 4 * t;

				v[h][s] = i < a.dim ? __ldg((const float4 *) (x[h] + i)) : make_float4(0, 0, 0, 0);
			}
		}
		for (int before = 0; before < l; before++)
		{
			const float *codewords = a.levels[before].codewords;

#pragma unroll
			for (int h = 0; h < 2; h++)
			{
				/* The last row's code is another warp's, which may not have it yet. */
				uint32_t code = inside[h] ? codes[h][before] : 0;
				const float *taken = codewords + (size_t) code * a.dim;

#pragma unroll
				for (int s = 0; s < 4; s++)
				{
					int i = c + 16 * s + 4 * t;

					if (i < a.dim)
						v[h][s] = subtract(v[h][s], __ldg((const float4 *) (taken + i)));
				}
			}
		}
#pragma unroll
		for (int s = 0; s < 4; s++)
		{
			float4 m = __ldg((const float4 *) (level.centre + c + 16 * s + 4 * t));

#pragma unroll
			for (int h = 0; h < 2; h++)
			{
				float4 y = subtract(v[h][s], m);
				uint32_t at = rows_at + c / STK_CHUNK * (GROUP_ROWS * 128) + 8 * h * 128 + 4 * t;

				store_word(at + swizzled(q, 2 * s),
						   round_two(y.x * scale, y.y * scale, &kept[h], &lost[h]));
				store_word(at + swizzled(q, 2 * s + 1),
						   round_two(y.z * scale, y.w * scale, &kept[h], &lost[h]));
			}
		}
	}
	row_margins(level, a.dim, kept, lost, margin);
}

/* Bring chunks of panels, this block's half of each to both blocks; one thread. */
static __device__ inline void
bring_chunks(const wide_args &a, uint32_t memory, uint32_t full, uint32_t empty, size_t turns)
{
	uint32_t half = cluster_rank() * (SLOT_BYTES / BLOCKS);
	uint32_t slot = 0;
	uint32_t turn = 0;

	for (size_t r = 0; r < turns; r++)
	{
		for (int l = 0; l < a.encode.nlevels; l++)
		{
			const uint8_t *from = (const uint8_t *) a.encode.levels[l].packed + half;

			for (uint32_t i = a.encode.levels[l].panels * a.at.chunks; i > 0; i--)
			{
				if (turn > 0)
					barrier_wait_cluster(empty + 8 * slot, (turn - 1) & 1);
				barrier_expect(full + 8 * slot, SLOT_BYTES);
				bulk_copy_to_all(memory + a.at.slots_at + slot * SLOT_BYTES + half, from,
								 SLOT_BYTES / BLOCKS, full + 8 * slot, (1 << BLOCKS) - 1);
				from += SLOT_BYTES;
				if (++slot == a.at.slots)
				{
					slot = 0;
					turn++;
				}
			}
		}
	}
}

/* A slot is empty when all warps of consumers of both blocks say so. */
static __device__ inline void
leave_slot(uint32_t empty)
{
	if ((threadIdx.x & 31) < BLOCKS)
		barrier_arrive_at(empty, threadIdx.x & 31);
}

/* A consumer's work: warpgroup g, all its rows. */
template <int RECORDS>
static __device__ inline void
consume(const wide_args &a, uint32_t memory, uint32_t full, uint32_t empty, int g, size_t turns,
		const open_list<RECORDS> &list, settled *so_far)
{
	int warp = threadIdx.x >> 5 & 3;
	int lane = threadIdx.x & 31;
	uint32_t rows_at = memory + g * a.at.chunks * (GROUP_ROWS * 128);
	uint32_t slot = 0;
	uint32_t turn = 0;

	for (size_t r = 0; r < turns; r++)
	{
		size_t tile = blockIdx.x / BLOCKS + r * (gridDim.x / BLOCKS);
		size_t group = (tile * BLOCKS + cluster_rank()) * GROUPS + g;
		size_t first = group * GROUP_ROWS + warp * WARP_ROWS;

		for (int l = 0; l < a.encode.nlevels; l++)
		{
			const stk_device_level &level = a.encode.levels[l];
			float margin[2], best[2] = {-INFINITY, -INFINITY};
			row_hits<RECORDS> hits[2];

			form_rows(a.encode, level, l, first, rows_at + warp * (WARP_ROWS * 128), margin);
			forget_hits(&hits[0]);
			forget_hits(&hits[1]);
			/* All rows of the group are there before its products begin. */
			stores_ready();
			group_meet(2 + g);
			for (uint32_t p = 0; p < level.panels; p++)
			{
				const float *offsets = level.offsets + p * STK_PANEL + 2 * (lane & 3);
				uint32_t last_slot = 0;
				float d[64];

				for (uint32_t c = 0; c < a.at.chunks; c++)
				{
					uint32_t x = rows_at + c * (GROUP_ROWS * 128);
					uint32_t codewords = memory + a.at.slots_at + slot * SLOT_BYTES;

					barrier_wait(full + 8 * slot, turn & 1);
					products_begin();
#pragma unroll
					for (int s = 0; s < 4; s++)
						multiply_tile(d, describe(x, 32 * s), describe(codewords, 32 * s),
									  c > 0 || s > 0);
					products_end();
					/* One chunk's products run while the next is waited for. */
					if (c > 0)
					{
						products_wait<1>();
						leave_slot(empty + 8 * last_slot);
					}
					last_slot = slot;
					if (++slot == a.at.slots)
					{
						slot = 0;
						turn++;
					}
				}
				products_wait<0>();
				leave_slot(empty + 8 * last_slot);
				take_panel(
					d, [&](int j) { return __ldg((const float2 *) (offsets + 8 * j)); }, p, margin,
					best, hits);
			}
			settle_rows(a.encode, level, l, first, margin, best, hits,
						l + 1 == a.encode.nlevels ? &list : NULL, so_far);
			/* Nobody's products read the group's rows any more. */
			group_meet(2 + g);
		}
	}
}

#else
#define CLUSTER
#endif

template <int RECORDS>
static __global__ void
__launch_bounds__(THREADS, 1) CLUSTER encode_wide_hopper(const __grid_constant__ wide_args a)
{
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
	extern __shared__ uint8_t unaligned[];
	uint8_t *base = (uint8_t *) (((uintptr_t) unaligned + 1023) & ~(uintptr_t) 1023);
	uint32_t memory = shared_address(base);
	uint32_t full = memory + a.at.barriers;
	uint32_t empty = full + 8 * a.at.slots;
	open_list<RECORDS> list = {(open_row<RECORDS> *) (base + a.at.open), OPEN_ROOM,
							   empty + 8 * a.at.slots};
	size_t clusters = gridDim.x / BLOCKS;
	size_t turns = (a.tiles - blockIdx.x / BLOCKS + clusters - 1) / clusters;
	int group = threadIdx.x / 128;

	if (threadIdx.x == 0)
	{
		for (uint32_t i = 0; i < a.at.slots; i++)
		{
			barrier_init(full + 8 * i, 1);
			barrier_init(empty + 8 * i, BLOCKS * GROUPS * 4);
		}
		barriers_ready();
		store_word(list.count_at, 0);
	}
	__syncthreads();
	cluster_meet();
	if (group == 0)
	{
		asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
		if (threadIdx.x == 0)
			bring_chunks(a, memory, full, empty, turns);
		__syncwarp();
	}
	else
	{
		settled so_far = {};

		asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
		consume(a, memory, full, empty, group - 1, turns, list, &so_far);
		/* All consumers' rows are in the list. */
		asm volatile("bar.sync 1, %0;" ::"n"(128 * GROUPS) : "memory");
		settle_open_rows(a.encode, a.encode.levels[a.encode.nlevels - 1], a.encode.nlevels - 1,
						 list, threadIdx.x / 32 - 4, 4 * GROUPS);
		count_settled(a.encode, so_far);
	}
	/* The other block may still write here, or arrive. */
	cluster_meet();
#endif
}

template <int RECORDS>
static stk_status
launch(const stk_encode_call *call, const hopper_limits *limits, cudaStream_t stream, bool *taken,
	   stk_error *err)
{
	const stk_device_codebook *cb = call->cb;
	size_t rows = BLOCKS * GROUPS * GROUP_ROWS;
	wide_args args = {{cb->on_dev, cb->levels, cb->dim, cb->wide_dim, true, call->x, call->n,
					   call->codes, call->failure, call->stats},
					  {},
					  (call->n + rows - 1) / rows};
	const uint32_t open = OPEN_ROOM * (uint32_t) sizeof(open_row<RECORDS>);
	uint32_t fixed = 1024 + open + 8;
	uint32_t chunks = (uint32_t) cb->wide_dim / STK_CHUNK;
	uint32_t room = (uint32_t) limits->shared;
	uint32_t at_rows = GROUPS * chunks * GROUP_ROWS * 128;
	size_t clusters;
	stk_status status;

	*taken = fixed + at_rows + 2 * (SLOT_BYTES + 16) <= room;
	if (!*taken || call->n == 0)
		return STK_OK;
	args.at.chunks = chunks;
	args.at.slots = (room - fixed - at_rows) / (SLOT_BYTES + 16);
	args.at.slots = args.at.slots > 8 ? 8 : args.at.slots;
	args.at.slots_at = at_rows;
	args.at.open = at_rows + args.at.slots * SLOT_BYTES;
	args.at.barriers = args.at.open + open;
	args.at.bytes = 1024 + args.at.barriers + 16 * args.at.slots + 8;
	status = stk_cuda_status(cudaFuncSetAttribute(encode_wide_hopper<RECORDS>,
												  cudaFuncAttributeMaxDynamicSharedMemorySize,
												  limits->shared),
							 "take shared memory", err);
	if (status != STK_OK)
		return status;
	clusters = (size_t) limits->processors / BLOCKS;
	if (clusters > args.tiles)
		clusters = args.tiles;
	encode_wide_hopper<RECORDS>
		<<<(unsigned) (clusters * BLOCKS), THREADS, args.at.bytes, stream>>>(args);
	return stk_cuda_status(cudaGetLastError(), "encode rows on the device", err);
}

stk_status
stk_encode_wide_hopper_launch(const stk_encode_call *call, cudaStream_t stream, bool *taken,
							  stk_error *err)
{
	const stk_device_codebook *cb = call->cb;
	hopper_limits limits;

	/* Rows are read 16 bytes at a time. */
	*taken = cb->dim % 4 == 0 && (uintptr_t) call->x % 16 == 0 && read_limits(&limits);
	if (!*taken)
		return STK_OK;
	if (cb->largest <= RECORDS_OF_FEW * STK_PANEL)
		return launch<RECORDS_OF_FEW>(call, &limits, stream, taken, err);
	return launch<RECORDS_OF_MANY>(call, &limits, stream, taken, err);
}

#else

stk_status
stk_encode_wide_hopper_launch(const stk_encode_call *call, cudaStream_t stream, bool *taken,
							  stk_error *err)
{
	(void) call;
	(void) stream;
	(void) err;
	*taken = false;
	return STK_OK;
}

#endif
