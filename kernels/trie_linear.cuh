/*
 * What the kernels of trie_linear.h share: numbers of three kinds, the memory that they work in, a
 * row's children, and dot products by the reference.
 */
#ifndef STK_TRIE_LINEAR_CUH
#define STK_TRIE_LINEAR_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "mma.cuh"
#include "trie_linear.h"

/* Rows that are sorted and have their scores kept at once. */
#define STK_LINEAR_SLAB 4096
/* Scores that are kept at once take so many bytes at most, where a row alone does not take more. */
#define STK_LINEAR_SCORES ((size_t) 256 << 20)
/* Children that one block scores. */
#define STK_LINEAR_PART 128

static __device__ inline float
widen(float v)
{
	return v;
}

static __device__ inline float
widen(__half v)
{
	return __half2float(v);
}

static __device__ inline float
widen(__nv_bfloat16 v)
{
	return __bfloat162float(v);
}

/* Four neighbours at an address that is a multiple of their size. */
static __device__ inline void
load_four(const float *p, float (&v)[4])
{
	float4 all = __ldg((const float4 *) p);

	v[0] = all.x;
	v[1] = all.y;
	v[2] = all.z;
	v[3] = all.w;
}

static __device__ inline void
load_four(const __half *p, float (&v)[4])
{
	uint2 all = __ldg((const uint2 *) p);
	float2 low = __half22float2(*(const __half2 *) &all.x);
	float2 high = __half22float2(*(const __half2 *) &all.y);

	v[0] = low.x;
	v[1] = low.y;
	v[2] = high.x;
	v[3] = high.y;
}

static __device__ inline void
load_four(const __nv_bfloat16 *p, float (&v)[4])
{
	uint2 all = __ldg((const uint2 *) p);

	v[0] = __uint_as_float(all.x << 16);
	v[1] = __uint_as_float(all.x & 0xffff0000);
	v[2] = __uint_as_float(all.y << 16);
	v[3] = __uint_as_float(all.y & 0xffff0000);
}

/* The same in shared memory. */
static __device__ inline void
take_four(const float *p, float (&v)[4])
{
	float4 all = *(const float4 *) p;

	v[0] = all.x;
	v[1] = all.y;
	v[2] = all.z;
	v[3] = all.w;
}

static __device__ inline void
take_four(const __half *p, float (&v)[4])
{
	uint2 all = *(const uint2 *) p;
	float2 low = __half22float2(*(const __half2 *) &all.x);
	float2 high = __half22float2(*(const __half2 *) &all.y);

	v[0] = low.x;
	v[1] = low.y;
	v[2] = high.x;
	v[3] = high.y;
}

static __device__ inline void
take_four(const __nv_bfloat16 *p, float (&v)[4])
{
	uint2 all = *(const uint2 *) p;

	v[0] = __uint_as_float(all.x << 16);
	v[1] = __uint_as_float(all.x & 0xffff0000);
	v[2] = __uint_as_float(all.y << 16);
	v[3] = __uint_as_float(all.y & 0xffff0000);
}

/* What is known of a row: in the filter's units, scale times its own. */
typedef struct row_facts
{
	float norm; /* of the packed row, rounded up; negative: the row gets no answer */
	float lost; /* norm of what packing loses, rounded up */
	float scale;
} row_facts;

/* Rows of one node, at most `rows_a_tile` of them; `items`: blocks' work before it. */
typedef struct row_tile
{
	uint32_t first; /* in the sorted order */
	uint32_t rows;
	uint32_t items;
	stk_node_children children; /* those that the layer has */
} row_tile;

/* The memory that a call works in, of a slab of rows. */
typedef struct linear_work
{
	uint32_t *order; /* [n] row numbers within the slab, by node */
	row_tile *tiles; /* [n + 1] the last one's items are all of them */
	uint32_t *ntiles;
	row_facts *facts; /* [n] */
	uint16_t *packed; /* [n][wide] */
	float *scores;    /* [n][stride] */
	size_t stride;
	size_t rows; /* of a slab at most */
} linear_work;

/* A row's children whose tokens the layer has. */
static __device__ inline stk_node_children
children_below(const stk_packed_trie &trie, stk_node node, uint32_t offset, uint32_t tokens)
{
	stk_node_children c = stk_node_list(&trie, node);

	if (c.n > 0 && (uint64_t) offset + c.codes[c.n - 1] >= tokens)
	{
		uint32_t from = 0, to = c.n;

		while (from < to)
		{
			uint32_t mid = from + (to - from) / 2;

			if ((uint64_t) offset + c.codes[mid] < tokens)
				from = mid + 1;
			else
				to = mid;
		}
		c.n = from;
	}
	return c;
}

/*
 * The reference's dot product of a row, widened, with a token's weights, in both threads of a pair:
 * the first has lanes 0 to 3, the second 4 to 7. All threads of the warp come.
 */
template <class Number>
static __device__ inline double
exact_dot(const double *x, const Number *w, uint32_t dim, bool aligned)
{
	uint32_t part = threadIdx.x % 2 * 4;
	double lanes[4] = {};
	double s[4];
	uint32_t i = part;

	if (aligned)
	{
#pragma unroll 8
		for (; i + 4 <= dim; i += 8)
		{
			float v[4];

			load_four(w + i, v);
#pragma unroll
			for (int j = 0; j < 4; j++)
				lanes[j] = fma((double) v[j], x[i + j], lanes[j]);
		}
	}
	for (; i < dim; i += 8)
	{
#pragma unroll
		for (uint32_t j = 0; j < 4; j++)
		{
			if (i + j < dim)
				lanes[j] = fma((double) widen(w[i + j]), x[i + j], lanes[j]);
		}
	}
#pragma unroll
	for (int j = 0; j < 4; j++)
		s[j] = __dadd_rn(lanes[j], __shfl_xor_sync(~0u, lanes[j], 1));
	return __dadd_rn(__dadd_rn(s[0], s[2]), __dadd_rn(s[1], s[3]));
}

/* A line of a token's weights that is on its way to, or in, shared memory: so many bytes. */
#define STK_LINE 128
/* Lines under way, and tokens that have one each: a pair of threads a token. */
#define STK_LINE_TURNS 3
#define STK_LINE_TOKENS 64
#define STK_LINE_THREADS (2 * STK_LINE_TOKENS)

/* From one token's line to the next's: so that the pairs of a warp meet in no bank. */
template <class Number>
static STK_BOTH_SIDES constexpr uint32_t
line_stride()
{
	return STK_LINE + (sizeof(Number) == 4 ? 32 : 16);
}

template <class Number>
static STK_BOTH_SIDES constexpr uint32_t
lines_bytes()
{
	return STK_LINE_TURNS * STK_LINE_TOKENS * line_stride<Number>();
}

/*
 * Weights of up to 64 tokens through shared memory, line by line: reading them as they are summed
 * would touch a line of the cache for every 32 bytes. A thread copies a unit of four tokens.
 */
template <class Number> struct weight_lines
{
	static const uint32_t EACH = STK_LINE / sizeof(Number); /* numbers of a line */
	const Number *from[4];
	unsigned char *lines;
	uint32_t dim;

	__device__ void
	set(unsigned char *room, uint32_t n)
	{
		lines = room;
		dim = n;
	}

	/* The line is one of the rows', if it is there at all; all threads call it for each in turn. */
	__device__ void
	begin(uint32_t line)
	{
		uint32_t unit = threadIdx.x % 8;
		uint32_t at = line * EACH + unit * (16 / (uint32_t) sizeof(Number));

#pragma unroll
		for (uint32_t i = 0; i < 4; i++)
		{
			uint32_t token = threadIdx.x / 8 + i * (STK_LINE_THREADS / 8);
			unsigned char *to =
				lines + (line % STK_LINE_TURNS * STK_LINE_TOKENS + token) * line_stride<Number>() +
				unit * 16;

			if (!from[i] || at >= dim)
				continue;
#if __CUDA_ARCH__ >= 800
			copy_unit(shared_address(to), from[i] + at);
#else
			*(uint4 *) to = __ldg((const uint4 *) (from[i] + at));
#endif
		}
#if __CUDA_ARCH__ >= 800
		copies_commit();
#endif
	}

	/* Have line `line`, and begin the one that is to be next but one; all threads. */
	__device__ const Number *
	take(uint32_t line)
	{
#if __CUDA_ARCH__ >= 800
		copies_wait<STK_LINE_TURNS - 2>();
#endif
		__syncthreads();
		begin(line + STK_LINE_TURNS - 1);
		return (const Number *) (lines +
								 (line % STK_LINE_TURNS * STK_LINE_TOKENS + threadIdx.x / 2) *
									 line_stride<Number>());
	}
};

template <class Number>
static __device__ inline double
with_bias(double dot, const Number *bias, uint32_t token)
{
	return bias ? __dadd_rn(dot, (double) widen(bias[token])) : dot;
}

/* Do weights of tokens begin where units of 16 bytes can be read at once? */
static inline bool
linear_aligned(const stk_device_linear *l)
{
	size_t bytes = l->type == STK_BINARY32 ? 4 : 2;

	return l->dim * bytes % 16 == 0 && (uintptr_t) l->weights % 16 == 0;
}

/* Where a call's memory lies; NULL memory: how much there must be, in *bytes. */
static inline linear_work
linear_take(const stk_device_linear *l, const stk_packed_trie *trie, size_t n, void *memory,
			size_t *bytes)
{
	linear_work w;
	size_t at = 0;
	size_t widest = trie->most_children > 0 ? trie->most_children : 1;

	w.stride = (widest + 3) / 4 * 4;
	w.rows = STK_LINEAR_SCORES / (w.stride * sizeof(float));
	w.rows = w.rows < 1 ? 1 : w.rows;
	w.rows = w.rows > STK_LINEAR_SLAB ? STK_LINEAR_SLAB : w.rows;
	w.rows = w.rows > n ? n : w.rows;
	w.order = (uint32_t *) stk_take(memory, &at, w.rows * sizeof(uint32_t));
	w.tiles = (row_tile *) stk_take(memory, &at, (w.rows + 1) * sizeof(row_tile));
	w.ntiles = (uint32_t *) stk_take(memory, &at, sizeof(uint32_t));
	w.facts = (row_facts *) stk_take(memory, &at, w.rows * sizeof(row_facts));
	w.packed = (uint16_t *) stk_take(memory, &at, w.rows * l->wide * sizeof(uint16_t));
	w.scores = (float *) stk_take(memory, &at, w.rows * w.stride * sizeof(float));
	*bytes = at;
	return w;
}

/* Rows `first` and on of a call, as many as a slab has. */
typedef struct linear_slab
{
	stk_device_linear linear;
	stk_packed_trie trie;
	linear_work work;
	const void *x;
	const stk_node *nodes;
	uint32_t offset;
	uint32_t n;
	uint32_t first;
	bool aligned;
	uint32_t *failure;
	const float *temperatures; /* or NULL */
} linear_slab;

static inline linear_slab
linear_slab_at(const stk_linear_call *call, const linear_work *work, size_t first,
			   const float *temperatures)
{
	const stk_device_linear *l = call->linear;
	size_t bytes = l->type == STK_BINARY32 ? 4 : 2;
	linear_slab s;

	s.linear = *l;
	s.trie = call->trie;
	s.work = *work;
	s.x = (const char *) call->x + first * l->dim * bytes;
	s.nodes = call->nodes + first;
	s.offset = call->offset;
	s.n = (uint32_t) (call->n - first < work->rows ? call->n - first : work->rows);
	s.first = (uint32_t) first;
	s.aligned = linear_aligned(l);
	s.failure = call->failure;
	s.temperatures = temperatures ? temperatures + first : NULL;
	return s;
}

/* Sort the slab's rows by node, cut them into tiles, and pack them (linear_rows.cu). */
extern stk_status linear_rows_launch(const linear_slab *s, uint32_t rows_a_tile,
									 uint32_t children_a_part, cudaStream_t stream, stk_error *err);
/* The filter's scores of all children of all rows of the slab (linear_filter.cu). */
extern stk_status linear_filter_launch(const linear_slab *s, cudaStream_t stream, stk_error *err);

/* Rows that a tile of the filter has. */
#define STK_LINEAR_TILE 128

/* The tile that piece of work `item` is of, among n tiles; whole warps ask, with one item. */
static __device__ inline uint32_t
tile_of(const row_tile *tiles, uint32_t n, uint32_t item)
{
	uint32_t from = 0, to = n;

	/* Of 32 places at once: reading them in turn would take as long as the work. */
	while (to - from > 1)
	{
		uint32_t step = (to - from + 31) / 32;
		uint32_t at = from + threadIdx.x % 32 * step;
		unsigned begun = __ballot_sync(~0u, at < to && tiles[at].items <= item);

		from += (31 - (uint32_t) __clz((int) begun)) * step;
		to = min(to, from + step);
	}
	return from;
}

/*
 * How far a row's filter scores, in the filter's units, may be from the reference's: what packing
 * row and weights loses, the tensor unit's truncation in groups of 16 and the sum so far, the
 * bias's rounding, and the reference's own error, which is far less than what is added.
 */
static __device__ inline float
row_margin(const stk_device_linear &l, const row_facts &f)
{
	float products = f.norm * (l.norm + l.lost);
	float gamma = (float) (l.wide / 16) * 18 * 0x1p-23f;
	float bias = l.largest_bias * (f.scale * l.scale);
	float margin = f.lost * l.norm + f.norm * l.lost + gamma * products;

	return (margin + 0x1p-21f * (products + bias)) * 1.001f + 0x1p-100f;
}

#endif
