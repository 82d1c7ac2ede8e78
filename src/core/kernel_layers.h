/*
 * Products of a network's layers, for the instruction set of the file that includes this, behind
 * kernel_sums.h. Beside TARGET, COLUMNS and WIDEN it defines
 *
 *    BLOCK_ROWS, BLOCK_OUTS        rows by outputs whose sums the registers hold
 *    MULTIPLY_ADD(x, y, sums)      sums + x * y, fused or not: a product of two binary32 numbers
 *                                  is exact in binary64
 *    ADD_PARTS(parts)              the reference's sum of eight lanes, in PARTS registers
 *
 * Rows are widened once for all outputs, weights as they are read: two of them for each
 * BLOCK_ROWS products.
 */
#define PARTS (STK_LANES / COLUMNS)

static inline __attribute__((always_inline)) TARGET stk_columns
load_columns(const double *from)
{
	stk_columns v;

	memcpy(&v, from, sizeof(v));
	return v;
}

/* Add eight elements of each row, widened, times those of each output. */
static inline __attribute__((always_inline)) TARGET void
add_block(const int rows, const int outs, const double *x, size_t wide, const float *weight,
		  size_t dim, stk_columns sums[][BLOCK_OUTS][PARTS])
{
#pragma GCC unroll 8
	for (int p = 0; p < PARTS; p++)
	{
		stk_columns row[BLOCK_ROWS];

#pragma GCC unroll 8
		for (int r = 0; r < rows; r++)
			row[r] = load_columns(x + (size_t) r * wide + p * COLUMNS);
#pragma GCC unroll 8
		for (int o = 0; o < outs; o++)
		{
			stk_columns w = WIDEN(weight + (size_t) o * dim + p * COLUMNS);

#pragma GCC unroll 8
			for (int r = 0; r < rows; r++)
				sums[r][o][p] = MULTIPLY_ADD(row[r], w, sums[r][o][p]);
		}
	}
}

/* So many rows by so many outputs, both constants. */
static inline __attribute__((always_inline)) TARGET void
block_products(const int rows, const int outs, const double *x, const float *weight, size_t dim,
			   double *out, size_t stride)
{
	size_t wide = stk_wide_dim(dim);
	size_t whole = dim / STK_LANES * STK_LANES;
	stk_columns sums[BLOCK_ROWS][BLOCK_OUTS][PARTS];

#pragma GCC unroll 8
	for (int r = 0; r < rows; r++)
	{
#pragma GCC unroll 8
		for (int o = 0; o < outs; o++)
		{
#pragma GCC unroll 8
			for (int p = 0; p < PARTS; p++)
				sums[r][o][p] = (stk_columns){0};
		}
	}
	for (size_t i = 0; i < whole; i += STK_LANES)
		add_block(rows, outs, x + i, wide, weight + i, dim, sums);
	if (whole < dim)
	{
		float rest[BLOCK_OUTS][STK_LANES] = {{0}};

		for (int o = 0; o < outs; o++)
			memcpy(rest[o], weight + (size_t) o * dim + whole, (dim - whole) * sizeof(float));
		add_block(rows, outs, x + whole, wide, rest[0], STK_LANES, sums);
	}
#pragma GCC unroll 8
	for (int r = 0; r < rows; r++)
	{
#pragma GCC unroll 8
		for (int o = 0; o < outs; o++)
			out[(size_t) r * stride + (size_t) o] = ADD_PARTS(sums[r][o]);
	}
}

/* All outputs of so many rows. */
static inline __attribute__((always_inline)) TARGET void
row_products(const int rows, const double *x, const float *weight, size_t outs, size_t dim,
			 double *out, size_t stride)
{
	size_t o = 0;

	for (; o + BLOCK_OUTS <= outs; o += BLOCK_OUTS)
		block_products(rows, BLOCK_OUTS, x, weight + o * dim, dim, out + o, stride);
	for (; o < outs; o++)
		block_products(rows, 1, x, weight + o * dim, dim, out + o, stride);
}

/* stk_reference.products */
TARGET static void
products(const double *x, size_t n, const float *weight, size_t outs, size_t dim, double *out,
		 size_t stride)
{
	size_t wide = stk_wide_dim(dim);
	size_t r = 0;

	for (; r + BLOCK_ROWS <= n; r += BLOCK_ROWS)
		row_products(BLOCK_ROWS, x + r * wide, weight, outs, dim, out + r * stride, stride);
	for (; r < n; r++)
		row_products(1, x + r * wide, weight, outs, dim, out + r * stride, stride);
}
