/*
 * AVX-512: exact arithmetic, eight lanes of binary64 in one register, and the binary32 filter.
 */
#if defined(__x86_64__)
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#include "kernel_avx512.h"
#define COLUMNS 8
#define WIDEN(x) ((stk_columns) _mm512_cvtps_pd(_mm256_loadu_ps(x)))
#include "kernel_sums.h"

INLINE __m512
multiply_add(__m512 sums, __m512i row, __m512i codes)
{
	return _mm512_fmadd_ps(_mm512_castsi512_ps(row), _mm512_castsi512_ps(codes), sums);
}

/* ((0+4)+(2+6))+((1+5)+(3+7)) */
INLINE double
add_lanes(__m512d lanes)
{
	__m256d four = _mm256_add_pd(_mm512_castpd512_pd256(lanes), _mm512_extractf64x4_pd(lanes, 1));
	__m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));

	return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

#define BLOCK_ROWS 6
#define BLOCK_OUTS 4
#define MULTIPLY_ADD(x, y, sums) ((stk_columns) _mm512_fmadd_pd(x, y, sums))
#define ADD_PARTS(parts) add_lanes((parts)[0])
#include "kernel_layers.h"

/* Add the products of eight elements of x and of each of n rows, from i on, to the rows' sums. */
INLINE void
add_products(const int n, __mmask8 some, const float *x, const float *const *rows, size_t i,
			 __m512d *sums)
{
	__m512d wide = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(some, x + i));

#pragma GCC unroll 8
	for (int r = 0; r < n; r++)
	{
		__m256 row = _mm256_maskz_loadu_ps(some, rows[r] + i);

		sums[r] = _mm512_fmadd_pd(wide, _mm512_cvtps_pd(row), sums[r]);
	}
}

/* n rows, a constant: each has a register of sums, which do not wait for one another. */
INLINE void
some_dots(const int n, const float *x, const float *const *rows, size_t dim, double *out)
{
	size_t whole = dim / 8 * 8;
	__m512d sums[8];

#pragma GCC unroll 8
	for (int r = 0; r < n; r++)
		sums[r] = _mm512_setzero_pd();
	for (size_t i = 0; i < whole; i += 8)
		add_products(n, 0xff, x, rows, i, sums);
	if (whole < dim)
		add_products(n, (__mmask8) ((1U << (dim - whole)) - 1), x, rows, whole, sums);
#pragma GCC unroll 8
	for (int r = 0; r < n; r++)
		out[r] = add_lanes(sums[r]);
}

TARGET static void
dots(const float *x, const float *const *rows, size_t n, size_t dim, double *out)
{
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		some_dots(8, x, rows + i, dim, out + i);
	for (; i + 3 <= n; i += 3)
		some_dots(3, x, rows + i, dim, out + i);
	if (i + 2 == n)
		some_dots(2, x, rows + i, dim, out + i);
	else if (i < n)
		some_dots(1, x, rows + i, dim, out + i);
}

TARGET static void
add(double *to, const float *row, size_t dim)
{
	size_t i = 0;

	for (; i + 8 <= dim; i += 8)
		_mm512_storeu_pd(to + i, _mm512_add_pd(_mm512_loadu_pd(to + i),
											   _mm512_cvtps_pd(_mm256_loadu_ps(row + i))));
	if (i < dim)
	{
		__mmask8 some = (__mmask8) lanes_below(i, dim);
		__m512d wide = _mm512_cvtps_pd(_mm256_maskz_loadu_ps(some, row + i));

		_mm512_mask_storeu_pd(to + i, some,
							  _mm512_add_pd(_mm512_maskz_loadu_pd(some, to + i), wide));
	}
}

/* Lanes that hold NaN or infinity. */
INLINE __mmask16
not_finite(__m512 v)
{
	return _mm512_fpclass_ps_mask(v, 0x01 | 0x08 | 0x10 | 0x80);
}

/* r = x - c for some of 16 elements; returns those that are not finite. */
INLINE __mmask16
subtract_some(__mmask16 some, const float *x, const float *c, float *r)
{
	__m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(some, x), _mm512_maskz_loadu_ps(some, c));

	_mm512_mask_storeu_ps(r, some, v);
	return not_finite(v);
}

TARGET static bool
subtract(const float *x, const float *c, size_t dim, float *r)
{
	__mmask16 bad = 0;
	size_t i = 0;

	for (; i + 16 <= dim; i += 16)
		bad |= subtract_some(0xffff, x + i, c + i, r + i);
	if (i < dim)
		bad |= subtract_some(lanes_below(i, dim), x + i, c + i, r + i);
	return !bad;
}

TARGET static bool
all_finite(const float *x, size_t n)
{
	__mmask16 bad = 0;
	size_t i = 0;

	for (; i + 16 <= n; i += 16)
		bad |= not_finite(_mm512_loadu_ps(x + i));
	if (i < n)
		bad |= not_finite(_mm512_maskz_loadu_ps(lanes_below(i, n), x + i));
	return !bad;
}

const stk_reference stk_reference_avx512 = {dots, add, add_rows, subtract, all_finite, products};

static size_t
panel_bytes(size_t dim)
{
	return dim * PANEL * sizeof(float);
}

TARGET static size_t
tile_bytes(size_t dim)
{
	return row_stride(dim) * TILE * sizeof(float);
}

TARGET static void
pack_panel(const float *c, uint32_t n, size_t dim, void *panel, float *packed)
{
	uint32_t *to = panel;

	for (size_t i = 0; i < dim; i += 16)
	{
		__mmask16 some = lanes_below(i, dim);
		uint32_t columns[16 * PANEL];

		for (uint32_t half = 0; half < PANEL; half += 16)
		{
			__m512i rows[16];

			for (uint32_t j = 0; j < 16; j++)
				rows[j] = half + j < n ? _mm512_maskz_loadu_epi32(some, c + (half + j) * dim + i)
									   : _mm512_setzero_si512();
			transpose(rows, columns + half);
		}
		memcpy(to + i * PANEL, columns, (dim - i < 16 ? dim - i : 16) * PANEL * sizeof(float));
	}
	memmove(packed, c, n * dim * sizeof(float));
}

/* y = x - centre for some of 16 elements; returns their squares added to sum. */
INLINE __m512
pack_some(__mmask16 some, const float *x, const float *centre, float *y, __m512 sum)
{
	__m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(some, x), _mm512_maskz_loadu_ps(some, centre));

	_mm512_store_ps(y, v);
	return _mm512_fmadd_ps(v, v, sum);
}

TARGET static void
pack_rows(const stk_pack *p, const float *x, uint32_t n, void *tile, stk_bound_row *rows)
{
	size_t dim = p->dim;
	float *y = tile;

	clear_rows(tile, n, dim);
	for (uint32_t r = 0; r < n; r++, x += dim, y += row_stride(dim))
	{
		__m512 sum = _mm512_setzero_ps();
		size_t i = 0;

		for (; i + 16 <= dim; i += 16)
			sum = pack_some(0xffff, x + i, p->centre + i, y + i, sum);
		if (i < dim)
			sum = pack_some(lanes_below(i, dim), x + i, p->centre + i, y + i, sum);
		rows[r].norm = stk_bound_norm(_mm512_reduce_add_ps(sum), dim);
		rows[r].rounding = p->centred ? 0x1p-24 * rows[r].norm : 0;
	}
}

TARGET static void
score(const stk_pack *p, const void *tile, uint32_t n, uint32_t first, uint32_t panels,
	  float *scores, size_t stride, float *best)
{
	score_panels(p, p->dim, tile, n, first, panels, scores, stride, best);
}

TARGET static uint32_t
collect(const float *scores, uint32_t n, float limit, uint32_t *places)
{
	return collect_places(scores, n, limit, places);
}

const stk_kernel stk_kernel_avx512 = {
	.name = "avx512",
	.tile = TILE,
	.panel = PANEL,
	.arithmetic = STK_ARITHMETIC_BINARY32,
	.panel_bytes = panel_bytes,
	.tile_bytes = tile_bytes,
	.pack_panel = pack_panel,
	.pack_rows = pack_rows,
	.score = score,
	.collect = collect,
};
#endif
