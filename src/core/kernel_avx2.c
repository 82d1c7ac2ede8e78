/*
 * AVX2 and FMA: exact arithmetic, eight lanes of binary64 in two registers, and the binary32
 * filter.
 *
 * A panel is [dim][16] codewords side by side, a tile [6] rows one after the other, each an odd
 * number of cache lines long, so that they do not share a set of the first-level cache. Six rows by
 * 16 codewords fill twelve of the 16 registers with sums.
 */
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "dot.h"
#include "pack.h"

#define TILE 6
/* Rows of a smaller form, for what is left of a batch. */
#define SMALL 3
#define PANEL 16
#define LINE 16 /* binary32 numbers of a cache line */

#define TARGET __attribute__((target("avx2,fma")))
#define INLINE static inline __attribute__((always_inline)) TARGET
#define COLUMNS 4
#define WIDEN(x) ((stk_columns) _mm256_cvtps_pd(_mm_loadu_ps(x)))
#include "kernel_sums.h"

/* ((0+4)+(2+6))+((1+5)+(3+7)) */
INLINE double
add_lanes(__m256d low, __m256d high)
{
	__m256d four = _mm256_add_pd(low, high);
	__m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));

	return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

#define BLOCK_ROWS 3
#define BLOCK_OUTS 2
#define MULTIPLY_ADD(x, y, sums) ((stk_columns) _mm256_fmadd_pd(x, y, sums))
#define ADD_PARTS(parts) add_lanes((parts)[0], (parts)[1])
#include "kernel_layers.h"

/* `n` rows, a constant, so that their sums do not wait for one another. */
INLINE void
some_dots(const int n, const float *x, const float *const *rows, size_t dim, double *out)
{
	size_t whole = dim / STK_LANES * STK_LANES;
	__m256d low[4], high[4];

#pragma GCC unroll 4
	for (int r = 0; r < n; r++)
		low[r] = high[r] = _mm256_setzero_pd();
	for (size_t i = 0; i < whole; i += STK_LANES)
	{
		__m256d wide_low = _mm256_cvtps_pd(_mm_loadu_ps(x + i));
		__m256d wide_high = _mm256_cvtps_pd(_mm_loadu_ps(x + i + 4));

#pragma GCC unroll 4
		for (int r = 0; r < n; r++)
		{
			const float *row = rows[r] + i;

			low[r] = _mm256_fmadd_pd(wide_low, _mm256_cvtps_pd(_mm_loadu_ps(row)), low[r]);
			high[r] = _mm256_fmadd_pd(wide_high, _mm256_cvtps_pd(_mm_loadu_ps(row + 4)), high[r]);
		}
	}
	for (int r = 0; r < n && whole < dim; r++)
	{
		double wide_x[STK_LANES], wide_row[STK_LANES];

		stk_widen(x + whole, dim - whole, wide_x);
		stk_widen(rows[r] + whole, dim - whole, wide_row);
		low[r] = _mm256_fmadd_pd(_mm256_loadu_pd(wide_x), _mm256_loadu_pd(wide_row), low[r]);
		high[r] =
			_mm256_fmadd_pd(_mm256_loadu_pd(wide_x + 4), _mm256_loadu_pd(wide_row + 4), high[r]);
	}
#pragma GCC unroll 4
	for (int r = 0; r < n; r++)
		out[r] = add_lanes(low[r], high[r]);
}

TARGET static void
dots(const float *x, const float *const *rows, size_t n, size_t dim, double *out)
{
	size_t i = 0;

	for (; i + 4 <= n; i += 4)
		some_dots(4, x, rows + i, dim, out + i);
	for (; i + 2 <= n; i += 2)
		some_dots(2, x, rows + i, dim, out + i);
	if (i < n)
		some_dots(1, x, rows + i, dim, out + i);
}

TARGET static void
add(double *to, const float *row, size_t dim)
{
	size_t i = 0;

	for (; i + 4 <= dim; i += 4)
		_mm256_storeu_pd(
			to + i, _mm256_add_pd(_mm256_loadu_pd(to + i), _mm256_cvtps_pd(_mm_loadu_ps(row + i))));
	for (; i < dim; i++)
		to[i] += row[i];
}

/* All bits of the lanes that hold NaN or infinity. */
INLINE __m256
not_finite(__m256 v)
{
	__m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);

	return _mm256_cmp_ps(size, _mm256_set1_ps(INFINITY), _CMP_NLT_UQ);
}

TARGET static bool
subtract(const float *x, const float *c, size_t dim, float *r)
{
	__m256 bad = _mm256_setzero_ps();
	bool finite = true;
	size_t i = 0;

	for (; i + 8 <= dim; i += 8)
	{
		__m256 v = _mm256_sub_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(c + i));

		_mm256_storeu_ps(r + i, v);
		bad = _mm256_or_ps(bad, not_finite(v));
	}
	for (; i < dim; i++)
	{
		r[i] = x[i] - c[i];
		finite &= isfinite(r[i]) != 0;
	}
	return finite && !_mm256_movemask_ps(bad);
}

TARGET static bool
all_finite(const float *x, size_t n)
{
	__m256 bad = _mm256_setzero_ps();
	bool finite = true;
	size_t i = 0;

	for (; i + 8 <= n; i += 8)
		bad = _mm256_or_ps(bad, not_finite(_mm256_loadu_ps(x + i)));
	for (; i < n; i++)
		finite &= isfinite(x[i]) != 0;
	return finite && !_mm256_movemask_ps(bad);
}

const stk_reference stk_reference_avx2 = {dots, add, add_rows, subtract, all_finite, products};

/* Numbers from one row of a tile to the next. */
static size_t
row_stride(size_t dim)
{
	return ((dim + LINE - 1) / LINE | 1) * LINE;
}

static size_t
panel_bytes(size_t dim)
{
	return dim * PANEL * sizeof(float);
}

static size_t
tile_bytes(size_t dim)
{
	return row_stride(dim) * TILE * sizeof(float);
}

/* out[c * PANEL + r] = rows[r][c], for 8 rows of 8 numbers. */
INLINE void
transpose(const __m256 rows[8], float *out)
{
	__m256 s[8], t[8];

#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
	{
		s[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
		s[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
	}
#pragma GCC unroll 2
	for (int i = 0; i < 2; i++)
	{
		t[4 * i] = _mm256_shuffle_ps(s[4 * i], s[4 * i + 2], 0x44);
		t[4 * i + 1] = _mm256_shuffle_ps(s[4 * i], s[4 * i + 2], 0xee);
		t[4 * i + 2] = _mm256_shuffle_ps(s[4 * i + 1], s[4 * i + 3], 0x44);
		t[4 * i + 3] = _mm256_shuffle_ps(s[4 * i + 1], s[4 * i + 3], 0xee);
	}
	/* t[4 i + j], 128 bits at a time: rows 4 i .. 4 i + 3 of columns j and j + 4. */
#pragma GCC unroll 4
	for (int j = 0; j < 4; j++)
	{
		_mm256_storeu_ps(out + j * PANEL, _mm256_permute2f128_ps(t[j], t[4 + j], 0x20));
		_mm256_storeu_ps(out + (j + 4) * PANEL, _mm256_permute2f128_ps(t[j], t[4 + j], 0x31));
	}
}

TARGET static void
pack_panel(const float *c, uint32_t n, size_t dim, void *panel, float *packed)
{
	size_t whole = n == PANEL ? dim / 8 * 8 : 0;
	float *to = panel;

	for (size_t i = 0; i < whole; i += 8)
	{
		for (uint32_t half = 0; half < PANEL; half += 8)
		{
			__m256 rows[8];

#pragma GCC unroll 8
			for (uint32_t j = 0; j < 8; j++)
				rows[j] = _mm256_loadu_ps(c + (half + j) * dim + i);
			transpose(rows, to + i * PANEL + half);
		}
	}
	for (size_t i = whole; i < dim; i++)
	{
		for (uint32_t j = 0; j < PANEL; j++)
			to[i * PANEL + j] = j < n ? c[j * dim + i] : 0;
	}
	memmove(packed, c, n * dim * sizeof(float));
}

INLINE float
add_all(__m256 v)
{
	__m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
	__m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));

	return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/* Rows that score_rows reads beside the n it was given are zeros. */
static void
clear_rows(float *tile, uint32_t n, size_t dim)
{
	uint32_t end = n == 1 ? 1 : n <= SMALL ? SMALL : TILE;

	memset(tile + n * row_stride(dim), 0, (end - n) * row_stride(dim) * sizeof(float));
}

TARGET static void
pack_rows(const stk_pack *p, const float *x, uint32_t n, void *tile, stk_bound_row *rows)
{
	float *y = tile;

	clear_rows(tile, n, p->dim);
	for (uint32_t r = 0; r < n; r++, x += p->dim, y += row_stride(p->dim))
	{
		__m256 sums = _mm256_setzero_ps();
		float sum = 0;
		size_t i = 0;

		for (; i + 8 <= p->dim; i += 8)
		{
			__m256 v = _mm256_sub_ps(_mm256_loadu_ps(x + i), _mm256_load_ps(p->centre + i));

			_mm256_store_ps(y + i, v);
			sums = _mm256_fmadd_ps(v, v, sums);
		}
		for (; i < p->dim; i++)
		{
			y[i] = x[i] - p->centre[i];
			sum += y[i] * y[i];
		}
		rows[r].norm = stk_bound_norm(sum + add_all(sums), p->dim);
		rows[r].rounding = p->centred ? 0x1p-24 * rows[r].norm : 0;
	}
}

/* `rows` rows (SMALL or TILE, so that the loops unroll) against one panel; n of them are wanted. */
INLINE void
score_rows(const int rows, const float *panel, const float *offsets, const float *y, size_t dim,
		   uint32_t n, float *scores, size_t stride, __m256 *best)
{
	size_t step = row_stride(dim);
	__m256 a[TILE], b[TILE];

#pragma GCC unroll 6
	for (int r = 0; r < rows; r++)
		a[r] = b[r] = _mm256_setzero_ps();
	for (size_t i = 0; i < dim; i++)
	{
		__m256 codes_a = _mm256_load_ps(panel + i * PANEL);
		__m256 codes_b = _mm256_load_ps(panel + i * PANEL + 8);

#pragma GCC unroll 6
		for (int r = 0; r < rows; r++)
		{
			__m256 row = _mm256_broadcast_ss(y + (size_t) r * step + i);

			a[r] = _mm256_fmadd_ps(row, codes_a, a[r]);
			b[r] = _mm256_fmadd_ps(row, codes_b, b[r]);
		}
	}
#pragma GCC unroll 6
	for (int r = 0; r < rows; r++)
	{
		if ((uint32_t) r == n)
			return;
		a[r] = _mm256_add_ps(a[r], _mm256_load_ps(offsets));
		b[r] = _mm256_add_ps(b[r], _mm256_load_ps(offsets + 8));
		_mm256_storeu_ps(scores + (size_t) r * stride, a[r]);
		_mm256_storeu_ps(scores + (size_t) r * stride + 8, b[r]);
		best[r] = _mm256_max_ps(best[r], _mm256_max_ps(a[r], b[r]));
	}
}

/* One row against one panel, four numbers at a time: eight sums, to keep up with the cache. */
INLINE void
score_one(const float *panel, const float *offsets, const float *y, size_t dim, float *scores,
		  __m256 *best)
{
	__m256 a[4], b[4];
	size_t i = 0;

#pragma GCC unroll 4
	for (int k = 0; k < 4; k++)
		a[k] = b[k] = _mm256_setzero_ps();
	for (; i + 4 <= dim; i += 4)
	{
#pragma GCC unroll 4
		for (int k = 0; k < 4; k++)
		{
			__m256 row = _mm256_broadcast_ss(y + i + k);

			a[k] = _mm256_fmadd_ps(row, _mm256_load_ps(panel + (i + k) * PANEL), a[k]);
			b[k] = _mm256_fmadd_ps(row, _mm256_load_ps(panel + (i + k) * PANEL + 8), b[k]);
		}
	}
	for (; i < dim; i++)
	{
		__m256 row = _mm256_broadcast_ss(y + i);

		a[0] = _mm256_fmadd_ps(row, _mm256_load_ps(panel + i * PANEL), a[0]);
		b[0] = _mm256_fmadd_ps(row, _mm256_load_ps(panel + i * PANEL + 8), b[0]);
	}
	a[0] = _mm256_add_ps(_mm256_add_ps(a[0], a[1]), _mm256_add_ps(a[2], a[3]));
	b[0] = _mm256_add_ps(_mm256_add_ps(b[0], b[1]), _mm256_add_ps(b[2], b[3]));
	a[0] = _mm256_add_ps(a[0], _mm256_load_ps(offsets));
	b[0] = _mm256_add_ps(b[0], _mm256_load_ps(offsets + 8));
	_mm256_storeu_ps(scores, a[0]);
	_mm256_storeu_ps(scores + 8, b[0]);
	*best = _mm256_max_ps(*best, _mm256_max_ps(a[0], b[0]));
}

INLINE float
largest_of(__m256 v)
{
	__m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
	__m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));

	return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

TARGET static void
score(const stk_pack *p, const void *tile, uint32_t n, uint32_t first, uint32_t panels,
	  float *scores, size_t stride, float *best)
{
	const float *panel = (const float *) (const void *) p->packed + first * p->dim * PANEL;
	const float *offsets = p->offsets + (size_t) first * PANEL;
	__m256 largest[TILE];

	for (int r = 0; r < TILE; r++)
		largest[r] = _mm256_set1_ps(-INFINITY);
	for (uint32_t j = 0; j < panels; j++)
	{
		if (n == 1)
			score_one(panel, offsets, tile, p->dim, scores, largest);
		else if (n <= SMALL)
			score_rows(SMALL, panel, offsets, tile, p->dim, n, scores, stride, largest);
		else
			score_rows(TILE, panel, offsets, tile, p->dim, n, scores, stride, largest);
		panel += p->dim * PANEL;
		offsets += PANEL;
		scores += PANEL;
	}
	for (uint32_t r = 0; r < n; r++)
		best[r] = largest_of(largest[r]);
}

TARGET static uint32_t
collect(const float *scores, uint32_t n, float limit, uint32_t *places)
{
	__m256 limits = _mm256_set1_ps(limit);
	uint32_t found = 0;
	uint32_t j = 0;

	for (; j + 16 <= n; j += 16)
	{
		__m256 a = _mm256_cmp_ps(_mm256_loadu_ps(scores + j), limits, _CMP_NLT_UQ);
		__m256 b = _mm256_cmp_ps(_mm256_loadu_ps(scores + j + 8), limits, _CMP_NLT_UQ);
		uint32_t hits = (uint32_t) _mm256_movemask_ps(b) << 8 | (uint32_t) _mm256_movemask_ps(a);

		for (; hits; hits &= hits - 1)
			places[found++] = j + (uint32_t) __builtin_ctz(hits);
	}
	for (; j < n; j++)
	{
		if (!(scores[j] < limit))
			places[found++] = j;
	}
	return found;
}

const stk_kernel stk_kernel_avx2 = {
	.name = "avx2",
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
