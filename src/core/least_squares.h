/*
 * All codewords of a codebook at once, by least squares, given the rows' codes.
 *
 * With A [n][ΣK] the matrix that has a one for each code of each row, rows X and codewords C, the
 * change of the codewords solves
 *
 *    (A'A + ridge I) (C_new - C) = A'(X - A C)
 *
 * A'A counts how often codes occur together. It is singular, as a constant can move from all of a
 * level's codewords to all of another's; the ridge keeps codewords where they are unless rows say
 * otherwise, so a codeword without rows keeps its value bit for bit.
 *
 * Everything is computed in binary64, each number in one fixed order, by multiplications and
 * additions rounded one by one: the same bits on every machine and for any number of threads.
 */
#ifndef STK_LEAST_SQUARES_H
#define STK_LEAST_SQUARES_H

#include "attached.h"
#include "codebook.h"

typedef struct stk_least_squares
{
	const stk_exec *exec;
	stk_attached *there; /* whose rows are the ones that come; NULL: nobody has them */
	int levels;
	uint32_t sizes[STK_MAX_LEVELS];
	size_t first[STK_MAX_LEVELS]; /* place of each level's first codeword among all */
	size_t total;                 /* ΣK */
	size_t dim;
	size_t width;   /* total, up to whole vectors */
	size_t stride;  /* dim, up to whole blocks of columns */
	double *normal; /* [total][width] above the diagonal: A'A + ridge I, then its Cholesky factor */
	double *right;  /* [total][stride] A'(X - A C), then the solution */
	double *blocks; /* [blocks of columns] sums of squares */
	double *squares; /* [stride] by column */
	bool *stopped;   /* [threads] */
	bool counted;    /* normal has A'A of the rows that were taken in */
} stk_least_squares;

/*
 * Room for codebooks of cb's shape: 8 ΣK (ΣK + dim) bytes and some. exec must outlive it.
 * STK_ENOMEM; free with stk_least_squares_free.
 */
extern stk_status stk_least_squares_init(stk_least_squares *ls, const stk_exec *exec,
										 const stk_codebook *cb);
extern void stk_least_squares_free(stk_least_squares *ls);

/*
 * Take in rows and their codes; must come before stk_least_squares_solve.
 *
 *   x          [n][dim]
 *   codes      [n][levels]
 *   codewords  [total][dim]
 *   error      out, the sum of squared distances of the rows from the sums of their codewords
 *
 * STK_ECANCELED.
 */
extern stk_status stk_least_squares_residuals(stk_least_squares *ls, const float *x, size_t n,
											  const uint16_t *codes, const float *codewords,
											  double *error);

/*
 * Move the codewords to the solution for the same rows and codes.
 *
 *   codewords  [total][dim]  in and out, rounded to binary32
 *
 * STK_ERANGE when one leaves binary32's range, STK_ECANCELED.
 */
extern stk_status stk_least_squares_solve(stk_least_squares *ls, size_t n, const uint16_t *codes,
										  double ridge, float *codewords);

#endif
