/*
 * What the filters (encode_filter.cu, encode_hopper.cu) have in common: their arguments, how a row
 * is rounded for the tensor unit, and the reference for what they leave open.
 */
#ifndef STK_FILTER_REFERENCE_CUH
#define STK_FILTER_REFERENCE_CUH

#include <cuda_fp16.h>

#include "reference.cuh"

/* Numbers that a thread has on their way while the reference scores: as many as registers allow. */
#ifndef IN_FLIGHT
#define IN_FLIGHT 16
#endif

typedef struct encode_args
{
	const stk_device_level *levels;
	int nlevels;
	int dim;
	int wide_dim;
	bool aligned; /* rows of 16 bytes' multiple: dim % 4 == 0 */
	const float *x;
	size_t n;
	uint16_t *codes;
	stk_encode_failure *failure;
	stk_encode_stats *stats;
} encode_args;

static __device__ inline float4
subtract(float4 a, float4 b)
{
	return make_float4(__fsub_rn(a.x, b.x), __fsub_rn(a.y, b.y), __fsub_rn(a.z, b.z),
					   __fsub_rn(a.w, b.w));
}

/* Round y to binary16; add to the sums of squares of what is kept and of what is lost. */
static __device__ inline __half
round_element(float y, float *kept, float *lost)
{
	__half r = __float2half_rn(y);
	float v = __half2float(r);
	float d = __fsub_rn(y, v);

	*kept = __fmaf_rn(v, v, *kept);
	*lost = __fmaf_rn(d, d, *lost);
	return r;
}

/* No less than the norm whose squares were summed in binary32, dim of them, in any order. */
static __device__ inline float
norm_above(float sum, int dim)
{
	float steps = (float) (dim + 16);

	sum = __fmaf_ru(sum, steps * 0x1p-23f, sum);
	return __fsqrt_ru(__fadd_ru(sum, steps * 0x1p-149f));
}

/*
 * By how much scores of two codewords may mislead (pack.cu) for a row of norm |y^|, and lost by its
 * rounding |y - y^|, neither less.
 */
static __device__ inline float
margin_above(float by_norm, float by_lost, float fixed, float norm, float away, int dim)
{
	/* The subtraction of the centre rounded, and so may have the scaling. */
	away = __fmaf_ru(norm + away, 0x1.1p-24f, away) + (float) dim * 0x1p-149f;
	return __fmaf_ru(norm, by_norm, __fmaf_ru(away, by_lost, fixed));
}

static __device__ inline float
margin_above(const stk_device_level &level, float norm, float away, int dim)
{
	return margin_above(level.by_norm, level.by_lost, level.fixed, norm, away, dim);
}

/*
 * The reference's score of codeword k for a row at a level; one group of threads, a lane each.
 * Loads go out IN_FLIGHT at a time; a lane's products are added in order.
 */
static __device__ inline double
reference_score(const encode_args &a, const stk_device_level &level, int l, const float *row,
				const uint16_t *codes, uint32_t k)
{
	const float *c = level.codewords + (size_t) k * a.dim;
	double half = level.half[k];
	double sum = 0;

	for (int i = threadIdx.x % STK_GROUP; i < a.dim; i += STK_GROUP * IN_FLIGHT)
	{
		float r[IN_FLIGHT], v[IN_FLIGHT];

#pragma unroll
		for (int j = 0; j < IN_FLIGHT; j++)
		{
			bool inside = i + j * STK_GROUP < a.dim;

			r[j] = inside ? row[i + j * STK_GROUP] : 0;
			v[j] = inside ? c[i + j * STK_GROUP] : 0;
		}
		for (int t = 0; t < l; t++)
		{
			const float *taken = a.levels[t].codewords + (size_t) codes[t] * a.dim;

#pragma unroll
			for (int j = 0; j < IN_FLIGHT; j++)
			{
				if (i + j * STK_GROUP < a.dim)
					r[j] = __fsub_rn(r[j], taken[i + j * STK_GROUP]);
			}
		}
		/* Zeros behind the end change nothing: a lane is never -0. */
#pragma unroll
		for (int j = 0; j < IN_FLIGHT; j++)
			sum = fma((double) r[j], (double) v[j], sum);
	}
	return __dsub_rn(half, add_lanes(sum));
}

/* Is the residual of a row at level l finite? If not, say so. A whole warp. */
static __device__ inline void
check_row(const encode_args &a, int l, size_t row)
{
	const float *x = a.x + row * a.dim;
	const uint16_t *codes = a.codes + row * a.nlevels;
	bool finite = true;

	for (int i = threadIdx.x & 31; i < a.dim; i += 32)
	{
		float r = x[i];

		for (int t = 0; t < l; t++)
			r = __fsub_rn(r, a.levels[t].codewords[(size_t) codes[t] * a.dim + i]);
		finite &= isfinite(r) != 0;
	}
	if (!__all_sync(~0u, finite) && (threadIdx.x & 31) == 0)
		atomicMin(a.failure,
				  stk_encode_failed(row, l == 0 ? -1 : l,
									l == 0 ? STK_ENCODE_NOT_FINITE : STK_ENCODE_OUT_OF_RANGE));
}

#endif
