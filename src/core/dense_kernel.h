/*
 * Private to the files of stk_dense: all of it, for a vector unit that defines
 *
 *    TARGET                the attribute of functions that use it
 *    VECTOR, LANES         a register of binary32
 *    LOAD, STORE, SPREAD   at an address; one number to all lanes
 *    PLUS MINUS TIMES OVER ROOT    lane by lane, rounded
 *    MULTIPLY_ADD(a, b, c) a b + c, rounded once
 *    WHERE_ABOVE(y, x)     x where y > 0, else +0
 *    ROWS                  of a tile, which has two registers' columns
 *    TABLE                 the name of the table
 */
#include <string.h>

#define COLUMNS (2 * LANES)
#define INLINE __attribute__((always_inline)) TARGET static inline

/* width is a constant. */
INLINE void
pack(const size_t width, const float *from, size_t line, size_t term, size_t terms, float *to)
{
	size_t i = 0;

	if (line == 1)
	{
		for (; i < terms; i++)
			memcpy(to + i * width, from + i * term, width * sizeof(float));
		return;
	}
	/* Eight terms at a time: what the cache fetches of a line is used at once. */
	for (; i + 8 <= terms; i += 8)
		for (size_t j = 0; j < width; j++)
			for (size_t t = 0; t < 8; t++)
				to[(i + t) * width + j] = from[j * line + i + t];
	for (; i < terms; i++)
		for (size_t j = 0; j < width; j++)
			to[i * width + j] = from[j * line + i];
}

TARGET static void
pack_rows(const float *from, size_t line, size_t term, size_t terms, float *to)
{
	pack(ROWS, from, line, term, terms, to);
}

TARGET static void
pack_columns(const float *from, size_t line, size_t term, size_t terms, float *to)
{
	pack(COLUMNS, from, line, term, terms, to);
}

TARGET static void
multiply(const float *a, const float *b, size_t k, float *c, size_t stride, bool fresh)
{
	const float zero = 0;
	VECTOR low[ROWS], high[ROWS];

#pragma GCC unroll 16
	for (int r = 0; r < ROWS; r++)
	{
		low[r] = fresh ? SPREAD(&zero) : LOAD(c + (size_t) r * stride);
		high[r] = fresh ? SPREAD(&zero) : LOAD(c + (size_t) r * stride + LANES);
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

/*
 * What is left behind the last whole register goes through one of its own: `some` numbers to and
 * from a register's worth of memory.
 */
#define WHOLE(n) ((n) / LANES * LANES)

INLINE VECTOR
load_some(const float *from, size_t some)
{
	float spare[LANES] = {0};

	memcpy(spare, from, some * sizeof(float));
	return LOAD(spare);
}

INLINE void
store_some(float *to, VECTOR v, size_t some)
{
	float spare[LANES];

	STORE(spare, v);
	memcpy(to, spare, some * sizeof(float));
}

INLINE VECTOR
add_relu(VECTOR y, VECTOR bias)
{
	VECTOR sum = PLUS(y, bias);

	return WHERE_ABOVE(sum, sum);
}

TARGET static void
bias_relu(float *y, const float *bias, size_t n)
{
	size_t i = 0;

	for (; i < WHOLE(n); i += LANES)
		STORE(y + i, add_relu(LOAD(y + i), LOAD(bias + i)));
	if (i < n)
		store_some(y + i, add_relu(load_some(y + i, n - i), load_some(bias + i, n - i)), n - i);
}

TARGET static void
relu_slope(float *g, const float *y, size_t n)
{
	size_t i = 0;

	for (; i < WHOLE(n); i += LANES)
		STORE(g + i, WHERE_ABOVE(LOAD(y + i), LOAD(g + i)));
	if (i < n)
		store_some(g + i, WHERE_ABOVE(load_some(y + i, n - i), load_some(g + i, n - i)), n - i);
}

TARGET static void
add(float *y, const float *x, size_t n)
{
	size_t i = 0;

	for (; i < WHOLE(n); i += LANES)
		STORE(y + i, PLUS(LOAD(y + i), LOAD(x + i)));
	if (i < n)
		store_some(y + i, PLUS(load_some(y + i, n - i), load_some(x + i, n - i)), n - i);
}

TARGET static void
scale(float *y, const float *x, float factor, size_t n)
{
	VECTOR all = SPREAD(&factor);
	size_t i = 0;

	for (; i < WHOLE(n); i += LANES)
		STORE(y + i, TIMES(all, LOAD(x + i)));
	if (i < n)
		store_some(y + i, TIMES(all, load_some(x + i, n - i)), n - i);
}

INLINE VECTOR
nearer(VECTOR a, VECTOR p, VECTOR take)
{
	return PLUS(a, TIMES(take, MINUS(p, a)));
}

TARGET static void
approach(float *a, const float *p, float take, size_t n)
{
	VECTOR all = SPREAD(&take);
	size_t i = 0;

	for (; i < WHOLE(n); i += LANES)
		STORE(a + i, nearer(LOAD(a + i), LOAD(p + i), all));
	if (i < n)
		store_some(a + i, nearer(load_some(a + i, n - i), load_some(p + i, n - i), all), n - i);
}

INLINE void
adamw_some(const stk_adamw *w, const float *gradients, float *m, float *v, float *p, size_t some)
{
	VECTOR g = TIMES(load_some(gradients, some), SPREAD(&w->cut));
	VECTOR first = load_some(m, some);
	VECTOR second = load_some(v, some);
	VECTOR down;

	first = PLUS(first, TIMES(SPREAD(&w->first), MINUS(g, first)));
	second = PLUS(TIMES(second, SPREAD(&w->second)), TIMES(TIMES(SPREAD(&w->fresh), g), g));
	down = PLUS(OVER(ROOT(second), SPREAD(&w->root)), SPREAD(&w->epsilon));
	down = TIMES(SPREAD(&w->rate), OVER(first, down));
	store_some(m, first, some);
	store_some(v, second, some);
	store_some(p, MINUS(TIMES(load_some(p, some), SPREAD(&w->decay)), down), some);
}

TARGET static void
adamw(const stk_adamw *w, const float *g, float *m, float *v, float *p, size_t n)
{
	size_t i = 0;

	for (; i < WHOLE(n); i += LANES)
		adamw_some(w, g + i, m + i, v + i, p + i, LANES);
	if (i < n)
		adamw_some(w, g + i, m + i, v + i, p + i, n - i);
}

const stk_dense TABLE = {.rows = ROWS,
						 .columns = COLUMNS,
						 .pack_rows = pack_rows,
						 .pack_columns = pack_columns,
						 .multiply = multiply,
						 .bias_relu = bias_relu,
						 .relu_slope = relu_slope,
						 .add = add,
						 .scale = scale,
						 .approach = approach,
						 .adamw = adamw};
