/*
 * Products of matrices in binary32, for training. Each element of a product is one chain of fused
 * multiply-adds in the order of k, from +0: no result depends on threads, blocks or vector units.
 *
 * Blocks and packing as Goto and van de Geijn 2008, "Anatomy of high-performance matrix
 * multiplication".
 */
#ifndef STK_GEMM_H
#define STK_GEMM_H

#include "exec.h"

/* A view: element (i, j) is data[i * row + j * column]; one of the strides is 1. */
typedef struct stk_matrix
{
	const float *data;
	size_t row;
	size_t column;
} stk_matrix;

/* data [][columns] as it is, and the other way round. */
static inline stk_matrix
stk_matrix_rows(const float *data, size_t columns)
{
	return (stk_matrix){data, columns, 1};
}

static inline stk_matrix
stk_matrix_transposed(const float *data, size_t columns)
{
	return (stk_matrix){data, 1, columns};
}

/* Floats of scratch for products of up to m x n with up to k terms, on so many threads. */
extern size_t stk_gemm_scratch(int threads, size_t m, size_t n, size_t k);

/*
 * c = a b.
 *
 *   a  m x k
 *   b  k x n
 *   c  [m][n]  out; apart from a and b
 *
 * On exec->pool's threads, in the caller's floating-point environment. Never fails.
 */
extern void stk_gemm(const stk_exec *exec, float *scratch, stk_matrix a, stk_matrix b, float *c,
					 size_t m, size_t n, size_t k);

/*
 * A vector unit's part: a tile of c, in registers.
 *
 *   a  [k][rows]     a column after the other
 *   b  [k][columns]  a row after the other
 *   c  [rows][columns] at `stride`; what is there already is gone on from, but with `fresh`
 */
typedef struct stk_gemm_tile
{
	uint32_t rows;
	uint32_t columns;
	void (*multiply)(const float *a, const float *b, size_t k, float *c, size_t stride, bool fresh);
} stk_gemm_tile;

#define STK_GEMM_MAX_ROWS 12
#define STK_GEMM_MAX_COLUMNS 32

#if defined(__x86_64__)
extern const stk_gemm_tile stk_gemm_tile_avx2;
extern const stk_gemm_tile stk_gemm_tile_avx512;
#elif defined(__aarch64__)
extern const stk_gemm_tile stk_gemm_tile_neon;
#endif

#endif
