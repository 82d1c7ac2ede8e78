/*
 * Private to the files of stk_gemm_tile: one tile, for a vector unit that defines
 *
 *    TARGET            the attribute of functions that use it
 *    VECTOR, LANES     a register of binary32
 *    LOAD STORE SPREAD ZERO  at an address; of one number to all lanes
 *    MULTIPLY_ADD(a, b, c)   a b + c, rounded once
 *    ROWS              of a tile, which has two registers' columns
 */
#define COLUMNS (2 * LANES)

TARGET static void
multiply(const float *a, const float *b, size_t k, float *c, size_t stride, bool fresh)
{
	VECTOR low[ROWS], high[ROWS];

#pragma GCC unroll 16
	for (int r = 0; r < ROWS; r++)
	{
		low[r] = fresh ? ZERO() : LOAD(c + (size_t) r * stride);
		high[r] = fresh ? ZERO() : LOAD(c + (size_t) r * stride + LANES);
	}
	for (size_t i = 0; i < k; i++)
	{
		VECTOR left = LOAD(b);
		VECTOR right = LOAD(b + LANES);

#pragma GCC unroll 16
		for (int r = 0; r < ROWS; r++)
		{
			VECTOR one = SPREAD(a + r);

			low[r] = MULTIPLY_ADD(one, left, low[r]);
			high[r] = MULTIPLY_ADD(one, right, high[r]);
		}
		a += ROWS;
		b += COLUMNS;
	}
#pragma GCC unroll 16
	for (int r = 0; r < ROWS; r++)
	{
		STORE(c + (size_t) r * stride, low[r]);
		STORE(c + (size_t) r * stride + LANES, high[r]);
	}
}
