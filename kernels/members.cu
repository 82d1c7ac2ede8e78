/*
 * Grouping rows by code: a stable counting sort. Tiles of rows, no more than fill the device, are
 * counted; then each tile's block adds up what comes before it in the table of all counts, and its
 * warps put its rows in place, in row order. Codes of many values are sorted by two digits, the
 * lower first.
 *
 * Nothing waits for another block, and no result depends on the order in which blocks run.
 *
 * Bytes: codes twice, 2 n each, and rows once, 4 n; a table of tiles x bins numbers, which each
 * tile reads. Bound: the launches, two where one digit is enough; that table where bins are many.
 */
#include "dependent.cuh"
#include "members.h"

#define MOST_THREADS 1024
/* Tiles, at most: they fill a device, and their counts are few enough for each block to read. */
#define MOST_TILES 132
/* Values of a digit, at most, and places of a tile's warps: both fit shared memory. */
#define MOST_BINS 1024
#define PLACES 7680
/* Tiles whose counts are read before they are added. */
#define TILES_AHEAD 8
/* The same of a tile's warps. */
#define WARPS_AHEAD 8

/* One pass over the rows. */
typedef struct pass
{
	const uint16_t *codes;
	size_t stride;
	const uint32_t *from; /* [n] rows in the order so far; NULL: row order */
	uint32_t *to;         /* [n] */
	uint32_t n;
	uint32_t steps; /* of 32 rows that each warp of a tile takes */
	uint32_t tiles;
	int shift;
	uint32_t mask;
	uint32_t bins;    /* a multiple of 4 */
	bool whole;       /* the digit is the code */
	bool last;        /* rows are in place after this pass */
	uint32_t *counts; /* [size] of whole codes, added to; NULL: not needed */
} pass;

/* The row that is number i so far. */
static __device__ inline uint32_t
row_at(const pass &p, uint32_t i)
{
	return p.from ? p.from[i] : i;
}

static __device__ inline uint32_t
code_of(const pass &p, uint32_t row)
{
	return p.codes[row * p.stride];
}

/* Of the lanes that have the same number: does this one act for all of them, `peers`? */
static __device__ inline bool
acts(unsigned peers)
{
	return (threadIdx.x & 31) == (unsigned) __ffs((int) peers) - 1;
}

static __global__ void
__launch_bounds__(MOST_THREADS, 1) count_tiles(const pass p, uint32_t *tiles)
{
	__shared__ uint32_t table[MOST_BINS];
	uint32_t rows = blockDim.x * p.steps;
	uint32_t first = blockIdx.x * rows;

	let_next_begin();
	for (uint32_t b = threadIdx.x; b < p.bins; b += blockDim.x)
		table[b] = 0;
	__syncthreads();
	for (uint32_t at = first + threadIdx.x; at - first < rows; at += blockDim.x)
	{
		unsigned active = __ballot_sync(~0u, at < p.n);

		if (at < p.n)
		{
			uint32_t code = code_of(p, row_at(p, at));
			unsigned peers = __match_any_sync(active, code >> p.shift & p.mask);

			if (acts(peers))
				atomicAdd(&table[code >> p.shift & p.mask], (unsigned) __popc(peers));
			if (p.counts)
			{
				peers = __match_any_sync(active, code);
				if (acts(peers))
					atomicAdd(&p.counts[code], (unsigned) __popc(peers));
			}
		}
	}
	__syncthreads();
	for (uint32_t b = threadIdx.x; b < p.bins; b += blockDim.x)
		tiles[blockIdx.x * p.bins + b] = table[b];
}

/* Rows, and above them their chunks, of one number or of several. */
typedef unsigned long long extent;

static __device__ inline extent
extent_of(uint32_t rows)
{
	return (extent) ((rows + STK_MEMBERS_CHUNK - 1) / STK_MEMBERS_CHUNK) << 32 | rows;
}

/* The sum of `value` over the threads before this one; *total that of all. By the whole block. */
static __device__ extent
scan_block(extent value, extent *total)
{
	__shared__ extent of_warps[32];
	int lane = threadIdx.x & 31;
	extent sum = value;
	extent before;

	for (int step = 1; step < 32; step <<= 1)
	{
		extent other = __shfl_up_sync(~0u, sum, step);

		sum += lane >= step ? other : 0;
	}
	__syncthreads();
	if (lane == 31)
		of_warps[threadIdx.x / 32] = sum;
	__syncthreads();
	if (threadIdx.x < 32)
	{
		extent warp = lane < (int) blockDim.x / 32 ? of_warps[lane] : 0;

		for (int step = 1; step < 32; step <<= 1)
		{
			extent other = __shfl_up_sync(~0u, warp, step);

			warp += lane >= step ? other : 0;
		}
		of_warps[lane] = warp;
	}
	__syncthreads();
	before = threadIdx.x < 32 ? 0 : of_warps[threadIdx.x / 32 - 1];
	*total = of_warps[31];
	return before + sum - value;
}

/*
 * Where each of `size` numbers begins among rows and chunks, from how many rows it has; all of them
 * behind the last. By a whole block. first_chunk may be NULL.
 */
static __device__ void
scan_counts(const uint32_t *counts, uint32_t size, uint32_t *first, uint32_t *first_chunk)
{
	extent so_far = 0;

	for (uint32_t begin = 0; begin < size; begin += blockDim.x)
	{
		uint32_t k = begin + threadIdx.x;
		extent all;
		extent before = so_far + scan_block(k < size ? extent_of(counts[k]) : 0, &all);

		if (k < size)
		{
			first[k] = (uint32_t) before;
			if (first_chunk)
				first_chunk[k] = (uint32_t) (before >> 32);
		}
		so_far += all;
	}
	if (threadIdx.x == 0)
	{
		first[size] = (uint32_t) so_far;
		if (first_chunk)
			first_chunk[size] = (uint32_t) (so_far >> 32);
	}
}

/* Where whole codes begin, where a digit is not one; one block. counts become 0 again. */
static __global__ void
__launch_bounds__(MOST_THREADS, 1)
	scan_codes(uint32_t *counts, uint32_t size, uint32_t *first, uint32_t *first_chunk)
{
	scan_counts(counts, size, first, first_chunk);
	for (uint32_t k = threadIdx.x; k < size; k += blockDim.x)
		counts[k] = 0;
}

/*
 * Of each bin: all its rows, and those in the tiles before this block's. Four bins a thread, as many
 * threads for each as there are.
 */
static __device__ void
add_tiles(const pass &p, const uint32_t *tiles, uint32_t *all, uint32_t *before)
{
	uint32_t groups = p.bins / 4;
	uint32_t width = min(groups, blockDim.x);
	uint32_t parts = blockDim.x / width;

	for (uint32_t b = threadIdx.x; b < p.bins; b += blockDim.x)
		all[b] = before[b] = 0;
	__syncthreads();
	/* Threads that are left over do nothing. */
	for (uint32_t group = threadIdx.x % width; group < groups && threadIdx.x < parts * width;
		 group += width)
	{
		uint4 sum = {}, sum_before = {};

		for (uint32_t t = threadIdx.x / width; t < p.tiles; t += parts * TILES_AHEAD)
		{
			uint4 ahead[TILES_AHEAD];

#pragma unroll
			for (uint32_t a = 0; a < TILES_AHEAD; a++)
				ahead[a] = t + a * parts < p.tiles
							   ? ((const uint4 *) tiles)[(t + a * parts) * groups + group]
							   : make_uint4(0, 0, 0, 0);
#pragma unroll
			for (uint32_t a = 0; a < TILES_AHEAD; a++)
			{
				uint32_t mask = t + a * parts < blockIdx.x ? ~0u : 0;

				sum.x += ahead[a].x;
				sum.y += ahead[a].y;
				sum.z += ahead[a].z;
				sum.w += ahead[a].w;
				sum_before.x += ahead[a].x & mask;
				sum_before.y += ahead[a].y & mask;
				sum_before.z += ahead[a].z & mask;
				sum_before.w += ahead[a].w & mask;
			}
		}
		atomicAdd(&all[4 * group], sum.x);
		atomicAdd(&all[4 * group + 1], sum.y);
		atomicAdd(&all[4 * group + 2], sum.z);
		atomicAdd(&all[4 * group + 3], sum.w);
		atomicAdd(&before[4 * group], sum_before.x);
		atomicAdd(&before[4 * group + 1], sum_before.y);
		atomicAdd(&before[4 * group + 2], sum_before.z);
		atomicAdd(&before[4 * group + 3], sum_before.w);
	}
	__syncthreads();
}

/* Describe the chunk that begins at this place of a code's, if one does. */
static __device__ inline void
begin_chunk(const stk_members_view &m, uint32_t code, uint32_t place, uint32_t first, uint32_t rows,
			uint32_t first_chunk)
{
	uint32_t number = (place - first) / STK_MEMBERS_CHUNK;
	stk_members_chunk c = {code, rows, place, number};

	if ((place - first) % STK_MEMBERS_CHUNK == 0)
		m.chunks[first_chunk + number] = c;
}

/*
 * Put each tile's rows in place. A tile's warps have its rows in order, and so have their steps: on
 * a first turn they count, on a second they know where each of their rows goes.
 */
static __global__ void
__launch_bounds__(MOST_THREADS, 1)
	scatter(const pass p, const uint32_t *tiles, const stk_members_view m)
{
	__shared__ uint32_t table[PLACES]; /* [warps][bins] */
	__shared__ uint32_t all[MOST_BINS], before[MOST_BINS];
	__shared__ uint32_t first[MOST_BINS + 1], first_chunk[MOST_BINS + 1];
	uint32_t warps = blockDim.x / 32;
	uint32_t *places = table + threadIdx.x / 32 * p.bins;
	unsigned lower = (1u << (threadIdx.x & 31)) - 1;
	uint32_t rows = 32 * p.steps;
	uint32_t begin = (blockIdx.x * warps + threadIdx.x / 32) * rows;

	let_next_begin();
	for (uint32_t b = threadIdx.x; b < warps * p.bins; b += blockDim.x)
		table[b] = 0;
	__syncthreads();
	for (int turn = 0; turn < 2; turn++)
	{
		for (uint32_t step = 0; step < rows; step += 32)
		{
			uint32_t at = begin + step + (threadIdx.x & 31);
			unsigned active = __ballot_sync(~0u, at < p.n);

			if (at < p.n)
			{
				uint32_t row = row_at(p, at);
				uint32_t code = code_of(p, row);
				uint32_t bin = code >> p.shift & p.mask;
				unsigned peers = __match_any_sync(active, bin);
				uint32_t place = places[bin] + (unsigned) __popc(peers & lower);

				__syncwarp(active);
				if (acts(peers))
					places[bin] += (unsigned) __popc(peers);
				if (turn == 1)
					p.to[place] = row;
				if (turn == 1 && p.whole)
					begin_chunk(m, code, place, first[bin], all[bin], first_chunk[bin]);
				else if (turn == 1 && p.last)
					begin_chunk(m, code, place, m.first[code], m.first[code + 1] - m.first[code],
								m.first_chunk[code]);
			}
			__syncwarp();
		}
		if (turn == 1)
			break;
		/* From how many rows each warp has to where its first goes. */
		wait_for_last();
		add_tiles(p, tiles, all, before);
		scan_counts(all, p.bins, first, first_chunk);
		__syncthreads();
		for (uint32_t b = threadIdx.x; b < p.bins; b += blockDim.x)
		{
			uint32_t place = first[b] + before[b];

			for (uint32_t w = 0; w < warps; w += WARPS_AHEAD)
			{
				uint32_t counts[WARPS_AHEAD];

#pragma unroll
				for (uint32_t a = 0; a < WARPS_AHEAD; a++)
					counts[a] = w + a < warps ? table[(w + a) * p.bins + b] : 0;
#pragma unroll
				for (uint32_t a = 0; a < WARPS_AHEAD; a++)
				{
					if (w + a < warps)
						table[(w + a) * p.bins + b] = place;
					place += counts[a];
				}
			}
		}
		for (uint32_t b = threadIdx.x; b <= m.size && p.whole && blockIdx.x == 0; b += blockDim.x)
		{
			m.first[b] = first[b];
			m.first_chunk[b] = first_chunk[b];
		}
		__syncthreads();
	}
}

/* Threads of a tile: the places of their warps fit shared memory. */
static unsigned
threads_for(uint32_t bins)
{
	unsigned threads = PLACES / bins * 32;

	return threads < MOST_THREADS ? threads : MOST_THREADS;
}

static stk_status
group_pass(const stk_device_members *m, pass *p, cudaStream_t stream, stk_error *err)
{
	unsigned threads = threads_for(p->bins);
	size_t step = (size_t) threads * MOST_TILES;

	p->steps = p->n ? (uint32_t) ((p->n + step - 1) / step) : 1;
	p->tiles = p->n ? (p->n + threads * p->steps - 1) / (threads * p->steps) : 1;
	count_tiles<<<p->tiles, threads, 0, stream>>>(*p, m->tiles);
	if (p->counts)
		scan_codes<<<1, MOST_THREADS, 0, stream>>>(p->counts, m->view.size, m->view.first,
												   m->view.first_chunk);
	launch_next(scatter, p->tiles, threads, stream, *p, m->tiles, m->view);
	return stk_cuda_status(cudaGetLastError(), "group rows on the device", err);
}

stk_status
stk_members_group_launch(const stk_device_members *m, const uint16_t *codes, size_t stride,
						 size_t n, cudaStream_t stream, stk_error *err)
{
	pass p = {};
	stk_status status;

	p.codes = codes;
	p.stride = stride;
	p.n = (uint32_t) n;
	p.mask = ~0u;
	p.bins = m->bins;
	p.to = m->view.rows;
	p.whole = true;
	p.last = true;
	if (m->passes == 1)
		return group_pass(m, &p, stream, err);

	p.mask = m->bins - 1;
	p.to = m->sorted;
	p.counts = m->counts;
	p.whole = false;
	p.last = false;
	status = group_pass(m, &p, stream, err);
	if (status != STK_OK)
		return status;
	p.shift = m->bits;
	p.from = m->sorted;
	p.to = m->view.rows;
	p.counts = NULL;
	p.last = true;
	return group_pass(m, &p, stream, err);
}

/* Lay everything out; returns how many bytes it takes. *zeros: those that are 0 between launches. */
static size_t
lay_out(stk_device_members *m, size_t *zeros)
{
	size_t size = m->view.size;
	size_t chunks = m->most / STK_MEMBERS_CHUNK + (m->most < size ? m->most : size);
	size_t at = 0;

	m->view.arrived = (uint32_t *) stk_take(m->memory, &at, size * sizeof(uint32_t));
	m->counts =
		(uint32_t *) stk_take(m->memory, &at, (m->passes > 1 ? size : 0) * sizeof(uint32_t));
	/* Blocks look at their chunk before they know whether there is one. */
	m->view.chunks =
		(stk_members_chunk *) stk_take(m->memory, &at, chunks * sizeof(stk_members_chunk));
	*zeros = at;
	m->view.rows = (uint32_t *) stk_take(m->memory, &at, m->most * sizeof(uint32_t));
	m->sorted =
		(uint32_t *) stk_take(m->memory, &at, (m->passes > 1 ? m->most : 0) * sizeof(uint32_t));
	m->view.first = (uint32_t *) stk_take(m->memory, &at, (size + 1) * sizeof(uint32_t));
	m->view.first_chunk = (uint32_t *) stk_take(m->memory, &at, (size + 1) * sizeof(uint32_t));
	m->tiles =
		(uint32_t *) stk_take(m->memory, &at, (size_t) MOST_TILES * m->bins * sizeof(uint32_t));
	m->view.sums = (double *) stk_take(m->memory, &at, chunks * m->dim * sizeof(double));
	return at;
}

stk_status
stk_device_members_create(size_t n, uint32_t size, size_t dim, cudaStream_t stream,
						  stk_device_members **out, stk_error *err)
{
	static const char doing[] = "make room for rows by code on the device";
	stk_device_members *m;
	stk_status status;
	size_t zeros;

	*out = NULL;
	if (n > INT32_MAX)
		return stk_fail(err, STK_EINVAL, "expected less than 2^31 rows");
	m = (stk_device_members *) calloc(1, sizeof(*m));
	if (!m)
		return STK_ENOMEM;
	m->view.size = size;
	m->most = n;
	m->dim = dim;
	m->passes = size <= MOST_BINS ? 1 : 2;
	m->bins = (size + 3) / 4 * 4;
	if (m->passes > 1)
	{
		while ((size - 1) >> (2 * m->bits) > 0)
			m->bits++;
		m->bins = 1u << m->bits;
	}
	m->bytes = lay_out(m, &zeros);
	status = stk_cuda_status(cudaMalloc(&m->memory, m->bytes), doing, err);
	if (status == STK_OK)
	{
		lay_out(m, &zeros);
		status = stk_cuda_status(cudaMemsetAsync(m->memory, 0, zeros, stream), doing, err);
	}
	if (status == STK_OK)
		*out = m;
	else
		stk_device_members_free(m);
	return status;
}

void
stk_device_members_free(stk_device_members *m)
{
	if (!m)
		return;
	(void) cudaFree(m->memory);
	free(m);
}
