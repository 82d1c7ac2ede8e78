/*
 * What codewords learn from a batch, all levels in one kernel: a block a code, which finds its rows
 * by itself, in order, and adds them up in the shape of core's member_sums.h.
 *
 * Bytes: rows once, 4 n dim a level; each block reads its level's codes, 2 n. Operations: n dim
 * additions in binary64 a level. Bound: latency where rows are few; the second-level cache, for the
 * codes.
 */
#include "ema.cuh"
#include "members.cuh"
#include "network_step.h"

#define THREADS 256
#define WARPS (THREADS / 32)

/* The block's code. */
struct code_place
{
	int level;
	uint32_t k;       /* within the level */
	size_t codewords; /* of the levels before */
};

static __device__ inline code_place
find_code(const stk_codes_call &c)
{
	code_place p = {0, blockIdx.x, 0};

	while (p.k >= c.sizes[p.level])
	{
		p.k -= c.sizes[p.level];
		p.codewords += c.sizes[p.level];
		p.level++;
	}
	return p;
}

/* Add `count` rows of x to sum [dim]: one chunk. */
template <int WIDTH>
static __device__ inline void
take_chunk(const float *x, size_t dim, const uint32_t *members, uint32_t count, double *sum)
{
	for (size_t column = WIDTH * (threadIdx.x / STK_GROUP); column < dim;
		 column += WIDTH * (THREADS / STK_GROUP))
	{
		double chunk[WIDTH];

		add_chunk<WIDTH>(x, dim, column, members, count, chunk);
		if (threadIdx.x % STK_GROUP == 0)
		{
#pragma unroll
			for (int i = 0; i < WIDTH; i++)
				sum[column + i] = __dadd_rn(sum[column + i], chunk[i]);
		}
	}
}

/* The sum [dim] of the rows of x that have the code; how many there are. By a whole block. */
template <int WIDTH>
static __device__ uint32_t
sum_rows(const stk_codes_call &c, const uint16_t *codes, uint32_t k, const float *x, double *sum)
{
	__shared__ uint32_t members[STK_MEMBERS_CHUNK + THREADS];
	__shared__ uint32_t found[WARPS];
	uint32_t waiting = 0, all = 0;

	for (size_t i = threadIdx.x; i < c.dim; i += THREADS)
		sum[i] = 0;
	for (size_t first = 0; first < c.n; first += THREADS)
	{
		size_t row = first + threadIdx.x;
		bool mine = row < c.n && codes[row * c.levels] == k;
		unsigned warp = __ballot_sync(~0u, mine);
		uint32_t before = waiting;

		if (threadIdx.x % 32 == 0)
			found[threadIdx.x / 32] = __popc(warp);
		__syncthreads();
		for (uint32_t w = 0; w < WARPS; w++)
		{
			before += w < threadIdx.x / 32 ? found[w] : 0;
			waiting += found[w];
		}
		if (mine)
			members[before + __popc(warp & ((1u << threadIdx.x % 32) - 1))] = (uint32_t) row;
		__syncthreads();
		if (waiting < STK_MEMBERS_CHUNK)
			continue;
		take_chunk<WIDTH>(x, c.dim, members, STK_MEMBERS_CHUNK, sum);
		all += STK_MEMBERS_CHUNK;
		waiting -= STK_MEMBERS_CHUNK;
		__syncthreads();
		if (threadIdx.x < waiting)
			members[threadIdx.x] = members[STK_MEMBERS_CHUNK + threadIdx.x];
		__syncthreads();
	}
	if (waiting > 0)
		take_chunk<WIDTH>(x, c.dim, members, waiting, sum);
	__syncthreads();
	return all + waiting;
}

/* A learnable code that no row chose: nothing, or a random row of the batch. */
static __device__ inline void
restart_learnable(const stk_codes_call &c, const stk_ema &e, const stk_ema_rule &rule, uint32_t k,
				  size_t at, const float *x)
{
	const float *row = x + ema_restart_row(rule, k, c.n) * c.dim;
	bool restart = ema_idle(e, rule, k);

	for (size_t i = threadIdx.x; i < c.dim; i += THREADS)
	{
		c.gradient[at * c.dim + i] = 0;
		if (!restart)
			continue;
		c.codewords[at * c.dim + i] = row[i];
		c.first[at * c.dim + i] = 0;
		c.second[at * c.dim + i] = 0;
	}
	if (restart && threadIdx.x == 0)
		e.idle[k] = 0;
}

template <int WIDTH>
static __global__ void
__launch_bounds__(THREADS) learn_codes(const stk_codes_call c)
{
	extern __shared__ double sum[]; /* [dim] */
	code_place p = find_code(c);
	size_t at = p.codewords + p.k;
	const float *x = c.residuals + (size_t) p.level * c.n * c.dim;
	stk_step_cursor cursor = *c.run.cursor;
	stk_ema_rule rule = c.rule;
	stk_ema e = {};
	double count_before = c.learnable ? 0 : c.counts[at];
	uint32_t rows;

	e.size = c.sizes[p.level];
	e.dim = c.dim;
	e.codewords = c.codewords + p.codewords * c.dim;
	e.counts = c.counts + p.codewords;
	e.sums = c.sums + p.codewords * c.dim;
	e.idle = c.idle + p.codewords;
	rule.level = p.level;
	rule.step = c.run.paces[cursor.step].step;
	rows = sum_rows<WIDTH>(c, c.run.codes + cursor.row * c.levels + p.level, p.k,
						   c.learnable ? x + c.n * c.dim : x, sum);
	if (rows > 0 && !c.learnable)
		ema_blend(e, rule, p.k, rows, count_before, sum);
	else if (rows > 0)
	{
		for (size_t i = threadIdx.x; i < c.dim; i += THREADS)
			c.gradient[at * c.dim + i] = (float) (-2 * sum[i] / (double) c.n);
		if (threadIdx.x == 0)
			e.idle[p.k] = 0;
	}
	else if (c.learnable)
		restart_learnable(c, e, rule, p.k, at, x);
	else if (ema_idle(e, rule, p.k))
		ema_restart(e, p.k, x + ema_restart_row(rule, p.k, c.n) * c.dim);
}

stk_status
stk_codes_launch(const stk_codes_call *call, cudaStream_t stream, stk_error *err)
{
	size_t bytes = call->dim * sizeof(double);
	unsigned blocks = 0;

	for (int l = 0; l < call->levels; l++)
		blocks += call->sizes[l];
	if (call->dim % 4 == 0)
		learn_codes<4><<<blocks, THREADS, bytes, stream>>>(*call);
	else
		learn_codes<1><<<blocks, THREADS, bytes, stream>>>(*call);
	return stk_cuda_status(cudaGetLastError(), "teach codewords on the device", err);
}
