/*
 * Portable C. Vectors of four binary32 become SSE2 or NEON registers where there are any.
 *
 * A panel is [dim][8] codewords side by side, a tile [4][dim] rows one after the other; four rows
 * by eight codewords fill eight registers of sums.
 */
#include <math.h>
#include <string.h>

#include "dot.h"
#include "pack.h"

#define TILE 4
#define PANEL 8

#define TARGET
#define COLUMNS 2
#define WIDEN(x) ((stk_columns){(x)[0], (x)[1]})
#include "kernel_sums.h"
#define BLOCK_ROWS 2
#define BLOCK_OUTS 1
#define MULTIPLY_ADD(x, y, sums) ((sums) + (x) * (y))
#define ADD_PARTS(parts) add_parts(parts)

/* ((0+4)+(2+6))+((1+5)+(3+7)) */
static inline double
add_parts(const stk_columns *parts)
{
	stk_columns two = (parts[0] + parts[2]) + (parts[1] + parts[3]);

	return two[0] + two[1];
}

#include "kernel_layers.h"

typedef float lanes4 __attribute__((vector_size(16)));

static void
dots(const float *x, const float *const *rows, size_t n, size_t dim, double *out)
{
	for (size_t i = 0; i < n; i++)
		out[i] = stk_dot(x, rows[i], dim);
}

static void
add(double *to, const float *row, size_t dim)
{
	for (size_t i = 0; i < dim; i++)
		to[i] += row[i];
}

static bool
subtract(const float *x, const float *c, size_t dim, float *r)
{
	bool finite = true;

	for (size_t i = 0; i < dim; i++)
	{
		r[i] = x[i] - c[i];
		finite &= isfinite(r[i]) != 0;
	}
	return finite;
}

static bool
all_finite(const float *x, size_t n)
{
	bool all = true;

	for (size_t i = 0; i < n; i++)
		all &= isfinite(x[i]) != 0;
	return all;
}

const stk_reference stk_reference_scalar = {dots, add, add_rows, subtract, all_finite, products};

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
	float *y = tile;

	for (uint32_t r = 0; r < n; r++, x += p->dim, y += p->dim)
	{
		float sum = 0;

		for (size_t i = 0; i < p->dim; i++)
		{
			y[i] = x[i] - p->centre[i];
			sum += y[i] * y[i];
		}
		rows[r].norm = stk_bound_norm(sum, p->dim);
		rows[r].rounding = p->centred ? 0x1p-24 * rows[r].norm : 0;
	}
}

static inline lanes4
load(const float *from)
{
	lanes4 v;

	memcpy(&v, from, sizeof(v));
	return v;
}

static inline float
larger(lanes4 v, float than)
{
	for (int i = 0; i < 4; i++)
		than = v[i] > than ? v[i] : than;
	return than;
}

/* Add the offsets to one row's sums and hand them out. */
static inline void
finish(lanes4 a, lanes4 b, const float *offsets, float *scores, float *best)
{
	a += load(offsets);
	b += load(offsets + 4);
	memcpy(scores, &a, sizeof(a));
	memcpy(scores + 4, &b, sizeof(b));
	*best = larger(b, larger(a, *best));
}

/* One panel for a tile of rows at y. */
static void
score_tile(const float *panel, const float *offsets, const float *y, size_t dim, float *scores,
		   size_t stride, float *best)
{
	lanes4 a[TILE], b[TILE];

#pragma GCC unroll 4
	for (int r = 0; r < TILE; r++)
		a[r] = b[r] = (lanes4){0};
	for (size_t i = 0; i < dim; i++)
	{
		lanes4 ca = load(panel + i * PANEL);
		lanes4 cb = load(panel + i * PANEL + 4);

#pragma GCC unroll 4
		for (int r = 0; r < TILE; r++)
		{
			float v = y[(size_t) r * dim + i];

			a[r] += ca * v;
			b[r] += cb * v;
		}
	}
#pragma GCC unroll 4
	for (int r = 0; r < TILE; r++)
		finish(a[r], b[r], offsets, scores + (size_t) r * stride, best + r);
}

/* One panel for one row, four elements at a time, whose sums do not wait for one another. */
static void
score_one(const float *panel, const float *offsets, const float *y, size_t dim, float *scores,
		  float *best)
{
	lanes4 a[4], b[4];
	size_t i = 0;

#pragma GCC unroll 4
	for (int k = 0; k < 4; k++)
		a[k] = b[k] = (lanes4){0};
	for (; i + 4 <= dim; i += 4)
	{
#pragma GCC unroll 4
		for (int k = 0; k < 4; k++)
		{
			a[k] += load(panel + (i + k) * PANEL) * y[i + k];
			b[k] += load(panel + (i + k) * PANEL + 4) * y[i + k];
		}
	}
	for (; i < dim; i++)
	{
		a[0] += load(panel + i * PANEL) * y[i];
		b[0] += load(panel + i * PANEL + 4) * y[i];
	}
	finish((a[0] + a[1]) + (a[2] + a[3]), (b[0] + b[1]) + (b[2] + b[3]), offsets, scores, best);
}

static void
score(const stk_pack *p, const void *tile, uint32_t n, uint32_t first, uint32_t panels,
	  float *scores, size_t stride, float *best)
{
	size_t bytes = panel_bytes(p->dim);
	const float *y = tile;

	for (uint32_t r = 0; r < n; r++)
		best[r] = -INFINITY;
	for (uint32_t j = 0; j < panels; j++)
	{
		const float *panel = (const void *) (p->packed + (first + j) * bytes);
		const float *offsets = p->offsets + (size_t) (first + j) * PANEL;

		if (n == TILE)
			score_tile(panel, offsets, y, p->dim, scores + (size_t) j * PANEL, stride, best);
		for (uint32_t r = 0; r < n && n < TILE; r++)
			score_one(panel, offsets, y + r * p->dim, p->dim,
					  scores + r * stride + (size_t) j * PANEL, best + r);
	}
}

static uint32_t
collect(const float *scores, uint32_t n, float limit, uint32_t *places)
{
	uint32_t found = 0;

	for (uint32_t j = 0; j < n; j++)
	{
		places[found] = j;
		found += !(scores[j] < limit);
	}
	return found;
}

const stk_kernel stk_kernel_scalar = {
	.name = "scalar",
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
