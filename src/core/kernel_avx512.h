/*
 * What the binary32 and the bfloat16 filter for AVX-512 share. Both see a row as 32-bit words: one
 * binary32, or two bfloat16, multiplied at once.
 *
 * A panel is [words][32] codewords side by side, a tile [12] rows one after the other, each an odd
 * number of cache lines long: rows whose distance is a multiple of 4096 bytes would share a set of
 * the first-level cache. Twelve rows by 32 codewords fill 24 registers with sums, so that 24
 * independent multiplications hide the unit's latency and each word loaded serves twice or more.
 *
 * The includer defines TARGET, the attribute of its functions, and multiply_add().
 */
#include <immintrin.h>
#include <math.h>

#include "pack.h"

#define TILE 12
/* Rows of a smaller form, for what is left of a batch. */
#define SMALL 4
#define PANEL 32
#define LINE 16 /* words of a cache line and of a register */

#define INLINE static inline __attribute__((always_inline)) TARGET

/* sums + row * codes, for the words of one row (broadcast) and of 16 codewords. */
INLINE __m512 multiply_add(__m512 sums, __m512i row, __m512i codes);

/* Words from one row of a tile to the next. */
INLINE size_t
row_stride(size_t words)
{
	return ((words + LINE - 1) / LINE | 1) * LINE;
}

/* Lanes of the 16 from i on that are below n. */
INLINE __mmask16
lanes_below(size_t i, size_t n)
{
	return n - i >= 16 ? (__mmask16) 0xffff : (__mmask16) ((1u << (n - i)) - 1);
}

/* out[c * PANEL + r] = rows[r][c], for 16 rows of 16 words. */
INLINE void
transpose(const __m512i rows[16], uint32_t *out)
{
	__m512i s[16], t[16];

#pragma GCC unroll 8
	for (int i = 0; i < 8; i++)
	{
		s[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
		s[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
	{
		t[4 * i] = _mm512_unpacklo_epi64(s[4 * i], s[4 * i + 2]);
		t[4 * i + 1] = _mm512_unpackhi_epi64(s[4 * i], s[4 * i + 2]);
		t[4 * i + 2] = _mm512_unpacklo_epi64(s[4 * i + 1], s[4 * i + 3]);
		t[4 * i + 3] = _mm512_unpackhi_epi64(s[4 * i + 1], s[4 * i + 3]);
	}
	/* t[4 i + j], 128 bits at a time: rows 4 i .. 4 i + 3 of columns j, j + 4, j + 8, j + 12. */
#pragma GCC unroll 4
	for (int j = 0; j < 4; j++)
	{
		__m512i a = _mm512_shuffle_i32x4(t[j], t[4 + j], 0x88);
		__m512i b = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], 0x88);
		__m512i c = _mm512_shuffle_i32x4(t[j], t[4 + j], 0xdd);
		__m512i d = _mm512_shuffle_i32x4(t[8 + j], t[12 + j], 0xdd);

		_mm512_storeu_si512(out + (size_t) j * PANEL, _mm512_shuffle_i32x4(a, b, 0x88));
		_mm512_storeu_si512(out + (size_t) (j + 4) * PANEL, _mm512_shuffle_i32x4(c, d, 0x88));
		_mm512_storeu_si512(out + (size_t) (j + 8) * PANEL, _mm512_shuffle_i32x4(a, b, 0xdd));
		_mm512_storeu_si512(out + (size_t) (j + 12) * PANEL, _mm512_shuffle_i32x4(c, d, 0xdd));
	}
}

/* `rows` rows (SMALL or TILE, so that the loops unroll) against one panel; n of them are wanted. */
INLINE void
score_rows(const int rows, const uint32_t *panel, const float *offsets, const uint32_t *y,
		   size_t words, uint32_t n, float *scores, size_t stride, __m512 *best)
{
	size_t step = row_stride(words);
	__m512 a[TILE], b[TILE];

#pragma GCC unroll 12
	for (int r = 0; r < rows; r++)
		a[r] = b[r] = _mm512_setzero_ps();
	for (size_t i = 0; i < words; i++)
	{
		__m512i codes_a = _mm512_load_si512(panel + i * PANEL);
		__m512i codes_b = _mm512_load_si512(panel + i * PANEL + LINE);

#pragma GCC unroll 12
		for (int r = 0; r < rows; r++)
		{
			__m512i row = _mm512_set1_epi32((int) y[(size_t) r * step + i]);

			a[r] = multiply_add(a[r], row, codes_a);
			b[r] = multiply_add(b[r], row, codes_b);
		}
	}
#pragma GCC unroll 12
	for (int r = 0; r < rows; r++)
	{
		if ((uint32_t) r == n)
			return;
		a[r] = _mm512_add_ps(a[r], _mm512_load_ps(offsets));
		b[r] = _mm512_add_ps(b[r], _mm512_load_ps(offsets + LINE));
		_mm512_storeu_ps(scores + (size_t) r * stride, a[r]);
		_mm512_storeu_ps(scores + (size_t) r * stride + LINE, b[r]);
		best[r] = _mm512_max_ps(best[r], _mm512_max_ps(a[r], b[r]));
	}
}

/* One row against one panel, four words at a time: eight sums, to keep up with the cache. */
INLINE void
score_one(const uint32_t *panel, const float *offsets, const uint32_t *y, size_t words,
		  float *scores, __m512 *best)
{
	__m512 a[4], b[4];
	size_t i = 0;

#pragma GCC unroll 4
	for (int k = 0; k < 4; k++)
		a[k] = b[k] = _mm512_setzero_ps();
	for (; i + 4 <= words; i += 4)
	{
#pragma GCC unroll 4
		for (int k = 0; k < 4; k++)
		{
			__m512i row = _mm512_set1_epi32((int) y[i + k]);

			a[k] = multiply_add(a[k], row, _mm512_load_si512(panel + (i + k) * PANEL));
			b[k] = multiply_add(b[k], row, _mm512_load_si512(panel + (i + k) * PANEL + LINE));
		}
	}
	for (; i < words; i++)
	{
		__m512i row = _mm512_set1_epi32((int) y[i]);

		a[0] = multiply_add(a[0], row, _mm512_load_si512(panel + i * PANEL));
		b[0] = multiply_add(b[0], row, _mm512_load_si512(panel + i * PANEL + LINE));
	}
	a[0] = _mm512_add_ps(_mm512_add_ps(a[0], a[1]), _mm512_add_ps(a[2], a[3]));
	b[0] = _mm512_add_ps(_mm512_add_ps(b[0], b[1]), _mm512_add_ps(b[2], b[3]));
	a[0] = _mm512_add_ps(a[0], _mm512_load_ps(offsets));
	b[0] = _mm512_add_ps(b[0], _mm512_load_ps(offsets + LINE));
	_mm512_storeu_ps(scores, a[0]);
	_mm512_storeu_ps(scores + LINE, b[0]);
	*best = _mm512_max_ps(*best, _mm512_max_ps(a[0], b[0]));
}

/* stk_kernel's score, for rows of so many words. */
INLINE void
score_panels(const stk_pack *p, size_t words, const uint32_t *tile, uint32_t n, uint32_t first,
			 uint32_t panels, float *scores, size_t stride, float *best)
{
	const uint32_t *panel = (const uint32_t *) (const void *) p->packed;
	const float *offsets = p->offsets + (size_t) first * PANEL;
	__m512 largest[TILE];

	panel += (size_t) first * words * PANEL;
	for (int r = 0; r < TILE; r++)
		largest[r] = _mm512_set1_ps(-INFINITY);
	for (uint32_t j = 0; j < panels; j++)
	{
		if (n == 1)
			score_one(panel, offsets, tile, words, scores, largest);
		else if (n <= 2 * SMALL)
		{
			for (uint32_t r = 0; r < n; r += SMALL)
				score_rows(SMALL, panel, offsets, tile + r * row_stride(words), words, n - r,
						   scores + r * stride, stride, largest + r);
		}
		else
			score_rows(TILE, panel, offsets, tile, words, n, scores, stride, largest);
		panel += words * PANEL;
		offsets += PANEL;
		scores += PANEL;
	}
	for (uint32_t r = 0; r < n; r++)
		best[r] = _mm512_reduce_max_ps(largest[r]);
}

/* Rows that score_rows reads beside the n it was given are zeros. */
INLINE void
clear_rows(uint32_t *tile, uint32_t n, size_t words)
{
	uint32_t end = n == 1 ? 1 : n <= 2 * SMALL ? (n + SMALL - 1) / SMALL * SMALL : TILE;

	memset(tile + n * row_stride(words), 0, (end - n) * row_stride(words) * sizeof(uint32_t));
}

/* Places of the hits, first + the numbers of the bits set; returns how many. */
INLINE uint32_t
list_places(uint64_t hits, uint32_t first, uint32_t *places)
{
	uint32_t found = 0;

	/* They are few: looking for them one by one beats compressing. */
	for (; hits; hits &= hits - 1)
		places[found++] = first + (uint32_t) __builtin_ctzll(hits);
	return found;
}

/* stk_kernel's collect. */
INLINE uint32_t
collect_places(const float *scores, uint32_t n, float limit, uint32_t *places)
{
	__m512 limits = _mm512_set1_ps(limit);
	uint32_t found = 0;
	uint32_t j = 0;

	for (; j + 64 <= n; j += 64)
	{
		__mmask16 hits[4];

#pragma GCC unroll 4
		for (int i = 0; i < 4; i++)
			hits[i] = _mm512_cmp_ps_mask(_mm512_loadu_ps(scores + j + 16 * i), limits, _CMP_NLT_UQ);
		if (_kortestz_mask16_u8(_kor_mask16(hits[0], hits[1]), _kor_mask16(hits[2], hits[3])))
			continue;
		found += list_places((uint64_t) hits[3] << 48 | (uint64_t) hits[2] << 32 |
								 (uint64_t) hits[1] << 16 | hits[0],
							 j, places + found);
	}
	for (; j < n; j += 16)
	{
		__mmask16 some = lanes_below(j, n);
		__m512 v = _mm512_maskz_loadu_ps(some, scores + j);

		found +=
			list_places(_mm512_mask_cmp_ps_mask(some, v, limits, _CMP_NLT_UQ), j, places + found);
	}
	return found;
}
