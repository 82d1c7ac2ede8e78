/*
 * Residual encode with a beam, by the reference alone, as core's rq_beam_plain.c.
 *
 * A block takes a few rows through all levels. At each level it forms the residuals of the kept
 * prefixes, scores all their children in binary64, some codewords at a time, and keeps of those and
 * the best so far the best again: by key, score and code sequence. Prefixes lie in the order of
 * their code sequences, so that a child's place, parent * size + code, orders as its sequence does.
 *
 * Bytes: rows once; each block reads all codewords, from the caches. Operations: a fma in binary64
 * for each row, prefix, codeword and element: n dim (K_0 + width (K_1 + ...)). Bound: those.
 */
#include "beam_shape.h"
#include "reference.cuh"

#define THREADS STK_BEAM_THREADS
#define TILE STK_BEAM_TILE
/* Codewords that a group of eight threads scores together, and a warp. */
#define NEAR 4
#define ACROSS (32 / STK_GROUP * NEAR)
/* Digits, of eight bits, of a candidate: its key's, its score's, its place's. */
#define DIGITS 20

/* Numbers of 64 bits that order as the scores do; -0 = +0. */
static __device__ inline unsigned long long
ordered(double v)
{
	unsigned long long bits = (unsigned long long) __double_as_longlong(__dadd_rn(v, 0.0));

	return bits >> 63 ? ~bits : bits | 1ull << 63;
}

static __device__ inline double
value_of(unsigned long long bits)
{
	return __longlong_as_double((long long) (bits >> 63 ? bits ^ 1ull << 63 : ~bits));
}

typedef struct candidate
{
	unsigned long long key;
	unsigned long long s;
	uint32_t place;
} candidate;

/* What a row's threads look for: the last candidate to keep, digit by digit. */
typedef struct search
{
	candidate last;
	uint32_t wanted; /* of those that agree with it so far */
	uint32_t found;
	bool done;
} search;

/* What a block works on, and in. */
typedef struct beam_block
{
	const stk_device_level *level;
	size_t dim;
	int nlevels;
	uint32_t width;
	uint32_t chunk;
	uint32_t parents; /* of a row */
	uint32_t first;   /* codeword of the chunk */
	uint32_t count;   /* codewords of it */
	uint32_t kept;    /* of a row, before it */
	double *residuals;
	double *scores;
	double *keys;                 /* of this thread's row, as all that follows */
	unsigned long long *best_key; /* the other side's lie `all` further */
	unsigned long long *best_s;
	uint32_t *places;
	uint32_t *counts;
	uint16_t *codes; /* the other side's lie all * nlevels further */
	size_t all;      /* prefixes of a block */
	search *at;
	int row;
	int thread; /* of the row's team */
	int team;
} beam_block;

/* Are the two the same in all digits before this one? */
static __device__ inline bool
agree(const candidate &a, const candidate &b, int digit)
{
	if (digit < 8)
		return digit == 0 || a.key >> (64 - 8 * digit) == b.key >> (64 - 8 * digit);
	if (a.key != b.key)
		return false;
	if (digit < 16)
		return digit == 8 || a.s >> (128 - 8 * digit) == b.s >> (128 - 8 * digit);
	if (a.s != b.s)
		return false;
	return digit == 16 || a.place >> (160 - 8 * digit) == b.place >> (160 - 8 * digit);
}

static __device__ inline uint32_t
digit_of(const candidate &c, int digit)
{
	if (digit < 8)
		return (uint32_t) (c.key >> (56 - 8 * digit)) & 0xff;
	if (digit < 16)
		return (uint32_t) (c.s >> (120 - 8 * digit)) & 0xff;
	return c.place >> (152 - 8 * digit) & 0xff;
}

/* Set a digit, which is 0; with `rest`, all behind it to their largest. */
static __device__ inline void
set_digit(candidate *c, int digit, uint32_t value, bool rest)
{
	if (digit < 8)
		c->key |= (unsigned long long) value << (56 - 8 * digit) |
				  (rest ? (1ull << (56 - 8 * digit)) - 1 : 0);
	else if (digit < 16)
		c->s |= (unsigned long long) value << (120 - 8 * digit) |
				(rest ? (1ull << (120 - 8 * digit)) - 1 : 0);
	else
		c->place |= value << (152 - 8 * digit) | (rest ? (1u << (152 - 8 * digit)) - 1 : 0);
	if (rest && digit < 8)
		c->s = ~0ull;
	if (rest && digit < 16)
		c->place = ~0u;
}

static __device__ inline bool
keeps(const candidate &last, const candidate &c)
{
	if (c.key != last.key)
		return c.key < last.key;
	if (c.s != last.s)
		return c.s < last.s;
	return c.place <= last.place;
}

/* Call f for each of the row's candidates: the best so far, and the chunk's children. */
template <typename F>
static __device__ inline void
each(const beam_block &b, int side, F f)
{
	for (uint32_t i = b.thread; i < b.kept; i += b.team)
		f(candidate{b.best_key[side * b.all + i], b.best_s[side * b.all + i],
					b.places[side * b.all + i]});
	for (uint32_t p = 0; p < b.parents; p++)
	{
		const double *scores = b.scores + ((size_t) b.row * b.parents + p) * b.chunk;
		double key = b.keys[p];

		for (uint32_t k = b.thread; k < b.count; k += b.team)
		{
			double s = scores[k];

			f(candidate{ordered(__dadd_rn(key, __dmul_rn(2, s))), ordered(s),
						p * b.level->size + b.first + k});
		}
	}
}

/* Form the residuals of the kept prefixes, from the rows; zeros fill the tiles. */
static __device__ void
form_residuals(const beam_block &b, const stk_device_level *levels, int l, const float *x,
			   size_t first_row, int rows, uint32_t beams, const uint16_t *codes,
			   stk_encode_failure *failure)
{
	uint32_t padded = (beams + TILE - 1) / TILE * TILE;

	for (uint32_t i = 0; i < padded; i++)
	{
		uint32_t r = i / b.parents;
		const uint16_t *prefix =
			codes + ((size_t) r * b.width + i % b.parents) * (size_t) b.nlevels;
		bool real = (int) r < rows;
		bool bad = false;

		for (size_t e = threadIdx.x; e < b.dim; e += THREADS)
		{
			float v = real ? x[(first_row + r) * b.dim + e] : 0;

			for (int t = 0; t < l && real; t++)
				v = __fsub_rn(v, levels[t].codewords[prefix[t] * b.dim + e]);
			bad |= !isfinite(v);
			b.residuals[i * b.dim + e] = v;
		}
		if (bad)
			atomicMin(failure,
					  stk_encode_failed(first_row + r, l == 0 ? -1 : l,
										l == 0 ? STK_ENCODE_NOT_FINITE : STK_ENCODE_OUT_OF_RANGE));
	}
}

/* Add the sums of lanes STEP apart, of which each keeps half of the residuals. */
template <int STEP>
static __device__ inline void
halve(double (&sum)[TILE][NEAR], int lane)
{
	bool upper = lane & STEP;

#pragma unroll
	for (int i = 0; i < STEP; i++)
	{
#pragma unroll
		for (int j = 0; j < NEAR; j++)
		{
			double other = upper ? sum[i][j] : sum[i + STEP][j];
			double own = upper ? sum[i + STEP][j] : sum[i][j];

			sum[i][j] = __dadd_rn(own, __shfl_xor_sync(~0u, other, STEP));
		}
	}
}

/*
 * Score a chunk's codewords with all residuals. A warp takes 8 residuals and 16 codewords, each of
 * its groups 4 of these; a thread has one lane of 8 x 4 products, and in the end a residual's 4.
 */
static __device__ void
score_chunk(const beam_block &b, uint32_t beams)
{
	uint32_t tiles = (beams + TILE - 1) / TILE;
	uint32_t across = (b.count + ACROSS - 1) / ACROSS;
	int lane = threadIdx.x % STK_GROUP;

	for (uint32_t task = threadIdx.x / 32; task < tiles * across; task += THREADS / 32)
	{
		uint32_t k = task % across * ACROSS + threadIdx.x % 32 / STK_GROUP * NEAR;
		uint32_t beam = task / across * TILE;
		const double *residuals = b.residuals + beam * b.dim;
		const float *c[NEAR];
		double sum[TILE][NEAR] = {};

		/* Behind the last codeword the last one again, for nothing. */
		for (int j = 0; j < NEAR; j++)
			c[j] = b.level->codewords + (b.first + (k + j < b.count ? k + j : b.count - 1)) * b.dim;
#pragma unroll 2
		for (size_t e = lane; e < b.dim; e += STK_GROUP)
		{
			double v[NEAR];

#pragma unroll
			for (int j = 0; j < NEAR; j++)
				v[j] = __ldg(c[j] + e);
#pragma unroll
			for (int i = 0; i < TILE; i++)
			{
				double r = residuals[i * b.dim + e];

#pragma unroll
				for (int j = 0; j < NEAR; j++)
					sum[i][j] = fma(r, v[j], sum[i][j]);
			}
		}
		/* The lanes' sums in the reference's order. */
		halve<4>(sum, lane);
		halve<2>(sum, lane);
		halve<1>(sum, lane);
#pragma unroll
		for (int j = 0; j < NEAR; j++)
		{
			if (k + j < b.count && beam + lane < beams)
				b.scores[(size_t) (beam + lane) * b.chunk + k + j] =
					__dsub_rn(b.level->half[b.first + k + j], sum[0][j]);
		}
	}
}

/* The digit in which the wanted-th candidate lies, by the first warp of the row's team. */
static __device__ void
find_digit(const beam_block &b, int digit)
{
	search *at = b.at;
	int lane = b.thread;
	uint32_t wanted = at->wanted;
	uint32_t own = 0;
	uint32_t below;

	for (int i = 0; i < 8; i++)
		own += b.counts[lane * 8 + i];
	below = own;
	for (int step = 1; step < 32; step <<= 1)
	{
		uint32_t other = __shfl_up_sync(~0u, below, step);

		below += lane >= step ? other : 0;
	}
	below -= own;
	/* All have read what one may now change. */
	__syncwarp();
	if (below >= wanted || below + own < wanted)
		return;
	for (int i = 0; i < 8; i++)
	{
		uint32_t here = b.counts[lane * 8 + i];

		if (below + here >= wanted)
		{
			at->wanted = wanted - below;
			at->done = here == wanted - below;
			set_digit(&at->last, digit, (uint32_t) (lane * 8 + i), at->done);
			return;
		}
		below += here;
	}
}

/* Keep the best `keep` of the row's candidates, on the other side. All rows go together. */
static __device__ void
select_best(const beam_block &b, int side, uint32_t keep)
{
	search *at = b.at;
	bool all = b.kept + b.parents * b.count <= keep;

	if (b.thread == 0)
	{
		at->last = all ? candidate{~0ull, ~0ull, ~0u} : candidate{0, 0, 0};
		at->wanted = keep;
		at->found = 0;
		at->done = all;
	}
	__syncthreads();
	for (int digit = 0; digit < DIGITS && __syncthreads_or(!at->done); digit++)
	{
		bool done = at->done;
		candidate last = at->last;

		for (int i = b.thread; i < 256; i += b.team)
			b.counts[i] = 0;
		__syncthreads();
		if (!done)
			each(b, side,
				 [&](const candidate &c)
				 {
					 if (agree(c, last, digit))
						 atomicAdd(&b.counts[digit_of(c, digit)], 1);
				 });
		__syncthreads();
		if (!done && b.thread < 32)
			find_digit(b, digit);
		__syncthreads();
	}
	each(b, side,
		 [&](const candidate &c)
		 {
			 if (keeps(at->last, c))
			 {
				 size_t i = !side * b.all + atomicAdd(&at->found, 1);

				 b.best_key[i] = c.key;
				 b.best_s[i] = c.s;
				 b.places[i] = c.place;
			 }
		 });
	__syncthreads();
}

/* Make the best of a level the prefixes of the next, in the order of their code sequences. */
static __device__ void
take_prefixes(const beam_block &b, int side, int l)
{
	const uint32_t *places = b.places + side * b.all;
	const uint16_t *parents = b.codes + (l & 1) * b.all * b.nlevels;
	uint16_t *children = b.codes + (~l & 1) * b.all * b.nlevels;

	for (uint32_t i = b.thread; i < b.kept; i += b.team)
	{
		uint32_t place = places[i];
		const uint16_t *parent = parents + (size_t) (place / b.level->size) * b.nlevels;
		uint32_t rank = 0;
		uint16_t *own;

		for (uint32_t j = 0; j < b.kept; j++)
			rank += places[j] < place;
		own = children + (size_t) rank * b.nlevels;
		for (int t = 0; t < l; t++)
			own[t] = parent[t];
		own[l] = (uint16_t) (place % b.level->size);
		b.keys[rank] = value_of(b.best_key[side * b.all + i]);
	}
	__syncthreads();
}

static __global__ void
__launch_bounds__(THREADS, 2)
	encode_beam(const stk_device_level *levels, int nlevels, const float *__restrict__ x, size_t n,
				size_t dim, uint16_t *codes, stk_encode_failure *failure, stk_beam_shape shape)
{
	extern __shared__ double shared[];
	__shared__ search searches[STK_BEAM_ROWS];
	char *base = (char *) shared;
	size_t first_row = (size_t) blockIdx.x * shape.rows;
	int rows = n - first_row < (size_t) shape.rows ? (int) (n - first_row) : shape.rows;
	size_t all = (size_t) shape.rows * shape.width;
	uint16_t *all_codes = (uint16_t *) (base + shape.codes);
	beam_block b;

	b.dim = dim;
	b.nlevels = nlevels;
	b.width = shape.width;
	b.chunk = shape.chunk;
	b.parents = 1;
	b.team = THREADS / shape.rows;
	b.row = threadIdx.x / b.team;
	b.thread = threadIdx.x % b.team;
	b.at = &searches[b.row];
	b.residuals = shared;
	b.scores = (double *) (base + shape.scores);
	b.keys = (double *) (base + shape.keys) + (size_t) b.row * b.width;
	b.counts = (uint32_t *) (base + shape.counts) + b.row * 256;
	b.all = all;
	b.best_key = (unsigned long long *) (base + shape.best_key) + (size_t) b.row * b.width;
	b.best_s = (unsigned long long *) (base + shape.best_s) + (size_t) b.row * b.width;
	b.places = (uint32_t *) (base + shape.places) + (size_t) b.row * b.width;
	b.codes = all_codes + (size_t) b.row * b.width * nlevels;
	for (int l = 0; l < nlevels; l++)
	{
		uint32_t beams = shape.rows * b.parents;
		uint32_t most = l + 1 < nlevels ? b.width : 1;
		int side = 0;

		b.level = levels + l;
		form_residuals(b, levels, l, x, first_row, rows, beams, all_codes + (l & 1) * all * nlevels,
					   failure);
		__syncthreads();
		if (l == 0)
		{
			/* d_0 = dot(x, x), by a group for each row. */
			uint32_t r = threadIdx.x / STK_GROUP;
			const double *row = b.residuals + r * dim;
			double sum = 0;

			for (size_t e = threadIdx.x % STK_GROUP; e < dim && r < beams; e += STK_GROUP)
				sum = fma(row[e], row[e], sum);
			sum = add_lanes(sum);
			if (threadIdx.x % STK_GROUP == 0 && r < beams)
				((double *) (base + shape.keys))[r * b.width] = sum;
		}
		b.kept = 0;
		for (b.first = 0; b.first < b.level->size; b.first += b.chunk)
		{
			uint32_t left = b.level->size - b.first;
			uint32_t keep;

			b.count = left < b.chunk ? left : b.chunk;
			score_chunk(b, beams);
			__syncthreads();
			keep = b.kept + b.parents * b.count;
			keep = keep < most ? keep : most;
			select_best(b, side, keep);
			b.kept = keep;
			side = !side;
		}
		take_prefixes(b, side, l);
		b.parents = b.kept;
	}
	for (int i = threadIdx.x; i < rows * nlevels; i += THREADS)
		codes[first_row * nlevels + i] =
			all_codes[((nlevels & 1) * all + i / nlevels * b.width) * nlevels + i % nlevels];
}

stk_status
stk_encode_beam_launch(const stk_encode_call *call, cudaStream_t stream, stk_error *err)
{
	const stk_device_codebook *cb = call->cb;
	uint32_t sizes[STK_MAX_LEVELS];
	stk_beam_shape shape;
	int device;
	int shared = 0;
	int most;
	cudaError_t code = cudaGetDevice(&device);
	stk_status status;

	if (call->n == 0)
		return STK_OK;
	for (int l = 0; l < cb->levels; l++)
		sizes[l] = cb->on_host[l].size;
	if (code == cudaSuccess)
		code = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
	status = stk_cuda_status(code, "look at the device", err);
	if (status != STK_OK)
		return status;
	/* All are allowed, whatever this call takes: another thread's may need more. */
	most = shared - 1024;
	if (!stk_beam_shape_choose(sizes, cb->levels, cb->dim, call->beam, call->n, (size_t) most,
							   &shape))
		return stk_fail(err, STK_EINVAL, "no device encodes with a beam of %d here", call->beam);
	status = stk_cuda_status(cudaFuncSetAttribute(encode_beam,
												  cudaFuncAttributeMaxDynamicSharedMemorySize,
												  most),
							 "take shared memory", err);
	if (status != STK_OK)
		return status;
	encode_beam<<<(unsigned) ((call->n + shape.rows - 1) / shape.rows), THREADS, shape.bytes,
				  stream>>>(cb->on_dev, cb->levels, call->x, call->n, (size_t) cb->dim, call->codes,
							call->failure, shape);
	return stk_cuda_status(cudaGetLastError(), "encode rows with a beam on the device", err);
}
