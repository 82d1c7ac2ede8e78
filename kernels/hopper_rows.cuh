/*
 * Step 1 of encode_hopper.cu: a warp's rows from shared memory into registers, rounded to binary16
 * as the tensor unit takes them, and what that may mislead scores by.
 *
 * Thread 4q + t of a warp has elements 16s + 4t .. 16s + 4t + 3 of rows q and q + 8. Where q is odd
 * it takes pairs of steps s in the other order: of the eight threads that shared memory serves at
 * once four have an even row and four an odd one, and so they meet in no bank.
 */
#ifndef STK_HOPPER_ROWS_CUH
#define STK_HOPPER_ROWS_CUH

#include "hopper_tile.cuh"

/* A thread's elements of its two rows. */
template <typename S> struct row_values
{
	float4 v[2][S::steps];
};

/* The first element of this thread's s-th four. */
static __device__ inline int
element_of(int s)
{
	int odd = threadIdx.x >> 2 & 1;

	return 16 * s + 4 * (threadIdx.x & 3) + (s & 1 ? -16 * odd : 16 * odd);
}

/* This thread's s-th four elements of its row h, from a piece of rows in shared memory. */
template <typename S>
static __device__ inline float4
take_four(uint32_t piece, int h, int s, int given_dim)
{
	int dim = S::dim(given_dim);
	uint32_t row = piece + (threadIdx.x >> 2 & 7) * dim * (uint32_t) sizeof(float);

	if (S::full || element_of(s) < dim)
		return load_shared(row + (element_of(s) + 8 * h * dim) * (int) sizeof(float));
	return make_float4(0, 0, 0, 0);
}

/* Take the rows from a piece. */
template <typename S>
static __device__ inline void
take_rows(row_values<S> &rows, uint32_t piece, int dim)
{
#pragma unroll
	for (int s = 0; s < S::steps; s++)
	{
#pragma unroll
		for (int h = 0; h < 2; h++)
			rows.v[h][s] = take_four<S>(piece, h, s, dim);
	}
}

/*
 * Subtract what levels before took, element by element in their order.
 *
 *   codes  of this thread's two rows
 */
template <typename S>
static __device__ inline void
subtract_codewords(row_values<S> &rows, const encode_args &a, int levels,
				   const uint16_t *const (&codes)[2])
{
	int dim = S::dim(a.dim);

	for (int l = 0; l < levels; l++)
	{
#pragma unroll
		for (int h = 0; h < 2; h++)
		{
			const float *c = a.levels[l].codewords + (size_t) codes[h][l] * dim + element_of(0);

#pragma unroll
			for (int s = 0; s < S::steps; s++)
			{
				if (S::full || element_of(s) < dim)
					rows.v[h][s] =
						subtract(rows.v[h][s],
								 __ldg((const float4 *) (c + (element_of(s) - element_of(0)))));
			}
		}
	}
}

/* Round two elements; add to the sums of squares of what is kept and of what is lost. */
static __device__ inline uint32_t
round_two(float a, float b, float *kept, float *lost)
{
	__half2 r = __floats2half2_rn(a, b);
	float2 v = __half22float2(r);
	float c = __fsub_rn(a, v.x);
	float d = __fsub_rn(b, v.y);

	*kept = __fmaf_rn(v.x, v.x, *kept);
	*kept = __fmaf_rn(v.y, v.y, *kept);
	*lost = __fmaf_rn(c, c, *lost);
	*lost = __fmaf_rn(d, d, *lost);
	return *(const uint32_t *) &r;
}

/*
 * Fragments of y = (r - centre) scale for all steps, with the sums of squares of this thread's
 * part of each row.
 *
 *   four(h, s)  this thread's s-th four elements of row h
 *   centre      in shared memory: -centre scale
 */
template <typename S, typename Four>
static __device__ inline void
round_rows(Four four, float scale, uint32_t centre, uint32_t (&a)[S::steps][4], float (&kept)[2],
		   float (&lost)[2])
{
	bool odd = threadIdx.x >> 2 & 1;

	kept[0] = kept[1] = lost[0] = lost[1] = 0;
#pragma unroll
	for (int s = 0; s < S::steps; s += 2)
	{
#pragma unroll
		for (int p = 0; p < 2; p++)
		{
			float4 m = load_shared(centre + element_of(s + p) * (uint32_t) sizeof(float));

#pragma unroll
			for (int h = 0; h < 2; h++)
			{
				float4 v = four(h, s + p);

				a[s + p][h] = round_two(__fmaf_rn(v.x, scale, m.x), __fmaf_rn(v.y, scale, m.y),
										&kept[h], &lost[h]);
				a[s + p][h + 2] = round_two(__fmaf_rn(v.z, scale, m.z), __fmaf_rn(v.w, scale, m.w),
											&kept[h], &lost[h]);
			}
		}
#pragma unroll
		for (int i = 0; i < 4; i++)
		{
			uint32_t first = a[s][i];

			a[s][i] = odd ? a[s + 1][i] : first;
			a[s + 1][i] = odd ? first : a[s + 1][i];
		}
	}
}

/*
 * The margins of this thread's two rows, from the sums of the four threads that have them: each of
 * the four takes one root.
 */
static __device__ inline void
row_margins(const stk_device_level &level, int dim, const float (&kept)[2], const float (&lost)[2],
			float (&margin)[2])
{
	int t = threadIdx.x & 3;
	float k =
		__fadd_rn(t & 1 ? kept[1] : kept[0], __shfl_xor_sync(~0u, t & 1 ? kept[0] : kept[1], 1));
	float l =
		__fadd_rn(t & 1 ? lost[1] : lost[0], __shfl_xor_sync(~0u, t & 1 ? lost[0] : lost[1], 1));
	float sum = __fadd_rn(t & 2 ? l : k, __shfl_xor_sync(~0u, t & 2 ? k : l, 2));
	float root = norm_above(sum, dim);
	float other = __shfl_xor_sync(~0u, root, 2);
	float mine = margin_above(level, t & 2 ? other : root, t & 2 ? root : other, dim);
	float next = __shfl_xor_sync(~0u, mine, 1);

	margin[0] = t & 1 ? next : mine;
	margin[1] = t & 1 ? mine : next;
}

#endif
