/*
 * Step 1 of encode_filter.cu: residuals, rounded to binary16, and the margins that go with them.
 */
#ifndef STK_FILTER_RESIDUALS_CUH
#define STK_FILTER_RESIDUALS_CUH

#include "filter_tile.cuh"
#include "mma.cuh"

/*
 * Four elements from i on of AT_ONCE rows, zeros behind their ends: rows number at(q) of `rows`,
 * which has fewer than 2^32 elements.
 */
template <typename At>
static __device__ inline void
load_rows(float4 (&v)[AT_ONCE], const float *rows, At at, int i, int dim, bool aligned)
{
	if (aligned)
	{
#pragma unroll
		for (int q = 0; q < AT_ONCE; q++)
			v[q] = i < dim ? __ldg((const float4 *) (rows + (uint32_t) at(q) * (uint32_t) dim + i))
						   : make_float4(0, 0, 0, 0);
		return;
	}
#pragma unroll
	for (int q = 0; q < AT_ONCE; q++)
	{
		const float *row = rows + (uint32_t) at(q) * (uint32_t) dim;

		v[q] = make_float4(i < dim ? row[i] : 0, i + 1 < dim ? row[i + 1] : 0,
						   i + 2 < dim ? row[i + 2] : 0, i + 3 < dim ? row[i + 3] : 0);
	}
}

/*
 * Sums over the warp of eight values of two kinds: value q of the first kind arrives in the lanes
 * with lane / 2 = q, of the second in those with lane / 2 = 8 + q.
 */
static __device__ inline float
sum_rows(float (&first)[AT_ONCE], float (&second)[AT_ONCE])
{
	int lane = threadIdx.x & 31;

	static_assert(AT_ONCE == 8, "lanes are dealt out by powers of two");
#pragma unroll
	for (int q = 0; q < 8; q++)
	{
		float give = lane & 16 ? first[q] : second[q];

		first[q] = __fadd_rn(lane & 16 ? second[q] : first[q], __shfl_xor_sync(~0u, give, 16));
	}
#pragma unroll
	for (int half = 4; half > 0; half >>= 1)
	{
#pragma unroll
		for (int q = 0; q < half; q++)
		{
			float give = lane & 2 * half ? first[q] : first[q + half];

			first[q] = __fadd_rn(lane & 2 * half ? first[q + half] : first[q],
								 __shfl_xor_sync(~0u, give, 2 * half));
		}
	}
	return __fadd_rn(first[0], __shfl_xor_sync(~0u, first[0], 1));
}

/* Step 1 for one batch of AT_ONCE rows from `first` of the tile on; a whole warp. */
template <typename S>
static __device__ inline void
form_residuals(const encode_args &a, const stk_device_level &level, int l, size_t tile_row,
			   int first, uint8_t *tile, row_store<S> *store)
{
	int lane = threadIdx.x & 31;
	float kept[AT_ONCE] = {};
	float lost[AT_ONCE] = {};
	const float *x = a.x + tile_row * a.dim;
	const uint16_t *codes = a.codes + tile_row * a.nlevels;
	/* Behind the last row comes the last row, of which nobody wants to know more. */
	int last = (int) min(a.n - 1 - tile_row, (size_t) S::rows - 1);
	auto row_at = [&](int q) { return min(first + q, last); };
	float scale = level.scale;
	float sum, norm, away, margin;
	unsigned strange;

	for (int i = 4 * lane; i < a.wide_dim; i += 128)
	{
		float4 m = __ldg((const float4 *) (level.centre + i));
		float4 v[AT_ONCE];
		uint8_t *to = tile + (i / STK_CHUNK) * (S::rows * 128) + (i & 12);
		int unit = i % STK_CHUNK / 16 * 2;

		load_rows(v, x, row_at, i, a.dim, a.aligned);
		for (int t = 0; t < l; t++)
		{
			float4 c[AT_ONCE];

			load_rows(
				c, a.levels[t].codewords,
				[&](int q) { return (int) codes[row_at(q) * a.nlevels + t]; }, i, a.dim, a.aligned);
#pragma unroll
			for (int q = 0; q < AT_ONCE; q++)
				v[q] = subtract(v[q], c[q]);
		}
#pragma unroll
		for (int q = 0; q < AT_ONCE; q++)
		{
			float4 y = subtract(v[q], m);
			__half2 low, high;

			low.x = round_element(y.x * scale, &kept[q], &lost[q]);
			low.y = round_element(y.y * scale, &kept[q], &lost[q]);
			high.x = round_element(y.z * scale, &kept[q], &lost[q]);
			high.y = round_element(y.w * scale, &kept[q], &lost[q]);
			/* Permuted as codewords are: stk_packed_at. */
			*(__half2 *) (to + swizzled(first + q, unit)) = low;
			*(__half2 *) (to + swizzled(first + q, unit + 1)) = high;
		}
	}
	sum = norm_above(sum_rows(kept, lost), a.dim);
	norm = __shfl_sync(~0u, sum, lane & 15);
	away = __shfl_sync(~0u, sum, lane | 16);
	margin = margin_above(level, norm, away, a.dim);
	if (lane < 16 && !(lane & 1))
		store->margin[first + lane / 2] = margin;
	/* What is not finite leaves no margin finite. */
	strange = __ballot_sync(~0u, lane < 16 && !(lane & 1) && !isfinite(margin));
	for (; strange; strange &= strange - 1)
		check_row(a, l, tile_row + row_at((__ffs(strange) - 1) / 2));
}

#endif
