/*
 * Masked logits of a layer: the reference's of each row's children, -infinity elsewhere.
 *
 * A block has eight rows of one node and 64 of its children, a pair of threads each, which read a
 * child's weights once for all eight rows; rows lie widened in shared memory, in chunks. Then it
 * writes its part of these rows: the tokens from its first child to the next block's, and of those
 * before the first and behind the last child of the node its share. So blocks that compute run
 * beside blocks that write.
 *
 * Bytes: 4 n tokens written, weights n children / 8 times from the cache. Operations: n children
 * dim fma in binary64. Bound: writing.
 */
#include "trie_linear.cuh"

#define THREADS 128
#define ROWS 8
#define CHILDREN (THREADS / 2)
/* Numbers of a row that are at hand at once. */
#define CHUNK 512

static_assert(THREADS == STK_LINE_THREADS, "a block's pairs are what lines are for");

typedef struct masked_args
{
	linear_slab slab;
	void *out;
	uint32_t parts; /* of a tile of ROWS rows at least */
} masked_args;

static __device__ inline void
put(float *to, float v)
{
	*to = v;
}

static __device__ inline void
put(__half *to, float v)
{
	*to = __float2half_rn(v);
}

/* -infinity from `from` to `to`, by a warp. */
template <class Out>
static __device__ inline void
clear(Out *row, uint32_t from, uint32_t to)
{
	constexpr uint32_t EACH = 16 / sizeof(Out);
	uint32_t word = sizeof(Out) == 4 ? 0xff800000 : 0xfc00fc00;
	uint32_t lane = threadIdx.x % 32;
	uint32_t ahead = (uint32_t) (-(uintptr_t) (row + from) % 16 / sizeof(Out));
	uint32_t whole = min(from + ahead, to);
	uint32_t end = whole + (to - whole) / EACH * EACH;

	if (from + lane < whole)
		put(row + from + lane, -INFINITY);
	for (uint32_t i = whole + lane * EACH; i < end; i += 32 * EACH)
		__stcs((uint4 *) (row + i), make_uint4(word, word, word, word));
	if (end + lane < to)
		put(row + end + lane, -INFINITY);
}

/* Four weights times the same four elements of all rows, which lie CHUNK apart. */
static __device__ inline void
add_four(double (&lanes)[ROWS][4], const double *x, const float (&v)[4])
{
#pragma unroll
	for (int r = 0; r < ROWS; r++)
	{
		double2 low = *(const double2 *) (x + r * CHUNK);
		double2 high = *(const double2 *) (x + r * CHUNK + 2);

		lanes[r][0] = fma((double) v[0], low.x, lanes[r][0]);
		lanes[r][1] = fma((double) v[1], low.y, lanes[r][1]);
		lanes[r][2] = fma((double) v[2], high.x, lanes[r][2]);
		lanes[r][3] = fma((double) v[3], high.y, lanes[r][3]);
	}
}

/* A chunk of the rows, widened, zeros behind their end; all threads. */
template <class Number>
static __device__ inline void
widen_chunk(const linear_slab &s, const row_tile &tile, uint32_t from, double *x)
{
	uint32_t n = min(s.linear.dim - from, (uint32_t) CHUNK);

	__syncthreads();
#pragma unroll
	for (uint32_t r = 0; r < ROWS; r++)
	{
		const Number *row =
			(const Number *) s.x +
			(size_t) s.work.order[tile.first + min(r, tile.rows - 1)] * s.linear.dim + from;

		for (uint32_t e = threadIdx.x; e < CHUNK; e += THREADS)
			x[r * CHUNK + e] = e < n ? (double) widen(row[e]) : 0;
	}
	__syncthreads();
}

template <class Number, class Out>
static __global__ void
__launch_bounds__(THREADS) mask_logits(const masked_args a)
{
	extern __shared__ __align__(16) unsigned char room[];
	double *x = (double *) room; /* [ROWS][CHUNK] */
	__shared__ float logits[ROWS][CHILDREN];
	const linear_slab &s = a.slab;
	uint32_t ntiles = *s.work.ntiles;

	for (uint32_t item = blockIdx.x; item < ntiles * a.parts; item += gridDim.x)
	{
		row_tile tile = s.work.tiles[item / a.parts];
		uint32_t part = item % a.parts;
		stk_node_children c = tile.children;
		uint32_t parts = a.parts;
		uint32_t first = part * CHILDREN;
		uint32_t here = first < c.n ? min(c.n - first, (uint32_t) CHILDREN) : 0;
		uint32_t k = first + threadIdx.x / 2;
		double lanes[ROWS][4] = {};

		__syncthreads();
		if (here > 0)
		{
			uint32_t token = s.offset + c.codes[min(k, c.n - 1)];
			const Number *own = (const Number *) s.linear.weights + (size_t) token * s.linear.dim;
			uint32_t part = threadIdx.x % 2 * 4;
			weight_lines<Number> w;
			uint32_t count = (s.linear.dim + w.EACH - 1) / w.EACH;

			w.set(room + ROWS * CHUNK * sizeof(double), s.linear.dim);
#pragma unroll
			for (uint32_t i = 0; i < 4; i++)
			{
				uint32_t at = first + threadIdx.x / 8 + i * (THREADS / 8);

				w.from[i] = at < c.n ? (const Number *) s.linear.weights +
										   ((size_t) s.offset + c.codes[at]) * s.linear.dim
									 : NULL;
			}
			for (uint32_t line = 0; line < STK_LINE_TURNS - 1 && s.aligned; line++)
				w.begin(line);
			for (uint32_t line = 0; line < count; line++)
			{
				uint32_t from = line * w.EACH;
				const Number *at;

				if (from % CHUNK == 0)
					widen_chunk<Number>(s, tile, from, x);
				at = s.aligned ? w.take(line) : own + from;
#pragma unroll 4
				for (uint32_t e = part; e < w.EACH; e += 8)
				{
					float v[4];

					if (from + e >= s.linear.dim)
						break;
					if (s.aligned)
						take_four(at + e, v);
					else
					{
#pragma unroll
						for (uint32_t i = 0; i < 4; i++)
							v[i] = from + e + i < s.linear.dim ? widen(at[e + i]) : 0;
					}
					add_four(lanes, x + from % CHUNK + e, v);
				}
			}
#pragma unroll
			for (int r = 0; r < ROWS; r++)
			{
				double sum[4];

#pragma unroll
				for (int j = 0; j < 4; j++)
					sum[j] = __dadd_rn(lanes[r][j], __shfl_xor_sync(~0u, lanes[r][j], 1));
				if (threadIdx.x % 2 == 0)
				{
					double dot = __dadd_rn(__dadd_rn(sum[0], sum[2]), __dadd_rn(sum[1], sum[3]));

					logits[r][threadIdx.x / 2] =
						(float) with_bias(dot, (const Number *) s.linear.bias, token);
				}
			}
		}
		__syncthreads();
		for (uint32_t r = threadIdx.x / 32; r < tile.rows; r += THREADS / 32)
		{
			uint32_t row = s.work.order[tile.first + r];
			bool good = s.work.facts[row].norm >= 0;
			Out *to = (Out *) a.out + (size_t) (s.first + row) * s.linear.tokens;
			uint32_t lane = threadIdx.x % 32;
			uint32_t before = c.n > 0 ? s.offset + c.codes[0] : s.linear.tokens;
			uint32_t behind = c.n > 0 ? s.offset + c.codes[c.n - 1] + 1 : s.linear.tokens;

			/* Shares of what is outside. */
			clear(to, (uint32_t) ((uint64_t) before * part / parts),
				  (uint32_t) ((uint64_t) before * (part + 1) / parts));
			clear(to, behind + (uint32_t) ((uint64_t) (s.linear.tokens - behind) * part / parts),
				  behind + (uint32_t) ((uint64_t) (s.linear.tokens - behind) * (part + 1) / parts));
			if (here == 0)
				continue;
			clear(to, s.offset + c.codes[first],
				  first + here < c.n ? s.offset + c.codes[first + here] : behind);
			__syncwarp();
			for (uint32_t i = lane; i < here; i += 32)
				put(to + s.offset + c.codes[first + i], good ? logits[r][i] : NAN);
		}
	}
}

template <class Number, class Out>
static stk_status
launch(const masked_args *a, cudaStream_t stream, stk_error *err)
{
	static const char doing[] = "mask logits on the device";
	size_t blocks = (size_t) a->slab.n * a->parts;
	size_t bytes = ROWS * CHUNK * sizeof(double) + lines_bytes<Number>();
	stk_status status = stk_cuda_status(
		cudaFuncSetAttribute(mask_logits<Number, Out>, cudaFuncAttributeMaxDynamicSharedMemorySize,
							 (int) bytes),
		doing, err);

	/* Tiles are at least an eighth of the rows, and known on the device only. */
	blocks = blocks > 1 << 14 ? 1 << 14 : blocks;
	if (status != STK_OK)
		return status;
	mask_logits<Number, Out><<<(unsigned) blocks, THREADS, bytes, stream>>>(*a);
	return stk_cuda_status(cudaGetLastError(), doing, err);
}

template <class Number>
static stk_status
launch_as(const masked_args *a, bool half, cudaStream_t stream, stk_error *err)
{
	return half ? launch<Number, __half>(a, stream, err) : launch<Number, float>(a, stream, err);
}

stk_status
stk_linear_masked_launch(const stk_linear_call *call, void *out, bool half, cudaStream_t stream,
						 stk_error *err)
{
	size_t bytes;
	linear_work work = linear_take(call->linear, &call->trie, call->n, call->work, &bytes);
	stk_status status = STK_OK;

	for (size_t first = 0; first < call->n && status == STK_OK; first += work.rows)
	{
		masked_args a = {linear_slab_at(call, &work, first, NULL), out,
						 (call->trie.most_children + CHILDREN - 1) / CHILDREN};

		a.parts = a.parts > 0 ? a.parts : 1;
		status = linear_rows_launch(&a.slab, ROWS, CHILDREN, stream, err);
		if (status != STK_OK)
			return status;
		if (call->linear->type == STK_BINARY32)
			status = launch_as<float>(&a, half, stream, err);
		else if (call->linear->type == STK_BINARY16)
			status = launch_as<__half>(&a, half, stream, err);
		else
			status = launch_as<__nv_bfloat16>(&a, half, stream, err);
	}
	return status;
}
