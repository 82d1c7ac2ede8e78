/*
 * By how much a filter's scores may mislead: the margin that certifies a winner.
 */
#ifndef STK_BOUND_H
#define STK_BOUND_H

#include <stddef.h>

/* What a filter's unit does with each multiplication and addition. */
typedef enum stk_arithmetic
{
	STK_ARITHMETIC_BINARY32, /* IEEE binary32, rounded to nearest, small numbers kept */
	STK_ARITHMETIC_BFLOAT16  /* bfloat16 products summed in binary32, small numbers flushed */
} stk_arithmetic;

/*
 * A packed codebook's part: c^ is what the unit multiplies by, m the centre. All rounded up.
 */
typedef struct stk_bound_codes
{
	size_t dim;
	double norm;     /* largest |c| */
	double half;     /* largest |c|^2 / 2; 0 for the inner product */
	double centre;   /* |m| */
	double packed;   /* largest |c^| */
	double radius;   /* largest |c - m| */
	double rounding; /* largest |(c - m) - c^| */
	double offset;   /* largest |offset| */
} stk_bound_codes;

/* A row's part: y = x - m, y^ is what the unit multiplies by. Rounded up. */
typedef struct stk_bound_row
{
	double norm;     /* |y^| */
	double rounding; /* |y - y^| */
} stk_bound_row;

/*
 * A codeword whose filter score is more than this below another's cannot have the lower reference
 * score. Not finite where the filter proves nothing: the row is the reference's.
 */
extern double stk_bound_margin(stk_arithmetic arithmetic, const stk_bound_codes *codes,
							   const stk_bound_row *row);

/*
 * Upper bound of a norm from the sum of n squares computed in binary32, in any order.
 */
extern double stk_bound_norm(float sum_of_squares, size_t n);

#endif
