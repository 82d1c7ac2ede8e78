/*
 * 64-bit ARM.
 *
 * A panel is [dim][8] codewords side by side, a tile [dim][8] rows side by side: eight by eight
 * sums fill half of the 32 registers, and four loads feed sixteen fused multiplications. A single
 * row is [dim], and goes through four panels at a time to keep as many sums in flight.
 */
#include "pack.h"

#if defined(__aarch64__)

#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "dot.h"

#define TILE 8
#define PANEL 8
/* Panels that a single row is scored against at once. */
#define ABREAST 4

#define TARGET
#define COLUMNS 2
#define WIDEN(x) ((stk_columns) vcvt_f64_f32(vld1_f32(x)))
#include "kernel_sums.h"

/* Eight lanes of binary64: lane 2 i and 2 i + 1 in [i]. */
typedef struct lanes8
{
	float64x2_t of[4];
} lanes8;

static inline lanes8
widen8(const float *x)
{
	float32x4_t low = vld1q_f32(x);
	float32x4_t high = vld1q_f32(x + 4);

	return (lanes8){{vcvt_f64_f32(vget_low_f32(low)), vcvt_high_f64_f32(low),
					 vcvt_f64_f32(vget_low_f32(high)), vcvt_high_f64_f32(high)}};
}

/* The product is exact in binary64: fusing changes nothing. */
static inline void
accumulate(lanes8 *sum, lanes8 x, lanes8 y)
{
	for (int i = 0; i < 4; i++)
		sum->of[i] = vfmaq_f64(sum->of[i], x.of[i], y.of[i]);
}

static inline double
add_lanes(lanes8 sum)
{
	float64x2_t pair = vaddq_f64(vaddq_f64(sum.of[0], sum.of[2]), vaddq_f64(sum.of[1], sum.of[3]));

	return vgetq_lane_f64(pair, 0) + vgetq_lane_f64(pair, 1);
}

#define BLOCK_ROWS 3
#define BLOCK_OUTS 2
#define MULTIPLY_ADD(x, y, sums) ((stk_columns) vfmaq_f64(sums, x, y))
#define ADD_PARTS(parts) add_lanes((lanes8){{(parts)[0], (parts)[1], (parts)[2], (parts)[3]}})
#include "kernel_layers.h"

/* The last dim % 8 elements of a row, zeros behind them. */
static inline lanes8
widen_tail(const float *x, size_t dim)
{
	float tail[STK_LANES] = {0};

	memcpy(tail, x + dim / STK_LANES * STK_LANES, dim % STK_LANES * sizeof(float));
	return widen8(tail);
}

/* Two rows at a time hide the latency of the sums. */
static void
dots(const float *x, const float *const *rows, size_t n, size_t dim, double *out)
{
	size_t whole = dim / STK_LANES * STK_LANES;

	for (size_t r = 0; r < n; r += 2)
	{
		const float *row_a = rows[r];
		const float *row_b = rows[r + 1 < n ? r + 1 : r];
		lanes8 a = {{vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0), vdupq_n_f64(0)}};
		lanes8 b = a;

		for (size_t i = 0; i < whole; i += STK_LANES)
		{
			lanes8 wide = widen8(x + i);

			accumulate(&a, wide, widen8(row_a + i));
			accumulate(&b, wide, widen8(row_b + i));
		}
		if (whole < dim)
		{
			lanes8 wide = widen_tail(x, dim);

			accumulate(&a, wide, widen_tail(row_a, dim));
			accumulate(&b, wide, widen_tail(row_b, dim));
		}
		out[r] = add_lanes(a);
		if (r + 1 < n)
			out[r + 1] = add_lanes(b);
	}
}

static void
add(double *to, const float *row, size_t dim)
{
	size_t i = 0;

	for (; i + 4 <= dim; i += 4)
	{
		float32x4_t v = vld1q_f32(row + i);

		vst1q_f64(to + i, vaddq_f64(vld1q_f64(to + i), vcvt_f64_f32(vget_low_f32(v))));
		vst1q_f64(to + i + 2, vaddq_f64(vld1q_f64(to + i + 2), vcvt_high_f64_f32(v)));
	}
	for (; i < dim; i++)
		to[i] += row[i];
}

/* All bits set where an element is NaN or infinite. */
static inline uint32x4_t
not_finite(float32x4_t v)
{
	return vcgeq_u32(vreinterpretq_u32_f32(vabsq_f32(v)), vdupq_n_u32(0x7f800000));
}

static bool
subtract(const float *x, const float *c, size_t dim, float *r)
{
	uint32x4_t bad = vdupq_n_u32(0);
	bool finite = true;
	size_t i = 0;

	for (; i + 4 <= dim; i += 4)
	{
		float32x4_t v = vsubq_f32(vld1q_f32(x + i), vld1q_f32(c + i));

		vst1q_f32(r + i, v);
		bad = vorrq_u32(bad, not_finite(v));
	}
	for (; i < dim; i++)
	{
		r[i] = x[i] - c[i];
		finite &= isfinite(r[i]) != 0;
	}
	return finite && vmaxvq_u32(bad) == 0;
}

static bool
all_finite(const float *x, size_t n)
{
	uint32x4_t bad = vdupq_n_u32(0);
	bool all = true;
	size_t i = 0;

	for (; i + 4 <= n; i += 4)
		bad = vorrq_u32(bad, not_finite(vld1q_f32(x + i)));
	for (; i < n; i++)
		all &= isfinite(x[i]) != 0;
	return all && vmaxvq_u32(bad) == 0;
}

const stk_reference stk_reference_neon = {dots, add, add_rows, subtract, all_finite, products};

static size_t
panel_bytes(size_t dim)
{
	return stk_aligned_bytes(dim * PANEL * sizeof(float));
}

static size_t
tile_bytes(size_t dim)
{
	return stk_aligned_bytes(dim * TILE * sizeof(float));
}

static void
pack_panel(const float *c, uint32_t n, size_t dim, void *panel, float *packed)
{
	float *to = panel;

	for (size_t i = 0; i < dim; i++)
	{
		for (uint32_t j = 0; j < PANEL; j++)
			to[i * PANEL + j] = j < n ? c[j * dim + i] : 0;
	}
	memmove(packed, c, n * dim * sizeof(float));
}

static void
pack_rows(const stk_pack *p, const float *x, uint32_t n, void *tile, stk_bound_row *rows)
{
	size_t step = n == 1 ? 1 : TILE;
	float *to = tile;

	for (uint32_t r = 0; r < step; r++)
	{
		float sum = 0;

		for (size_t i = 0; i < p->dim; i++)
		{
			float y = r < n ? x[r * p->dim + i] - p->centre[i] : 0;

			to[i * step + r] = y;
			sum += y * y;
		}
		if (r < n)
		{
			rows[r].norm = stk_bound_norm(sum, p->dim);
			rows[r].rounding = p->centred ? 0x1p-24 * rows[r].norm : 0;
		}
	}
}

/* Add eight products with one row's element to its sums. */
#define ACCUMULATE_ROW(r, y, lane)                                                                 \
	(a[r] = vfmaq_laneq_f32(a[r], ca, y, lane), b[r] = vfmaq_laneq_f32(b[r], cb, y, lane))

static void
score_tile(const float *panel, const float *offsets, const float *y, size_t dim, uint32_t n,
		   float *scores, size_t stride, float *best)
{
	float32x4_t a[TILE], b[TILE];

	for (int r = 0; r < TILE; r++)
		a[r] = b[r] = vdupq_n_f32(0);
	for (size_t i = 0; i < dim; i++)
	{
		float32x4_t ca = vld1q_f32(panel + i * PANEL);
		float32x4_t cb = vld1q_f32(panel + i * PANEL + 4);
		float32x4_t ya = vld1q_f32(y + i * TILE);
		float32x4_t yb = vld1q_f32(y + i * TILE + 4);

		ACCUMULATE_ROW(0, ya, 0);
		ACCUMULATE_ROW(1, ya, 1);
		ACCUMULATE_ROW(2, ya, 2);
		ACCUMULATE_ROW(3, ya, 3);
		ACCUMULATE_ROW(4, yb, 0);
		ACCUMULATE_ROW(5, yb, 1);
		ACCUMULATE_ROW(6, yb, 2);
		ACCUMULATE_ROW(7, yb, 3);
	}
	for (uint32_t r = 0; r < n; r++)
	{
		a[r] = vaddq_f32(a[r], vld1q_f32(offsets));
		b[r] = vaddq_f32(b[r], vld1q_f32(offsets + 4));
		vst1q_f32(scores + r * stride, a[r]);
		vst1q_f32(scores + r * stride + 4, b[r]);
		/* The number among a NaN and a number. */
		best[r] = fmaxf(best[r], vmaxnmvq_f32(vmaxnmq_f32(a[r], b[r])));
	}
}

/* One row against `abreast` panels (a constant where it is called, so that the loops unroll). */
static inline __attribute__((always_inline)) void
score_row(const float *panel, size_t panel_floats, const float *offsets, const float *y, size_t dim,
		  int abreast, float *scores, float *best)
{
	float32x4_t a[2 * ABREAST];

	for (int j = 0; j < 2 * abreast; j++)
		a[j] = vdupq_n_f32(0);
	for (size_t i = 0; i < dim; i++)
	{
		for (int j = 0; j < abreast; j++)
		{
			const float *c = panel + (size_t) j * panel_floats + i * PANEL;

			a[2 * j] = vfmaq_n_f32(a[2 * j], vld1q_f32(c), y[i]);
			a[2 * j + 1] = vfmaq_n_f32(a[2 * j + 1], vld1q_f32(c + 4), y[i]);
		}
	}
	for (int j = 0; j < 2 * abreast; j++)
	{
		a[j] = vaddq_f32(a[j], vld1q_f32(offsets + 4 * (size_t) j));
		vst1q_f32(scores + 4 * (size_t) j, a[j]);
		*best = fmaxf(*best, vmaxnmvq_f32(a[j]));
	}
}

static void
score(const stk_pack *p, const void *tile, uint32_t n, uint32_t first, uint32_t panels,
	  float *scores, size_t stride, float *best)
{
	size_t panel_floats = panel_bytes(p->dim) / sizeof(float);
	const float *panel = (const float *) (const void *) p->packed + first * panel_floats;
	const float *offsets = p->offsets + (size_t) first * PANEL;
	uint32_t j = 0;

	for (uint32_t r = 0; r < n; r++)
		best[r] = -INFINITY;
	if (n > 1)
	{
		for (; j < panels; j++)
			score_tile(panel + j * panel_floats, offsets + (size_t) j * PANEL, tile, p->dim, n,
					   scores + (size_t) j * PANEL, stride, best);
		return;
	}
	for (; j + ABREAST <= panels; j += ABREAST)
		score_row(panel + j * panel_floats, panel_floats, offsets + (size_t) j * PANEL, tile,
				  p->dim, ABREAST, scores + (size_t) j * PANEL, best);
	for (; j < panels; j++)
		score_row(panel + j * panel_floats, panel_floats, offsets + (size_t) j * PANEL, tile,
				  p->dim, 1, scores + (size_t) j * PANEL, best);
}

static uint32_t
collect(const float *scores, uint32_t n, float limit, uint32_t *places)
{
	float32x4_t limits = vdupq_n_f32(limit);
	uint32_t found = 0;
	uint32_t j = 0;

	for (; j < n; j += 8)
	{
		/* Few scores reach the limit: eight at a time are passed over. NaN is not below it. */
		if (j + 8 <= n && vminvq_u32(vandq_u32(vcltq_f32(vld1q_f32(scores + j), limits),
											   vcltq_f32(vld1q_f32(scores + j + 4), limits))) != 0)
			continue;
		for (uint32_t i = j; i < j + 8 && i < n; i++)
		{
			places[found] = i;
			found += !(scores[i] < limit);
		}
	}
	return found;
}

const stk_kernel stk_kernel_neon = {
	.name = "neon",
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
