/*
 * The filter's scores of each row's children: rows of one node times their children's weights, both
 * in 16 bits, by the tensor unit, sums in binary32.
 *
 * A block takes pieces of work: a tile of at most 128 rows of one node with 128 of its children,
 * whose weights are gathered into shared memory in chunks of 64 elements, in turns that are under
 * way while others are multiplied. Warps whose rows are not there have nothing to multiply, so that
 * nodes of few rows cost what reading their children's weights costs.
 *
 * Bytes: for each tile and part 2 wide (rows + children) from the second-level cache, 4 n children
 * written. Operations: 2 n children wide. Bound: the cache where nodes have few rows, else the
 * tensor unit.
 */
#include <type_traits>

#include "trie_linear.cuh"

#define THREADS 256
#define TURNS 3
#define TILE_BYTES (STK_LINEAR_TILE * 128)
#define PART_BYTES (STK_LINEAR_PART * 128)
#define TURN_BYTES (TILE_BYTES + PART_BYTES)
/* 16-byte units of a chunk of the tile that a thread copies. */
#define UNITS (STK_LINEAR_TILE * 8 / THREADS)

static_assert(STK_LINEAR_TILE == STK_LINEAR_PART, "a thread copies as many units of both");

/* A score and its bias, in the filter's units. */
template <class Number>
static __device__ inline float
biased(const linear_slab &s, float score, float scale, uint32_t token)
{
	return score + widen(((const Number *) s.linear.bias)[token]) * (scale * s.linear.scale);
}

#if __CUDA_ARCH__ >= 800
/* sums += a b of bfloat16, as multiply_add of binary16. */
static __device__ inline void
multiply_add_bfloat(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
				 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
				 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
				 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <class Number>
static __device__ void
score_item(const linear_slab &s, const row_tile &tile, const stk_node_children &c, uint32_t part)
{
	constexpr bool bfloat = std::is_same<Number, __nv_bfloat16>::value;
	extern __shared__ __align__(1024) unsigned char turns[];
	uint32_t base = shared_address(turns);
	uint32_t wide = s.linear.wide;
	uint32_t chunks = wide / STK_CHUNK;
	uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
	uint32_t unit = threadIdx.x % 8;
	const uint16_t *rows[UNITS], *weights[UNITS];
	float sums[4][4][4] = {};
	/* The warp's rows: 64 from here, in pieces of 16 of which so many are there. */
	uint32_t m0 = warp / 4 * 64, n0 = warp % 4 * 32;
	int pieces = tile.rows <= m0 ? 0 : min(4, (int) (tile.rows - m0 + 15) / 16);

#pragma unroll
	for (int i = 0; i < UNITS; i++)
	{
		uint32_t r = threadIdx.x / 8 + (uint32_t) i * (THREADS / 8);
		uint32_t k = part * STK_LINEAR_PART + r;

		rows[i] = r < tile.rows
					  ? s.work.packed + (size_t) s.work.order[tile.first + r] * wide + unit * 8
					  : NULL;
		weights[i] =
			k < c.n ? s.linear.packed + ((size_t) s.offset + c.codes[k]) * wide + unit * 8 : NULL;
	}
	auto begin = [&](uint32_t chunk)
	{
		uint32_t to = base + chunk % TURNS * TURN_BYTES;

		if (chunk < chunks)
		{
#pragma unroll
			for (int i = 0; i < UNITS; i++)
			{
				uint32_t r = threadIdx.x / 8 + (uint32_t) i * (THREADS / 8);

				if (rows[i])
					copy_unit(to + swizzled(r, unit), rows[i] + chunk * STK_CHUNK);
				if (weights[i])
					copy_unit(to + TILE_BYTES + swizzled(r, unit), weights[i] + chunk * STK_CHUNK);
			}
		}
		copies_commit();
	};

	/* All have left the item before. */
	__syncthreads();
	for (uint32_t chunk = 0; chunk < TURNS - 1; chunk++)
		begin(chunk);
	for (uint32_t chunk = 0; chunk < chunks; chunk++)
	{
		uint32_t from = base + chunk % TURNS * TURN_BYTES;

		copies_wait<TURNS - 2>();
		__syncthreads();
		begin(chunk + TURNS - 1);
		if (pieces == 0)
			continue;
#pragma unroll
		for (uint32_t kk = 0; kk < STK_CHUNK / 16; kk++)
		{
			uint32_t b[2][4];

#pragma unroll
			for (uint32_t j = 0; j < 2; j++)
				load_matrices(b[j], from + TILE_BYTES +
										swizzled(n0 + j * 16 + (lane & 7) + (lane >> 4) * 8,
												 kk * 2 + (lane >> 3 & 1)));
#pragma unroll
			for (int m = 0; m < 4; m++)
			{
				uint32_t a[4];

				if (m >= pieces)
					continue;
				load_matrices(
					a, from + swizzled(m0 + (uint32_t) m * 16 + (lane & 15), kk * 2 + (lane >> 4)));
#pragma unroll
				for (int j = 0; j < 4; j++)
				{
					if (bfloat)
						multiply_add_bfloat(sums[m][j], a, b[j / 2][j % 2 * 2],
											b[j / 2][j % 2 * 2 + 1]);
					else
						multiply_add(sums[m][j], a, b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
				}
			}
		}
	}
	copies_wait<0>();
#pragma unroll
	for (int m = 0; m < 4; m++)
	{
#pragma unroll
		for (uint32_t h = 0; h < 2; h++)
		{
			uint32_t r = m0 + (uint32_t) m * 16 + h * 8 + lane / 4;
			uint32_t row;
			float scale;
			float *to;

			if (r >= tile.rows)
				continue;
			row = s.work.order[tile.first + r];
			scale = s.work.facts[row].scale;
			to = s.work.scores + row * s.work.stride;
#pragma unroll
			for (uint32_t j = 0; j < 4; j++)
			{
				uint32_t k = part * STK_LINEAR_PART + n0 + j * 8 + lane % 4 * 2;
				float v[2] = {sums[m][j][2 * h], sums[m][j][2 * h + 1]};

				if (k >= c.n)
					continue;
				if (s.linear.bias)
				{
					v[0] = biased<Number>(s, v[0], scale, s.offset + c.codes[k]);
					if (k + 1 < c.n)
						v[1] = biased<Number>(s, v[1], scale, s.offset + c.codes[k + 1]);
				}
				/* A row has room for one behind an odd last. */
				*(float2 *) (to + k) = make_float2(v[0], v[1]);
			}
		}
	}
}
#else
/* Devices before Ampere: by plain arithmetic, whose error is less. */
template <class Number>
static __device__ void
score_item(const linear_slab &s, const row_tile &tile, const stk_node_children &c, uint32_t part)
{
	uint32_t first = part * STK_LINEAR_PART;
	uint32_t children = min(c.n - first, (uint32_t) STK_LINEAR_PART);

	for (uint32_t i = threadIdx.x; i < tile.rows * children; i += THREADS)
	{
		uint32_t row = s.work.order[tile.first + i / children];
		uint32_t k = first + i % children;
		uint32_t token = s.offset + c.codes[k];
		const uint16_t *x = s.work.packed + (size_t) row * s.linear.wide;
		const uint16_t *w = s.linear.packed + (size_t) token * s.linear.wide;
		float sum = 0;

		for (uint32_t j = 0; j < s.linear.wide; j++)
		{
			if (s.linear.type == STK_BFLOAT16)
				sum = fmaf(__uint_as_float((uint32_t) x[j] << 16),
						   __uint_as_float((uint32_t) w[j] << 16), sum);
			else
				sum = fmaf(__half2float(__ushort_as_half(x[j])),
						   __half2float(__ushort_as_half(w[j])), sum);
		}
		if (s.linear.bias)
			sum = biased<Number>(s, sum, s.work.facts[row].scale, token);
		s.work.scores[row * s.work.stride + k] = sum;
	}
}
#endif

template <class Number>
static __global__ void
__launch_bounds__(THREADS, 2) score_children(const linear_slab s)
{
	uint32_t ntiles = *s.work.ntiles;
	uint32_t items = s.work.tiles[ntiles].items;

	for (uint32_t item = blockIdx.x; item < items; item += gridDim.x)
	{
		row_tile tile = s.work.tiles[tile_of(s.work.tiles, ntiles, item)];

		score_item<Number>(s, tile, tile.children, item - tile.items);
	}
}

template <class Number>
static stk_status
launch(const linear_slab *s, cudaStream_t stream, stk_error *err)
{
	static const char doing[] = "score children on the device";
	int device = 0, processors = 0;
	size_t parts = (s->trie.most_children + STK_LINEAR_PART - 1) / STK_LINEAR_PART;
	size_t blocks;
	stk_status status = stk_cuda_status(cudaGetDevice(&device), doing, err);

	if (status == STK_OK)
		status = stk_cuda_status(
			cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), doing,
			err);
	if (status == STK_OK)
		status = stk_cuda_status(cudaFuncSetAttribute(score_children<Number>,
													  cudaFuncAttributeMaxDynamicSharedMemorySize,
													  TURNS * TURN_BYTES),
								 doing, err);
	if (status != STK_OK)
		return status;
	blocks = s->n * parts;
	blocks = blocks > 2 * (size_t) processors ? 2 * (size_t) processors : blocks;
	if (blocks == 0)
		return STK_OK;
	score_children<Number><<<(unsigned) blocks, THREADS, TURNS * TURN_BYTES, stream>>>(*s);
	return stk_cuda_status(cudaGetLastError(), doing, err);
}

stk_status
linear_filter_launch(const linear_slab *s, cudaStream_t stream, stk_error *err)
{
	if (s->linear.type == STK_BINARY32)
		return launch<float>(s, stream, err);
	if (s->linear.type == STK_BINARY16)
		return launch<__half>(s, stream, err);
	return launch<__nv_bfloat16>(s, stream, err);
}
