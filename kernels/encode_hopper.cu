/*
 * Residual encode by the certified filter on Hopper's tensor units (sm_90a), rows of up to 256
 * elements: encode_filter.cu's three steps, one level a launch, cut so that copies, products and
 * the rest overlap.
 *
 * Blocks stay and take tiles of 64 rows in turn. One warp starts bulk copies of rows, another those
 * of codewords' panels, each as soon as a slot of shared memory is empty. Warpgroups of consumers,
 * each with a tile of its own, take rows into registers, subtract there what levels before took,
 * round them to binary16, multiply them with panels of 128 codewords, and look for hits; while one
 * multiplies, the others do the rest. A level's panels stay in shared memory where they fit;
 * otherwise they stream from the second-level cache, and the consumers take each in their turn.
 *
 * Rows that stay open go to a list of the block, and its threads settle them together at the end. A
 * level a launch is what makes that possible: to settle a row before its next level's residual
 * held up the three other warps of its warpgroup, and took more than to read the rows again.
 *
 * Bytes: 4 n dim rows from memory and 2 n codes to it, for each level; from the second-level cache
 * the codewords of levels before for each row, and the panels once a block, or once for each of its
 * turns. Operations, by phase:
 *
 *   rounding      6 n dim: scale, convert, convert back, lost, two squares
 *   subtraction   n dim a level before
 *   products      2 n dim K in binary16
 *   scores        4 n K: add, maximum; difference, shift where a warp has a hit
 *   settling      3 dim in binary64 a codeword within the margin, of 2 to 8 % of the rows
 *
 * Bound: issue slots. For 1M x 128 and K = 256 on an H200, rows alone take 0.12 ms and products at
 * the unit's rate 0.07; measured are 2.1 instructions a cycle of a processor's 4, with three
 * warps a scheduler 6.3 cycles from one instruction of a warp to its next, and no warp eligible in
 * 47 % of the cycles. Hits in two panels a row instead of four save a tenth: the registers suffice.
 *
 * Waits: consumers wait for copies, copies for consumers; nothing waits for another block.
 */
#include "hopper_rows.cuh"
#include "hopper_settle.cuh"

#ifdef STK_HAVE_HOPPER

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/* Where barriers are; each takes 8 bytes. */
struct barriers
{
	uint32_t base;
	uint32_t panel_slots;
	uint32_t row_phases;

	__device__ uint32_t
	panel_full(uint32_t slot) const
	{
		return base + 8 * slot;
	}
	__device__ uint32_t
	panel_empty(uint32_t slot) const
	{
		return base + 8 * (panel_slots + slot);
	}
	__device__ uint32_t
	rows_full(uint32_t phase) const
	{
		return base + 8 * (2 * panel_slots + phase);
	}
	__device__ uint32_t
	rows_empty(uint32_t slot) const
	{
		return base + 8 * (2 * panel_slots + row_phases + slot);
	}
};

/* The tile of consumer g in the block's turn r. */
template <typename S>
static __device__ inline size_t
tile_of(size_t r, int g)
{
	return blockIdx.x + gridDim.x * (r * S::groups + g);
}

/* Bring rows, piece by piece; one thread. */
template <typename S>
static __device__ inline void
bring_rows(const hopper_args &a, uint32_t memory, const barriers &b)
{
	uint32_t slot = 0;
	uint32_t turn = 0;
	uint32_t phase = 0;

	for (size_t r = 0;; r++)
	{
		for (int g = 0; g < S::groups; g++)
		{
			size_t tile = tile_of<S>(r, g);

			if (tile >= a.tiles)
				return;
			for (int w = 0; w < GROUP_ROWS / WARP_ROWS; w++)
			{
				size_t first = tile * GROUP_ROWS + w * WARP_ROWS;
				size_t rows = first >= a.encode.n ? 0 : a.encode.n - first;
				uint32_t bytes = (uint32_t) (rows < WARP_ROWS ? rows : WARP_ROWS) * a.encode.dim *
								 (uint32_t) sizeof(float);

				if (turn > 0)
					barrier_wait(b.rows_empty(slot), (turn - 1) & 1);
				barrier_expect(b.rows_full(phase), bytes);
				if (bytes > 0)
					bulk_copy(memory + a.at.rows + slot * a.at.piece,
							  a.encode.x + first * a.encode.dim, bytes, b.rows_full(phase));
				if (++phase == b.row_phases)
					phase = 0;
				if (++slot == a.at.row_slots)
				{
					slot = 0;
					turn++;
				}
			}
		}
	}
}

/* Bring panels: once, or for each of the block's turns; one thread. */
template <typename S>
static __device__ inline void
bring_panels(const hopper_args &a, uint32_t memory, const barriers &b, size_t turns)
{
	const stk_device_level &level = a.encode.levels[a.level];
	uint32_t panels = level.panels;
	uint32_t slot = 0;
	uint32_t turn = 0;

	for (size_t r = 0; r < (a.at.resident ? 1 : turns); r++)
	{
		const uint8_t *packed = (const uint8_t *) level.packed;
		const float *offsets = level.offsets;

		for (uint32_t p = 0; p < panels; p++)
		{
			if (turn > 0)
				barrier_wait(b.panel_empty(slot), (turn - 1) & 1);
			barrier_expect(b.panel_full(slot),
						   S::panel_bytes + STK_PANEL * (uint32_t) sizeof(float));
			bulk_copy(memory + slot * S::panel_bytes, packed, S::panel_bytes, b.panel_full(slot));
			bulk_copy(memory + a.at.offsets + slot * STK_PANEL * (uint32_t) sizeof(float), offsets,
					  STK_PANEL * sizeof(float), b.panel_full(slot));
			packed += S::panel_bytes;
			offsets += STK_PANEL;
			if (++slot == b.panel_slots)
			{
				slot = 0;
				turn++;
			}
		}
	}
}

/* Multiply a tile's rows with a panel; starts, does not wait. */
template <typename S>
static __device__ inline void
multiply_panel(float (&d)[64], const uint32_t (&fragments)[S::steps][4], uint32_t panel)
{
	products_begin();
#pragma unroll
	for (int s = 0; s < S::steps; s++)
		multiply_rows(d, fragments[s], describe(panel, s / 4 * STK_PANEL * 128 + s % 4 * 32),
					  s > 0);
	products_end();
}

/* A consumer's work: number g, all its tiles. */
template <typename S>
static __device__ inline void
consume(const hopper_args &a, uint32_t memory, const barriers &b, int g, size_t turns,
		const open_list<S::records> &list, settled *so_far)
{
	const stk_device_level &level = a.encode.levels[a.level];
	const float scale = level.scale;
	const uint32_t panels = level.panels;
	int warp = threadIdx.x >> 5 & 3;
	int lane = threadIdx.x & 31;
	uint32_t row_slot = (4 * g + warp) % a.at.row_slots;
	uint32_t row_phase = 4 * g + warp;
	uint32_t row_turn = 0;
	uint32_t slot = 0;
	uint32_t turn = 0;

	for (size_t r = 0; r < turns; r++)
	{
		size_t tile = tile_of<S>(r, g);
		size_t first = tile * GROUP_ROWS + warp * WARP_ROWS;
		bool active = tile < a.tiles;
		uint32_t row_full = b.rows_full(row_phase);
		uint32_t row_empty = b.rows_empty(row_slot);
		uint32_t rows_at = memory + a.at.rows + row_slot * a.at.piece;
		uint32_t fragments[S::steps][4];
		float kept[2], lost[2], margin[2], best[2] = {-INFINITY, -INFINITY};
		row_hits<S::records> hits[2];

		if (a.at.resident)
		{
			/* There is nothing to do for others' sake. */
			if (!active)
				return;
			slot = turn = 0;
		}
		if (active)
		{
			uint32_t centre = memory + a.at.centre;

			if constexpr (S::residuals)
			{
				const uint16_t *codes[2];
				row_values<S> rows;

#pragma unroll
				for (int h = 0; h < 2; h++)
					codes[h] = a.encode.codes +
							   min(first + (lane >> 2) + 8 * h, a.encode.n - 1) * a.encode.nlevels;
				barrier_wait(row_full, row_turn & 1);
				take_rows<S>(rows, rows_at, a.encode.dim);
				subtract_codewords<S>(rows, a.encode, a.level, codes);
				round_rows<S>([&](int h, int s) { return rows.v[h][s]; }, scale, centre, fragments,
							  kept, lost);
			}
			else
			{
				barrier_wait(row_full, row_turn & 1);
				round_rows<S>([&](int h, int s)
							  { return take_four<S>(rows_at, h, s, a.encode.dim); },
							  scale, centre, fragments, kept, lost);
			}
			/*
			 * The slot is empty when all loads have landed: the sums, which are never negative,
			 * depend on each of them.
			 */
			__syncwarp();
			if (kept[0] + lost[0] + kept[1] + lost[1] != -1 && lane == 0)
				barrier_arrive(row_empty);
			forget_hits(&hits[0]);
			forget_hits(&hits[1]);
		}
		/* The warp's next piece: as many further as there are warps. */
		for (row_slot += 4 * S::groups; row_slot >= a.at.row_slots;)
			row_slot -= a.at.row_slots;
		row_phase += 4 * S::groups;
		if (row_phase >= b.row_phases)
		{
			row_phase -= b.row_phases;
			row_turn++;
		}
		for (uint32_t p = 0; p < panels; p++)
		{
			float d[64];
			uint32_t offsets_at = memory + a.at.offsets +
								  (slot * STK_PANEL + 2 * (lane & 3)) * (uint32_t) sizeof(float);

			if (!a.at.resident || r == 0)
				barrier_wait(b.panel_full(slot), turn & 1);
			if (active)
			{
				multiply_panel<S>(d, fragments, memory + slot * S::panel_bytes);
				if (p == 0)
					row_margins(level, a.encode.dim, kept, lost, margin);
				products_wait<0>();
				take_panel(
					d, [&](int j) { return of_both(load_two(offsets_at + 32 * j)); }, p, margin,
					best, hits);
			}
			if (!a.at.resident)
			{
				__syncwarp();
				if (lane == 0)
					barrier_arrive(b.panel_empty(slot));
			}
			if (++slot == b.panel_slots)
			{
				slot = 0;
				turn++;
			}
		}
		if (active)
			settle_rows(a.encode, level, a.level, first, margin, best, hits, &list, so_far);
	}
}

#endif

template <typename S>
static __global__ void
__launch_bounds__(S::threads, 1) encode_hopper(const __grid_constant__ hopper_args a)
{
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
	extern __shared__ uint8_t unaligned[];
	uint8_t *base = (uint8_t *) (((uintptr_t) unaligned + 1023) & ~(uintptr_t) 1023);
	uint32_t memory = shared_address(base);
	float *centre = (float *) (base + a.at.centre);
	const stk_device_level &level = a.encode.levels[a.level];
	barriers b = {memory + a.at.barriers, a.at.panel_slots, a.at.row_phases};
	open_list<S::records> list = {(open_row<S::records> *) (base + a.at.open), a.at.open_room,
								  b.rows_empty(a.at.row_slots)};
	size_t stride = (size_t) gridDim.x * S::groups;
	size_t turns = (a.tiles - blockIdx.x + stride - 1) / stride;
	int group = threadIdx.x / 128;

	if (threadIdx.x == 0)
	{
		for (uint32_t i = 0; i < a.at.panel_slots; i++)
		{
			barrier_init(b.panel_full(i), 1);
			barrier_init(b.panel_empty(i), 4 * S::groups);
		}
		for (uint32_t i = 0; i < a.at.row_phases; i++)
			barrier_init(b.rows_full(i), 1);
		for (uint32_t i = 0; i < a.at.row_slots; i++)
			barrier_init(b.rows_empty(i), 1);
		barriers_ready();
		store_word(list.count_at, 0);
	}
	for (int i = threadIdx.x; i < a.encode.wide_dim; i += S::threads)
		centre[i] = -level.centre[i] * level.scale;
	__syncthreads();
	if (group == 0)
	{
		asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
		if (threadIdx.x == 0)
			bring_rows<S>(a, memory, b);
		if (threadIdx.x == 32)
			bring_panels<S>(a, memory, b, turns);
	}
	else
	{
		settled so_far = {};
		int warp = threadIdx.x / 32 - 4;

		asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(S::registers));
		consume<S>(a, memory, b, group - 1, turns, list, &so_far);
		/* All consumers' rows are in the list. */
		asm volatile("bar.sync 1, %0;" ::"n"(128 * S::groups) : "memory");
		settle_open_rows(a.encode, level, a.level, list, warp, 4 * S::groups);
		count_settled(a.encode, so_far);
	}
#endif
}

/* Carve a block's shared memory; false where it does not suffice. */
template <typename S>
static bool
lay_out(const stk_device_codebook *cb, int level, uint32_t room, hopper_layout *at)
{
	const uint32_t panel = S::panel_bytes + STK_PANEL * (uint32_t) sizeof(float);
	const uint32_t barriers = 16;
	const uint32_t centre = (uint32_t) cb->wide_dim * (uint32_t) sizeof(float);
	uint32_t panels = cb->on_host[level].panels;
	const uint32_t open = OPEN_ROOM * (uint32_t) sizeof(open_row<S::records>);
	uint32_t fixed = 1024 + centre + open + 256;
	uint32_t left;

	*at = {};
	at->open_room = OPEN_ROOM;
	at->piece = (WARP_ROWS * (uint32_t) cb->dim * (uint32_t) sizeof(float) + 127) / 128 * 128;
	if (fixed + 2 * (panel + barriers) + 2 * (at->piece + barriers) > room)
		return false;
	left = room - fixed;
	/* All panels and some rows; or two turns' rows, but no more than half, and what panels fit. */
	at->resident = panels <= left / (panel + barriers) &&
				   left - panels * (panel + barriers) >= 2 * (at->piece + barriers);
	if (at->resident)
		at->panel_slots = panels;
	else
	{
		uint32_t rows = 4 * S::groups * (at->piece + barriers);

		at->panel_slots = (left - (rows < left / 2 ? rows : left / 2)) / (panel + barriers);
		if (at->panel_slots < 2)
			at->panel_slots = 2;
	}
	left -= at->panel_slots * (panel + barriers);
	at->row_slots = left / (at->piece + barriers);
	if (at->row_slots > 8 * S::groups)
		at->row_slots = 8 * S::groups;
	/* Each warp's pieces have barriers of their own: no warp meets a phase twice. */
	at->row_phases = (at->row_slots + 4 * S::groups - 1) / (4 * S::groups) * (4 * S::groups);
	at->offsets = at->panel_slots * S::panel_bytes;
	at->rows = at->offsets + at->panel_slots * STK_PANEL * (uint32_t) sizeof(float);
	at->centre = at->rows + at->row_slots * at->piece;
	at->open = at->centre + centre;
	at->barriers = at->open + open;
	at->bytes =
		1024 + at->barriers + 8 * (2 * at->panel_slots + at->row_phases + at->row_slots + 1);
	return at->row_slots >= 2 && at->bytes <= room;
}

/* Encode level `level`; those before have been. */
template <typename S>
static stk_status
launch_shape(const stk_encode_call *call, int level, const hopper_limits *limits,
			 cudaStream_t stream, bool *taken, stk_error *err)
{
	const stk_device_codebook *cb = call->cb;
	hopper_args args = {{cb->on_dev, cb->levels, cb->dim, cb->wide_dim, true, call->x, call->n,
						 call->codes, call->failure, call->stats},
						{},
						level,
						(call->n + GROUP_ROWS - 1) / GROUP_ROWS};
	size_t blocks = args.tiles < (size_t) limits->processors ? args.tiles : limits->processors;
	stk_status status;

	*taken = lay_out<S>(cb, level, (uint32_t) limits->shared, &args.at);
	if (!*taken || call->n == 0)
		return STK_OK;
	status = stk_cuda_status(cudaFuncSetAttribute(encode_hopper<S>,
												  cudaFuncAttributeMaxDynamicSharedMemorySize,
												  limits->shared),
							 "take shared memory", err);
	if (status != STK_OK)
		return status;
	encode_hopper<S><<<(unsigned) blocks, S::threads, args.at.bytes, stream>>>(args);
	return stk_cuda_status(cudaGetLastError(), "encode rows on the device", err);
}

template <int CHUNKS, int GROUPS, bool RESIDUALS, int REGISTERS, int RECORDS>
static stk_status
launch_records(const stk_encode_call *call, int level, const hopper_limits *limits,
			   cudaStream_t stream, bool *taken, stk_error *err)
{
	if (call->cb->dim == CHUNKS * STK_CHUNK)
		return launch_shape<hopper_shape<CHUNKS, true, GROUPS, RESIDUALS, REGISTERS, RECORDS>>(
			call, level, limits, stream, taken, err);
	return launch_shape<hopper_shape<CHUNKS, false, GROUPS, RESIDUALS, REGISTERS, RECORDS>>(
		call, level, limits, stream, taken, err);
}

template <int CHUNKS, int GROUPS, bool RESIDUALS, int REGISTERS>
static stk_status
launch(const stk_encode_call *call, int level, const hopper_limits *limits, cudaStream_t stream,
	   bool *taken, stk_error *err)
{
	if (call->cb->on_host[level].panels <= RECORDS_OF_FEW)
		return launch_records<CHUNKS, GROUPS, RESIDUALS, REGISTERS, RECORDS_OF_FEW>(
			call, level, limits, stream, taken, err);
	return launch_records<CHUNKS, GROUPS, RESIDUALS, REGISTERS, RECORDS_OF_MANY>(
		call, level, limits, stream, taken, err);
}

stk_status
stk_encode_hopper_launch(const stk_encode_call *call, cudaStream_t stream, bool *taken,
						 stk_error *err)
{
	const stk_device_codebook *cb = call->cb;
	int chunks = cb->wide_dim / STK_CHUNK;
	hopper_limits limits;
	stk_status status = STK_OK;

	/* Bulk copies begin at multiples of 16 bytes. */
	*taken =
		cb->dim % 4 == 0 && (uintptr_t) call->x % 16 == 0 && chunks <= 4 && read_limits(&limits);
	for (int l = 0; l < cb->levels && status == STK_OK && *taken; l++)
	{
		switch (l > 0 ? -chunks : chunks)
		{
			case 1:
				status = launch<1, 3, false, 160>(call, l, &limits, stream, taken, err);
				break;
			case 2:
				status = launch<2, 3, false, 160>(call, l, &limits, stream, taken, err);
				break;
			case 3:
				status = launch<3, 2, false, 240>(call, l, &limits, stream, taken, err);
				break;
			case 4:
				status = launch<4, 2, false, 240>(call, l, &limits, stream, taken, err);
				break;
			case -1:
				status = launch<1, 3, true, 160>(call, l, &limits, stream, taken, err);
				break;
			case -2:
				status = launch<2, 3, true, 160>(call, l, &limits, stream, taken, err);
				break;
			case -3:
				status = launch<3, 2, true, 232>(call, l, &limits, stream, taken, err);
				break;
			default:
				status = launch<4, 2, true, 232>(call, l, &limits, stream, taken, err);
		}
	}
	return status;
}

#else

stk_status
stk_encode_hopper_launch(const stk_encode_call *call, cudaStream_t stream, bool *taken,
						 stk_error *err)
{
	(void) call;
	(void) stream;
	(void) err;
	*taken = false;
	return STK_OK;
}

#endif
