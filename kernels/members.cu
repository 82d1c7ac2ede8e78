/*
 * Grouping rows by code: a stable counting sort. Tiles of rows are counted, the counts are scanned,
 * and each tile's warps put its rows in place, in row order. Codes of many values are sorted by two
 * digits, the lower first.
 *
 * Nothing waits for another block, and no result depends on the order in which blocks run: integer
 * tickets only tell the last block of a scan that it is the last.
 *
 * Bytes: codes twice, 2 n each, and rows once, 4 n; a table of n / tile rows x bins numbers is
 * written, scanned and read. Bound: the launches, three where one digit is enough.
 */
#include "members.h"

#define THREADS 256
#define WARPS (THREADS / 32)
/* Steps of 32 rows that a warp takes in a tile, at most. */
#define MOST_STEPS 16
/* Tiles that fill a device. */
#define MANY_TILES 132
/* Values of a digit, at most: a warp's counts of them all fit shared memory. */
#define MOST_BINS 1024
/* A scan's block: bins side by side, and parts of the tiles of each. */
#define SCAN_BINS 32
#define SCAN_PARTS 32
/* Tiles that are read before they are written. */
#define SCAN_AHEAD 8
#define SCAN_THREADS (SCAN_BINS * SCAN_PARTS)

/* One pass over the rows. */
typedef struct pass
{
	const uint16_t *codes;
	size_t stride;
	const uint32_t *from; /* [n] rows in the order so far; NULL: row order */
	uint32_t *to;         /* [n] */
	uint32_t n;
	int steps;
	int shift;
	uint32_t mask;
	uint32_t bins;
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

/*
 * The lanes of the warp that have this lane's number among those in `active`, which all of them
 * call; the lowest of them acts for all.
 */
static __device__ inline unsigned
peers_of(unsigned active, uint32_t number)
{
	return __match_any_sync(active, number);
}

static __device__ inline bool
acts(unsigned peers)
{
	return (threadIdx.x & 31) == (unsigned) __ffs((int) peers) - 1;
}

static __global__ void
__launch_bounds__(THREADS) count_tiles(const pass p, uint32_t *tiles)
{
	extern __shared__ uint32_t table[]; /* [bins] */
	uint32_t rows = THREADS * (uint32_t) p.steps;
	uint32_t first = blockIdx.x * rows;

	for (uint32_t b = threadIdx.x; b < p.bins; b += THREADS)
		table[b] = 0;
	__syncthreads();
	for (uint32_t at = first + threadIdx.x; at - first < rows; at += THREADS)
	{
		unsigned active = __ballot_sync(~0u, at < p.n);

		if (at < p.n)
		{
			uint32_t code = code_of(p, row_at(p, at));
			unsigned peers = peers_of(active, code >> p.shift & p.mask);

			if (acts(peers))
				atomicAdd(&table[code >> p.shift & p.mask], (unsigned) __popc(peers));
			if (p.counts)
			{
				peers = peers_of(active, code);
				if (acts(peers))
					atomicAdd(&p.counts[code], (unsigned) __popc(peers));
			}
		}
	}
	__syncthreads();
	for (uint32_t b = threadIdx.x; b < p.bins; b += THREADS)
		tiles[(size_t) blockIdx.x * p.bins + b] = table[b];
}

/* The sum of `value` over the threads before this one; *total that of all SCAN_THREADS. */
static __device__ uint32_t
scan_block(uint32_t value, uint32_t *total)
{
	__shared__ uint32_t of_warps[SCAN_THREADS / 32];
	int lane = threadIdx.x & 31;
	uint32_t sum = value;
	uint32_t before;

	for (int step = 1; step < 32; step <<= 1)
	{
		uint32_t other = __shfl_up_sync(~0u, sum, step);

		sum += lane >= step ? other : 0;
	}
	__syncthreads();
	if (lane == 31)
		of_warps[threadIdx.x / 32] = sum;
	__syncthreads();
	if (threadIdx.x < 32)
	{
		uint32_t warp = of_warps[lane];

		for (int step = 1; step < 32; step <<= 1)
		{
			uint32_t other = __shfl_up_sync(~0u, warp, step);

			warp += lane >= step ? other : 0;
		}
		of_warps[lane] = warp;
	}
	__syncthreads();
	before = threadIdx.x < 32 ? 0 : of_warps[threadIdx.x / 32 - 1];
	*total = of_warps[SCAN_THREADS / 32 - 1];
	return before + sum - value;
}

/*
 * Where each number's rows begin, and its chunks (NULL: nobody asks), from how many rows it has; by
 * a whole block of SCAN_THREADS. counts become 0 where `clear`.
 */
static __device__ void
scan_counts(uint32_t *counts, uint32_t size, bool clear, uint32_t *first, uint32_t *first_chunk)
{
	uint32_t each = (size + SCAN_THREADS - 1) / SCAN_THREADS;
	uint32_t begin = min(threadIdx.x * each, size);
	uint32_t end = min(begin + each, size);
	uint32_t rows = 0, chunks = 0, all_rows, all_chunks;

	for (uint32_t k = begin; k < end; k++)
	{
		uint32_t count = __ldcg(&counts[k]);

		rows += count;
		chunks += (count + STK_MEMBERS_CHUNK - 1) / STK_MEMBERS_CHUNK;
	}
	rows = scan_block(rows, &all_rows);
	chunks = scan_block(chunks, &all_chunks);
	for (uint32_t k = begin; k < end; k++)
	{
		uint32_t count = __ldcg(&counts[k]);

		first[k] = rows;
		rows += count;
		if (first_chunk)
			first_chunk[k] = chunks;
		chunks += (count + STK_MEMBERS_CHUNK - 1) / STK_MEMBERS_CHUNK;
		if (clear)
			counts[k] = 0;
	}
	if (threadIdx.x == 0)
	{
		first[size] = all_rows;
		if (first_chunk)
			first_chunk[size] = all_chunks;
	}
}

/*
 * Of each bin, how many rows the tiles before each have; then the last block to finish sets where
 * the bins begin.
 */
static __global__ void
__launch_bounds__(SCAN_THREADS)
	scan_tiles(uint32_t *tiles, uint32_t ntiles, uint32_t bins, uint32_t *totals, uint32_t *done,
			   uint32_t *first, uint32_t *first_chunk)
{
	__shared__ uint32_t parts[SCAN_PARTS][SCAN_BINS + 1];
	__shared__ bool last;
	uint32_t side = threadIdx.x % SCAN_BINS;
	uint32_t part = threadIdx.x / SCAN_BINS;
	uint32_t bin = blockIdx.x * SCAN_BINS + side;
	uint32_t each = (ntiles + SCAN_PARTS - 1) / SCAN_PARTS;
	uint32_t begin = min(part * each, ntiles);
	uint32_t end = min(begin + each, ntiles);
	uint32_t sum = 0;

	if (bin < bins)
	{
#pragma unroll 8
		for (uint32_t t = begin; t < end; t++)
			sum += tiles[(size_t) t * bins + bin];
	}
	parts[part][side] = sum;
	__syncthreads();
	/* A warp a bin, a part a lane. */
	{
		uint32_t value = parts[side][part];
		uint32_t before = value;

		for (int step = 1; step < 32; step <<= 1)
		{
			uint32_t other = __shfl_up_sync(~0u, before, step);

			before += side >= (uint32_t) step ? other : 0;
		}
		if (side == 31 && blockIdx.x * SCAN_BINS + part < bins)
			totals[blockIdx.x * SCAN_BINS + part] = before;
		parts[side][part] = before - value;
	}
	__syncthreads();
	sum = parts[part][side];
	if (bin < bins)
	{
		for (uint32_t t = begin; t < end; t += SCAN_AHEAD)
		{
			uint32_t counts[SCAN_AHEAD];

#pragma unroll
			for (uint32_t i = 0; i < SCAN_AHEAD; i++)
				counts[i] = t + i < end ? tiles[(size_t) (t + i) * bins + bin] : 0;
#pragma unroll
			for (uint32_t i = 0; i < SCAN_AHEAD; i++)
			{
				if (t + i < end)
					tiles[(size_t) (t + i) * bins + bin] = sum;
				sum += counts[i];
			}
		}
	}
	__threadfence();
	__syncthreads();
	if (threadIdx.x == 0)
		last = atomicAdd(done, 1) == gridDim.x - 1;
	__syncthreads();
	if (!last)
		return;
	__threadfence();
	scan_counts(totals, bins, false, first, first_chunk);
	if (threadIdx.x == 0)
		*done = 0;
}

/* The same for whole codes, where a digit is not one. */
static __global__ void
__launch_bounds__(SCAN_THREADS)
	scan_codes(uint32_t *counts, uint32_t size, uint32_t *first, uint32_t *first_chunk)
{
	scan_counts(counts, size, true, first, first_chunk);
}

/* Put each tile's rows in place. A tile's warps have its rows in order, and so have their steps. */
static __global__ void
__launch_bounds__(THREADS) scatter(const pass p, const uint32_t *tiles, const uint32_t *bin_first,
								   const stk_members_view m)
{
	extern __shared__ uint32_t table[]; /* [WARPS][bins] */
	uint32_t *places = table + threadIdx.x / 32 * p.bins;
	unsigned before = (1u << (threadIdx.x & 31)) - 1;
	uint32_t rows = 32 * (uint32_t) p.steps;
	uint32_t first = blockIdx.x * (rows * WARPS) + threadIdx.x / 32 * rows;

	for (uint32_t b = threadIdx.x; b < WARPS * p.bins; b += THREADS)
		table[b] = 0;
	__syncthreads();
	for (int turn = 0; turn < 2; turn++)
	{
		for (uint32_t step = 0; step < rows; step += 32)
		{
			uint32_t at = first + step + (threadIdx.x & 31);
			unsigned active = __ballot_sync(~0u, at < p.n);

			if (at < p.n)
			{
				uint32_t row = row_at(p, at);
				uint32_t code = code_of(p, row);
				uint32_t bin = code >> p.shift & p.mask;
				unsigned peers = peers_of(active, bin);
				uint32_t place = places[bin] + (unsigned) __popc(peers & before);

				__syncwarp(active);
				if (acts(peers))
					places[bin] += (unsigned) __popc(peers);
				if (turn == 1)
				{
					p.to[place] = row;
					if (p.last && (place - m.first[code]) % STK_MEMBERS_CHUNK == 0)
						m.chunk_code[m.first_chunk[code] +
									 (place - m.first[code]) / STK_MEMBERS_CHUNK] = code;
				}
			}
			__syncwarp();
		}
		if (turn == 1)
			break;
		/* From how many rows each warp has to where its first goes. */
		__syncthreads();
		for (uint32_t b = threadIdx.x; b < p.bins; b += THREADS)
		{
			uint32_t place = bin_first[b] + tiles[(size_t) blockIdx.x * p.bins + b];

			for (int w = 0; w < WARPS; w++)
			{
				uint32_t count = table[w * p.bins + b];

				table[w * p.bins + b] = place;
				place += count;
			}
		}
		__syncthreads();
	}
}

/* Steps of a tile's warps for n rows: tiles fill the device, and are not more than needed. */
static int
steps_for(size_t n)
{
	size_t steps = (n + THREADS * MANY_TILES - 1) / (THREADS * MANY_TILES);

	return steps < 1 ? 1 : steps > MOST_STEPS ? MOST_STEPS : (int) steps;
}

static size_t
tiles_for(size_t n)
{
	size_t rows = (size_t) THREADS * (size_t) steps_for(n);

	return n ? (n + rows - 1) / rows : 1;
}

/* Tiles that any number of rows up to n has, at most. */
static size_t
most_tiles(size_t n)
{
	size_t tiles = tiles_for(n);

	return tiles < MANY_TILES ? MANY_TILES : tiles;
}

static stk_status
group_pass(const stk_device_members *m, const pass *p, bool only, cudaStream_t stream,
		   stk_error *err)
{
	unsigned tiles = (unsigned) tiles_for(p->n);
	unsigned scans = (p->bins + SCAN_BINS - 1) / SCAN_BINS;
	size_t table = p->bins * sizeof(uint32_t);

	count_tiles<<<tiles, THREADS, table, stream>>>(*p, m->tiles);
	scan_tiles<<<scans, SCAN_THREADS, 0, stream>>>(m->tiles, tiles, p->bins, m->totals, m->done,
												   m->bin_first, only ? m->view.first_chunk : NULL);
	if (p->counts)
		scan_codes<<<1, SCAN_THREADS, 0, stream>>>(p->counts, m->view.size, m->view.first,
												   m->view.first_chunk);
	scatter<<<tiles, THREADS, WARPS * table, stream>>>(*p, m->tiles, m->bin_first, m->view);
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
	p.steps = steps_for(n);
	p.mask = ~0u;
	p.bins = m->bins;
	p.to = m->view.rows;
	p.last = true;
	if (m->passes == 1)
		return group_pass(m, &p, true, stream, err);

	p.mask = m->bins - 1;
	p.to = m->sorted;
	p.counts = m->counts;
	p.last = false;
	status = group_pass(m, &p, false, stream, err);
	if (status != STK_OK)
		return status;
	p.shift = m->bits;
	p.from = m->sorted;
	p.to = m->view.rows;
	p.counts = NULL;
	p.last = true;
	return group_pass(m, &p, false, stream, err);
}

/* Room for `count` numbers of `size` bytes at m->memory + *at, on a boundary of their own. */
static void *
take(const stk_device_members *m, size_t *at, size_t count, size_t size)
{
	size_t place = *at;

	*at += (count * size + 255) / 256 * 256;
	return m->memory ? (char *) m->memory + place : NULL;
}

/* Lay everything out; returns how many bytes it takes. *zeros: those that are 0 between launches. */
static size_t
lay_out(stk_device_members *m, size_t *zeros)
{
	size_t size = m->view.size;
	size_t chunks = m->most / STK_MEMBERS_CHUNK + (m->most < size ? m->most : size);
	size_t at = 0;

	m->view.arrived = (uint32_t *) take(m, &at, size, sizeof(uint32_t));
	m->counts = (uint32_t *) take(m, &at, m->passes > 1 ? size : 0, sizeof(uint32_t));
	m->done = (uint32_t *) take(m, &at, 1, sizeof(uint32_t));
	*zeros = at;
	m->view.rows = (uint32_t *) take(m, &at, m->most, sizeof(uint32_t));
	m->sorted = (uint32_t *) take(m, &at, m->passes > 1 ? m->most : 0, sizeof(uint32_t));
	m->view.first = (uint32_t *) take(m, &at, size + 1, sizeof(uint32_t));
	m->view.first_chunk = (uint32_t *) take(m, &at, size + 1, sizeof(uint32_t));
	m->view.chunk_code = (uint32_t *) take(m, &at, chunks, sizeof(uint32_t));
	m->bin_first = m->view.first;
	if (m->passes > 1)
		m->bin_first = (uint32_t *) take(m, &at, m->bins + 1, sizeof(uint32_t));
	m->totals = (uint32_t *) take(m, &at, m->bins, sizeof(uint32_t));
	m->tiles = (uint32_t *) take(m, &at, most_tiles(m->most) * m->bins, sizeof(uint32_t));
	m->view.sums = (double *) take(m, &at, chunks * m->dim, sizeof(double));
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
	m->bins = size;
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
