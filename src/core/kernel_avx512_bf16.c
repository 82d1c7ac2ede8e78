/*
 * AVX-512's bfloat16 filter: each word holds two elements, whose products are added to the sum one
 * after the other. Conversions and products flush small numbers to zero whatever MXCSR says, so
 * what is packed holds no subnormal number: it is what the unit multiplies by.
 */
#if defined(__x86_64__)
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#include "kernel_avx512.h"

INLINE __m512
multiply_add(__m512 sums, __m512i row, __m512i codes)
{
	return _mm512_dpbf16_ps(sums, (__m512bh) row, (__m512bh) codes);
}

/* Words of a row: an odd element out meets a zero. */
INLINE size_t
words_of(size_t dim)
{
	return (dim + 1) / 2;
}

/* The nearest bfloat16 numbers, in halves of words. */
INLINE __m256i
narrow(__m512 v)
{
	return (__m256i) _mm512_cvtneps_pbh(v);
}

INLINE __m512
widen(__m256i narrowed)
{
	return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrowed), 16));
}

TARGET static size_t
panel_bytes(size_t dim)
{
	return words_of(dim) * PANEL * sizeof(uint32_t);
}

TARGET static size_t
tile_bytes(size_t dim)
{
	return row_stride(words_of(dim)) * TILE * sizeof(uint32_t);
}

TARGET static void
pack_panel(const float *c, uint32_t n, size_t dim, void *panel, float *packed)
{
	uint32_t *to = panel;
	size_t words = words_of(dim);

	for (size_t i = 0; i < dim; i += 32)
	{
		__mmask16 low = lanes_below(i, dim);
		__mmask16 high = dim - i > 16 ? lanes_below(i + 16, dim) : 0;
		size_t left = words - i / 2;
		uint32_t columns[16 * PANEL];

		for (uint32_t half = 0; half < PANEL; half += 16)
		{
			__m512i rows[16];

			for (uint32_t j = 0; j < 16; j++)
			{
				size_t at = (half + j) * dim + i;
				__m256i a, b;

				rows[j] = _mm512_setzero_si512();
				if (half + j >= n)
					continue;
				a = narrow(_mm512_maskz_loadu_ps(low, c + at));
				b = narrow(_mm512_maskz_loadu_ps(high, c + at + 16));
				_mm512_mask_storeu_ps(packed + at, low, widen(a));
				_mm512_mask_storeu_ps(packed + at + 16, high, widen(b));
				rows[j] = _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
			}
			transpose(rows, columns + half);
		}
		memcpy(to + i / 2 * PANEL, columns, (left < 16 ? left : 16) * PANEL * sizeof(uint32_t));
	}
}

/* Squares of what was kept of a row, and of what was lost. */
typedef struct squares
{
	__m512 kept;
	__m512 lost;
} squares;

/* y = x - centre for some of 16 elements; adds to the squares. */
INLINE void
pack_some(__mmask16 some, const float *x, const float *centre, uint32_t *y, squares *sums)
{
	__m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(some, x), _mm512_maskz_loadu_ps(some, centre));
	__m256i narrowed = narrow(v);
	__m512 kept = widen(narrowed);
	__m512 lost = _mm512_sub_ps(v, kept);

	_mm256_store_si256((__m256i *) (void *) y, narrowed);
	sums->kept = _mm512_fmadd_ps(kept, kept, sums->kept);
	sums->lost = _mm512_fmadd_ps(lost, lost, sums->lost);
}

TARGET static void
pack_rows(const stk_pack *p, const float *x, uint32_t n, void *tile, stk_bound_row *rows)
{
	size_t dim = p->dim;
	size_t words = words_of(dim);
	uint32_t *y = tile;

	clear_rows(tile, n, words);
	for (uint32_t r = 0; r < n; r++, x += dim, y += row_stride(words))
	{
		squares sums = {_mm512_setzero_ps(), _mm512_setzero_ps()};
		double rounding;
		size_t i = 0;

		for (; i + 16 <= dim; i += 16)
			pack_some(0xffff, x + i, p->centre + i, y + i / 2, &sums);
		if (i < dim)
			pack_some(lanes_below(i, dim), x + i, p->centre + i, y + i / 2, &sums);
		rows[r].norm = stk_bound_norm(_mm512_reduce_add_ps(sums.kept), dim);
		rounding = stk_bound_norm(_mm512_reduce_add_ps(sums.lost), dim);
		/* |v| <= |kept| + |lost|, and v is x - centre rounded to binary32. */
		rows[r].rounding = rounding + (p->centred ? 0x1p-24 * (rows[r].norm + rounding) : 0);
	}
}

TARGET static void
score(const stk_pack *p, const void *tile, uint32_t n, uint32_t first, uint32_t panels,
	  float *scores, size_t stride, float *best)
{
	score_panels(p, words_of(p->dim), tile, n, first, panels, scores, stride, best);
}

TARGET static uint32_t
collect(const float *scores, uint32_t n, float limit, uint32_t *places)
{
	return collect_places(scores, n, limit, places);
}

const stk_kernel stk_kernel_avx512_bf16 = {
	.name = "avx512_bf16",
	.tile = TILE,
	.panel = PANEL,
	.arithmetic = STK_ARITHMETIC_BFLOAT16,
	.panel_bytes = panel_bytes,
	.tile_bytes = tile_bytes,
	.pack_panel = pack_panel,
	.pack_rows = pack_rows,
	.score = score,
	.collect = collect,
};
#endif
