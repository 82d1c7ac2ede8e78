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
 * On exec->pool's threads, in the caller's floating-point environment. Never fails; where the
 * monitor says to stop, the rest of c is numbers without meaning, and the caller is to ask it, too.
 */
extern void stk_gemm(const stk_exec *exec, float *scratch, stk_matrix a, stk_matrix b, float *c,
					 size_t m, size_t n, size_t k);

#endif
