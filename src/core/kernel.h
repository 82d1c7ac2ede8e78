/*
 * The two tables of functions that each instruction set fills in.
 *
 * stk_reference is exact arithmetic: every implementation gives the same bits.
 *
 * stk_kernel is a filter: it scores rows against a packed codebook in fast, inexact arithmetic.
 * What it may get wrong is bounded (bound.h), and whatever the bound leaves open is decided by the
 * reference (nearest.h). Functions compute in the calling thread, in core's floating-point
 * environment (fpenv.h), and never allocate.
 */
#ifndef STK_KERNEL_H
#define STK_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bound.h"

/* Alignment of every buffer that a kernel reads or writes. */
#define STK_ALIGN 64
/* The most rows any kernel's tile has. */
#define STK_MAX_TILE 16
/* The most codewords any kernel's panel has. */
#define STK_MAX_PANEL 64

/* Bytes rounded up to whole STK_ALIGN. */
static inline size_t
stk_aligned_bytes(size_t bytes)
{
	return (bytes + STK_ALIGN - 1) / STK_ALIGN * STK_ALIGN;
}

struct stk_pack;

typedef struct stk_reference
{
	/* dots[i] = the reference dot product (dot.h) of x [dim] and rows[i] [dim]; n of them. */
	void (*dots)(const float *x, const float *const *rows, size_t n, size_t dim, double *dots);
	/* to[i] += row[i] in binary64, dim of them. */
	void (*add)(double *to, const float *row, size_t dim);
	/*
	 * Add one chunk of rows to sums of the shape of member_sums.h.
	 *
	 *   to    [dim]     the sums so far
	 *   x     [][dim]
	 *   rows  [n]       which of them, in order; n <= 256
	 */
	void (*add_rows)(double *to, const float *x, const size_t *rows, size_t n, size_t dim);
	/* r = x - c in binary32; r may be x. False when an element is not finite. */
	bool (*subtract)(const float *x, const float *c, size_t dim, float *r);
	/* Are all n values finite? */
	bool (*finite)(const float *x, size_t n);
	/*
	 * Reference dot products of every row with every row of weights.
	 *
	 *   x       [n][stk_wide_dim(dim)]  widened
	 *   weight  [outs][dim]
	 *   out     [n][stride]             out, outs of each row; stride >= outs
	 */
	void (*products)(const double *x, size_t n, const float *weight, size_t outs, size_t dim,
					 double *out, size_t stride);
} stk_reference;

typedef struct stk_kernel
{
	const char *name;          /* "avx512_bf16" */
	uint32_t tile;             /* rows of a full tile, <= STK_MAX_TILE */
	uint32_t panel;            /* codewords of a panel; a multiple of 8, <= STK_MAX_PANEL */
	stk_arithmetic arithmetic; /* what the bound may assume */

	/* Bytes of one panel, and of one tile of rows, for this dimension; multiples of STK_ALIGN. */
	size_t (*panel_bytes)(size_t dim);
	size_t (*tile_bytes)(size_t dim);

	/*
	 * Lay out one panel.
	 *
	 *   c       [n][dim]  codewords less the centre in binary32, n <= panel; the rest are zeros
	 *   panel             out, panel_bytes
	 *   packed  [n][dim]  out, the values the unit will really multiply by; may be c
	 */
	void (*pack_panel)(const float *c, uint32_t n, size_t dim, void *panel, float *packed);

	/*
	 * Lay out a tile of rows, less the pack's centre.
	 *
	 *   x     [n][dim]  rows, 1 <= n <= tile, finite
	 *   tile            out, tile_bytes
	 *   rows  [n]       out: upper bounds of |y^| and |y - y^|, where y = x - centre and y^ is
	 *                   what the unit really multiplies by; not finite when it overflowed
	 */
	void (*pack_rows)(const struct stk_pack *p, const float *x, uint32_t n, void *tile,
					  stk_bound_row *rows);

	/*
	 * Score the tile's n rows against `panels` panels from `first` on:
	 * scores[r * stride + j] = y^_r . c^_k + offset_k with k = first * panel + j. A sum that
	 * overflowed may come out as anything.
	 *
	 *   scores  [n][stride]  out, stride >= panels * panel, a multiple of 16
	 *   best    [n]          out, the largest score of each row
	 *
	 * n = 1 takes a form of its own, bound by reading the panels once.
	 */
	void (*score)(const struct stk_pack *p, const void *tile, uint32_t n, uint32_t first,
				  uint32_t panels, float *scores, size_t stride, float *best);

	/*
	 * The places j < n where scores[j] is not below limit (NaN is not), in order.
	 *
	 *   places  [n]  out; returns how many
	 */
	uint32_t (*collect)(const float *scores, uint32_t n, float limit, uint32_t *places);
} stk_kernel;

/* Portable C, on every machine. */
extern const stk_reference stk_reference_scalar;
extern const stk_kernel stk_kernel_scalar;
#if defined(__x86_64__)
extern const stk_reference stk_reference_avx2;
extern const stk_kernel stk_kernel_avx2;
extern const stk_reference stk_reference_avx512;
extern const stk_kernel stk_kernel_avx512;
extern const stk_kernel stk_kernel_avx512_bf16;
#elif defined(__aarch64__)
extern const stk_reference stk_reference_neon;
extern const stk_kernel stk_kernel_neon;
#endif

#endif
