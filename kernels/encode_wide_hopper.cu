/*
 * encode_hopper.cu's filter for rows longer than a thread's registers hold.
 *
 * A block has 128 rows. One warpgroup forms them, chunk by chunk, in slots of shared memory
 * (wide_rows.cuh); two others, with 64 of the rows each, multiply a chunk with the same chunk of two
 * panels, and look for hits when a pass over the chunks is done; one thread brings the panels'
 * chunks. So rows come from memory and are rounded while others are multiplied. Two blocks of a
 * cluster have different rows and the same codewords: each copies half of a chunk, to both.
 *
 * Levels that have joints (pack_joint.cu) share a launch: they are passes over the same rows, not
 * over residuals, and tables of products of codewords make up for what was taken. Open rows are
 * settled where such a level ends, because the next asks for their codes. Other levels have launches
 * of their own, with residuals formed anew, and open rows wait until the block's end.
 *
 * Bytes: rows once from memory, 4 n dim, and again from the second-level cache for each pass after
 * the first what slots could not keep; there also the panels once for each 256 rows, and what rows
 * have taken: codewords, 4 n dim a level before, or tables' rows, 4 n K. Operations: 2 n dim sum(K)
 * in binary16.
 *
 * Waits: products for rows and panels, those for products, a panel's copy for the products of both
 * blocks; at the end the blocks of a cluster for each other. They run together, or not at all.
 */
/* The reference has the registers of the products, and long rows. */
#define IN_FLIGHT 32
#include "wide_rows.cuh"

#ifdef STK_HAVE_HOPPER

/* Warpgroups: one that brings panels, one that forms rows, and those that multiply. */
#define THREADS (128 * (GROUPS + 2))
/* Of a thread of each: together what a processor has. */
#define BRINGING 24
#define FORMING 88
#define MULTIPLYING 200
/* Open rows that a block's list has room for at most. */
#undef OPEN_ROOM
#define OPEN_ROOM 128
#define MOST_PANEL_SLOTS 8

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define CLUSTER __cluster_dims__(BLOCKS, 1, 1)

/* Bring chunks of panels, this block's half of each to both blocks; one thread. */
static __device__ __forceinline__ void
bring_panels(const wide_args &a, const wide_memory &m, size_t turns)
{
	uint32_t half = cluster_rank() * (SLOT_BYTES / BLOCKS);
	uint32_t to = m.base + a.at.panels_at + half;
	uint32_t chunks = a.at.chunks;
	uint32_t slot = 0;
	uint32_t turn = 0;

	for (size_t r = 0; r < turns; r++)
	{
		bool back = false;

		for (int l = a.level; l < a.level + a.levels; l++)
		{
			const uint8_t *packed = (const uint8_t *) a.encode.levels[l].packed + half;
			uint32_t panels = a.encode.levels[l].panels;

			for (uint32_t p = 0; p < panels; p += PASS)
			{
				for (uint32_t i = 0; i < chunks; i++)
				{
					uint32_t chunk = back ? chunks - 1 - i : i;

					for (uint32_t b = p; b < min(p + PASS, panels); b++)
					{
						uint32_t full = m.panel_full(slot);

						if (turn > 0)
							barrier_wait(m.panel_empty(slot), (turn - 1) & 1);
						barrier_expect(full, SLOT_BYTES);
						bulk_copy_to_all(to + slot * SLOT_BYTES,
										 packed + ((size_t) b * chunks + chunk) * SLOT_BYTES,
										 SLOT_BYTES / BLOCKS, full, (1 << BLOCKS) - 1);
						if (++slot == m.panel_slots)
						{
							slot = 0;
							turn++;
						}
					}
				}
				back = !back;
			}
		}
	}
}

/* Where a warpgroup that multiplies is. */
struct multiply_walk
{
	slot_walk rows;
	uint32_t slot; /* of panels */
	uint32_t turn;
};

/* What has been multiplied is needed no more: by this warp, of all that do in both blocks. */
static __device__ __forceinline__ void
leave_panel(const wide_memory &m, uint32_t slot)
{
	if ((threadIdx.x & 31) < BLOCKS)
		barrier_arrive_at(m.panel_empty(slot), threadIdx.x & 31);
}

/*
 * A pass: all chunks of the group's rows by those of PANELS panels.
 *
 *   first, last  of the tile's passes
 */
template <int PANELS>
static __device__ __forceinline__ void
multiply_pass(float (&d)[PANELS][64], const wide_args &a, const wide_memory &m, int g, bool first,
			  bool last, multiply_walk *walk)
{
	const uint32_t chunks = a.at.chunks;
	uint32_t done_rows = 0, done_panel = 0;
	bool leave_rows = false;

	for (uint32_t i = 0; i < chunks; i++)
	{
		uint32_t slot = walk->rows.slot;
		uint32_t x = m.base + slot * SLOT_BYTES + g * (GROUP_ROWS * 128);

		if (first || i >= m.row_slots)
			barrier_wait(m.rows_full(slot), walk->rows.meet());
#pragma unroll
		for (int b = 0; b < PANELS; b++)
		{
			uint32_t codewords = m.base + a.at.panels_at + walk->slot * SLOT_BYTES;

			barrier_wait(m.panel_full(walk->slot), walk->turn & 1);
			products_begin();
#pragma unroll
			for (int s = 0; s < 4; s++)
				multiply_tile(d[b], describe(x, 32 * s), describe(codewords, 32 * s), 1);
			products_end();
			/* One group of products runs while the next is waited for. */
			if (i > 0 || b > 0)
			{
				products_wait<1>();
				leave_panel(m, done_panel);
				if (b == 0 && leave_rows && (threadIdx.x & 31) == 0)
					barrier_arrive(m.rows_empty(done_rows));
			}
			done_panel = walk->slot;
			if (++walk->slot == m.panel_slots)
			{
				walk->slot = 0;
				walk->turn++;
			}
		}
		done_rows = slot;
		leave_rows = last || i + m.row_slots < chunks;
		walk->rows.step(m.row_slots, i + 1 == chunks && !last);
	}
	products_wait<0>();
	leave_panel(m, done_panel);
	if (leave_rows && (threadIdx.x & 31) == 0)
		barrier_arrive(m.rows_empty(done_rows));
}

/* A level's scores: what is between products and them, and by how much they may mislead. */
struct wide_scores
{
	const float *offsets;
	float by_norm;
	float by_lost;
	float fixed;
	int taken; /* tables */
	const float *tables[STK_MOST_JOINT - 1];
	uint32_t at[STK_MOST_JOINT - 1][2]; /* where both rows' codewords have theirs */
};

/* Of level l of the launch, for a thread whose rows have codes of the levels before. */
template <bool JOINT>
static __device__ __forceinline__ wide_scores
scores_of(const wide_args &a, const stk_device_level &level, int l, size_t first)
{
	wide_scores s = {level.offsets, level.by_norm, level.by_lost, level.fixed};

	if (JOINT && l > 0)
	{
		const stk_device_joint &joint = a.joints[l];
		const uint16_t *codes[2];

#pragma unroll
		for (int h = 0; h < 2; h++)
			codes[h] =
				a.encode.codes + min(first + 8 * h, a.encode.n - 1) * a.encode.nlevels + a.level;
		s.offsets = joint.offsets;
		s.by_norm = joint.by_norm;
		s.by_lost = joint.by_lost;
		s.fixed = joint.fixed;
		s.taken = l;
#pragma unroll
		for (int t = 0; t < STK_MOST_JOINT - 1; t++)
		{
#pragma unroll
			for (int h = 0; h < 2; h++)
				s.at[t][h] = t < l && first + 8 * h < a.encode.n
								 ? __ldcg(codes[h] + t) * level.panels * STK_PANEL
								 : 0;
			s.tables[t] = joint.taken[t];
		}
	}
	return s;
}

/* Offsets of codewords k and the next, for both rows. */
template <bool JOINT>
static __device__ __forceinline__ float4
offsets_of(const wide_scores &s, uint32_t k)
{
	float4 o = of_both(__ldg((const float2 *) (s.offsets + k)));

#pragma unroll
	for (int t = 0; JOINT && t < STK_MOST_JOINT - 1; t++)
	{
		if (t < s.taken)
		{
			float2 g = __ldg((const float2 *) (s.tables[t] + s.at[t][0] + k));
			float2 h = __ldg((const float2 *) (s.tables[t] + s.at[t][1] + k));

			o = subtract(o, make_float4(g.x, g.y, h.x, h.y));
		}
	}
	return o;
}

/* A pass over panels from `panel` on, and their hits; `first`, `last`: as multiply_pass. */
template <int PANELS, int RECORDS, bool JOINT>
static __device__ __forceinline__ void
take_pass(const wide_args &a, const wide_memory &m, const stk_device_level &level, int l, int g,
		  size_t row, const float2 *norms, uint32_t panel, bool first, bool last,
		  multiply_walk *walk, float (&margin)[2], float (&best)[2], row_hits<RECORDS> (&hits)[2])
{
	wide_scores s;
	float d[PANELS][64];

	/* They would keep their registers all the time otherwise. */
#pragma unroll
	for (int j = 0; j < 64 * PANELS; j++)
		d[j / 64][j % 64] = 0;
	multiply_pass<PANELS>(d, a, m, g, first, last, walk);
	s = scores_of<JOINT>(a, level, l, row);
	/* Norms came with the last chunk of the first pass. */
#pragma unroll
	for (int h = 0; h < 2; h++)
		margin[h] = margin_above(s.by_norm, s.by_lost, s.fixed, norms[8 * h].x, norms[8 * h].y,
								 a.encode.dim);
#pragma unroll
	for (int b = 0; b < PANELS; b++)
		take_panel(
			d[b],
			[&](int j) {
				return offsets_of<JOINT>(s,
										 (panel + b) * STK_PANEL + 8 * j + 2 * (threadIdx.x & 3));
			},
			panel + b, margin, best, hits);
}

/* All who multiply. */
static __device__ __forceinline__ void
meet_to_settle()
{
	asm volatile("bar.sync 1, %0;" ::"n"(128 * GROUPS) : "memory");
}

/*
 * All who multiply settle together what is open of level l of the launch. Lists take turns: the next
 * one's rows have been settled when all have met here.
 */
template <int RECORDS, bool JOINT>
static __device__ __forceinline__ void
settle_level(const wide_args &a, const stk_device_level *levels, int l,
			 const open_list<RECORDS> &list, const open_list<RECORDS> &next)
{
	meet_to_settle();
	if (JOINT)
		settle_long_rows(a.encode, levels[l], a.level + l, list, threadIdx.x / 32, 4 * GROUPS);
	else
		settle_open_rows(a.encode, levels[l], a.level + l, list, threadIdx.x / 32, 4 * GROUPS);
	if (threadIdx.x == 0)
		store_word(next.count_at, 0);
	meet_to_settle();
}

/* The work of warpgroup g of those that multiply. */
template <int RECORDS, bool JOINT>
static __device__ __forceinline__ void
multiply(const wide_args &a, const wide_memory &m, const stk_device_level *levels,
		 const float2 *norms, int g, size_t turns, const open_list<RECORDS> (&lists)[2],
		 settled *so_far)
{
	int own = g * GROUP_ROWS + (threadIdx.x >> 5 & 3) * WARP_ROWS;
	int q = threadIdx.x >> 2 & 7;
	multiply_walk walk = {};
	int list = 0;

	norms += own + q;
	for (size_t r = 0; r < turns; r++)
	{
		size_t first = tile_row(r) + own;

		for (int l = 0; l < (JOINT ? a.levels : 1); l++)
		{
			const stk_device_level &level = levels[l];
			const uint32_t panels = level.panels;
			bool last = !JOINT || l + 1 == a.levels;
			float margin[2], best[2] = {-INFINITY, -INFINITY};
			row_hits<RECORDS> hits[2];

			forget_hits(&hits[0]);
			forget_hits(&hits[1]);
			for (uint32_t p = 0; p < panels; p += PASS)
			{
				if (p + 1 < panels)
					take_pass<PASS, RECORDS, JOINT>(
						a, m, level, l, g, first + q, norms + (r & 1) * BLOCK_ROWS, p,
						l == 0 && p == 0, last && p + PASS >= panels, &walk, margin, best, hits);
				else
					take_pass<1, RECORDS, JOINT>(a, m, level, l, g, first + q,
												 norms + (r & 1) * BLOCK_ROWS, p, l == 0 && p == 0,
												 last, &walk, margin, best, hits);
			}
			settle_rows(a.encode, level, a.level + l, first, margin, best, hits, &lists[list],
						so_far);
			if (JOINT)
				settle_level<RECORDS, JOINT>(a, levels, l, lists[list], lists[list ^ 1]);
			list ^= JOINT;
		}
	}
}

#else
#define CLUSTER
#endif

template <int RECORDS, bool JOINT>
static __global__ void
__launch_bounds__(THREADS, 1) CLUSTER encode_wide_hopper(const __grid_constant__ wide_args a)
{
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
	extern __shared__ uint8_t unaligned[];
	uint8_t *base = (uint8_t *) (((uintptr_t) unaligned + 1023) & ~(uintptr_t) 1023);
	wide_memory m(shared_address(base), a.at);
	float *centre = (float *) (base + a.at.centre);
	float2 *norms = (float2 *) (base + a.at.norms);
	stk_device_level *levels = (stk_device_level *) (base + a.at.levels);
	const stk_device_level &level = a.encode.levels[a.level];
	open_row<RECORDS> *open = (open_row<RECORDS> *) (base + a.at.open);
	uint32_t room = JOINT ? a.at.open_room / 2 : a.at.open_room;
	open_list<RECORDS> lists[2] = {{open, room, m.count()}, {open + room, room, m.count() + 4}};
	size_t clusters = gridDim.x / BLOCKS;
	size_t turns = (a.tiles - blockIdx.x / BLOCKS + clusters - 1) / clusters;
	uint32_t passes = 0;
	int group = threadIdx.x / 128;

	if (threadIdx.x == 0)
	{
		for (uint32_t i = 0; i < m.row_slots; i++)
		{
			barrier_init(m.rows_formed(i), 4);
			barrier_init(m.rows_full(i), 1);
			barrier_init(m.rows_empty(i), 4 * GROUPS);
		}
		for (uint32_t i = 0; i < m.panel_slots; i++)
		{
			barrier_init(m.panel_full(i), 1);
			barrier_init(m.panel_empty(i), BLOCKS * GROUPS * 4);
		}
		barriers_ready();
		store_word(m.count(), 0);
		store_word(m.count() + 4, 0);
	}
	if (threadIdx.x < a.levels)
		levels[threadIdx.x] = a.encode.levels[a.level + threadIdx.x];
	for (int l = a.level; l < a.level + a.levels; l++)
		passes += (a.encode.levels[l].panels + PASS - 1) / PASS;
	for (int i = threadIdx.x; i < a.encode.wide_dim; i += THREADS)
		centre[i] = -level.centre[i] * level.scale;
	__syncthreads();
	cluster_meet();
	if (group == 3)
	{
		asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(BRINGING));
		if (threadIdx.x == 128 * (GROUPS + 1))
			bring_panels(a, m, turns);
		if (threadIdx.x == 128 * (GROUPS + 1) + 32)
			pass_rows_on(a, m, (uint32_t) turns, passes);
		__syncwarp();
	}
	else if (group == 2)
	{
		asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(FORMING));
		form_rows<!JOINT>(a, m, norms, (uint32_t) turns, passes);
	}
	else
	{
		settled so_far = {};

		asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(MULTIPLYING));
		multiply<RECORDS, JOINT>(a, m, levels, norms, group, turns, lists, &so_far);
		if (!JOINT)
			settle_level<RECORDS, JOINT>(a, levels, 0, lists[0], lists[1]);
		count_settled(a.encode, so_far);
	}
	/* The other block may still write here, or arrive. */
	cluster_meet();
#endif
}

/* Carve a block's shared memory; false where it does not suffice. */
template <int RECORDS>
static bool
lay_out(const stk_device_codebook *cb, uint32_t room, wide_layout *at)
{
	const uint32_t row = (uint32_t) sizeof(open_row<RECORDS>);
	uint32_t left;

	*at = {};
	at->chunks = (uint32_t) cb->wide_dim / STK_CHUNK;
	/* No more than leave norms alone until they are read: wide_rows.cuh. */
	at->row_slots = 2 * at->chunks - 1 < MOST_ROW_SLOTS ? 2 * at->chunks - 1 : MOST_ROW_SLOTS;
	at->norms = at->row_slots * SLOT_BYTES;
	left = 1024 + STAGES * STAGE_BYTES + 2 * BLOCK_ROWS * (uint32_t) sizeof(float2) +
		   (uint32_t) cb->wide_dim * (uint32_t) sizeof(float) +
		   STK_MOST_JOINT * (uint32_t) sizeof(stk_device_level) + 24 * MOST_ROW_SLOTS +
		   16 * MOST_PANEL_SLOTS + 24;
	if (left + 16 * row + at->norms + 2 * SLOT_BYTES > room)
		return false;
	left = room - left - at->norms;
	at->panel_slots = (left - 16 * row) / SLOT_BYTES;
	if (at->panel_slots > MOST_PANEL_SLOTS)
		at->panel_slots = MOST_PANEL_SLOTS;
	left -= at->panel_slots * SLOT_BYTES;
	at->open_room = left / row < OPEN_ROOM ? left / row : OPEN_ROOM;
	at->panels_at = at->norms;
	at->stages = at->panels_at + at->panel_slots * SLOT_BYTES;
	at->centre = at->stages + STAGES * STAGE_BYTES;
	at->norms = at->centre + (uint32_t) cb->wide_dim * (uint32_t) sizeof(float);
	at->levels = at->norms + 2 * BLOCK_ROWS * (uint32_t) sizeof(float2);
	at->open = at->levels + STK_MOST_JOINT * (uint32_t) sizeof(stk_device_level);
	at->barriers = (at->open + at->open_room * row + 15) / 16 * 16;
	at->bytes = 1024 + at->barriers + 24 * at->row_slots + 16 * at->panel_slots + 8;
	return at->bytes <= room;
}

/* Encode `levels` levels from args->level on. */
template <int RECORDS, bool JOINT>
static stk_status
launch_levels(wide_args *args, int levels, const hopper_limits *limits, cudaStream_t stream,
			  stk_error *err)
{
	size_t clusters = (size_t) limits->processors / BLOCKS;
	stk_status status = stk_cuda_status(
		cudaFuncSetAttribute(encode_wide_hopper<RECORDS, JOINT>,
							 cudaFuncAttributeMaxDynamicSharedMemorySize, limits->shared),
		"take shared memory", err);

	if (status != STK_OK)
		return status;
	if (clusters > args->tiles)
		clusters = args->tiles;
	args->levels = levels;
	encode_wide_hopper<RECORDS, JOINT>
		<<<(unsigned) (clusters * BLOCKS), THREADS, args->at.bytes, stream>>>(*args);
	args->level += levels;
	return stk_cuda_status(cudaGetLastError(), "encode rows on the device", err);
}

/* All levels: those that have joints together, the others one after the other. */
template <int RECORDS>
static stk_status
launch(const stk_encode_call *call, const hopper_limits *limits, cudaStream_t stream, bool *taken,
	   stk_error *err)
{
	const stk_device_codebook *cb = call->cb;
	size_t rows = BLOCKS * BLOCK_ROWS;
	wide_args args = {{cb->on_dev, cb->levels, cb->dim, cb->wide_dim, true, call->x, call->n,
					   call->codes, call->failure, call->stats},
					  {},
					  0,
					  1,
					  (call->n + rows - 1) / rows,
					  {}};
	stk_status status = STK_OK;

	*taken = lay_out<RECORDS>(cb, (uint32_t) limits->shared, &args.at);
	if (!*taken || call->n == 0)
		return STK_OK;
	memcpy(args.joints, cb->joints, sizeof(args.joints));
	if (cb->njoints > 1)
		status = launch_levels<RECORDS, true>(&args, cb->njoints, limits, stream, err);
	while (args.level < cb->levels && status == STK_OK)
		status = launch_levels<RECORDS, false>(&args, 1, limits, stream, err);
	return status;
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
