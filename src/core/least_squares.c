#include "least_squares.h"

#include <math.h>
#include <string.h>

#include "member_sums.h"

/* Columns of the right-hand side that a task works on. */
#define COLUMNS 32
/* Rows of the factor that are finished together, and columns of it that a task works on. */
#define BLOCK 64
/* Rows of the rest that a task works on. */
#define STRIP 16
/* Rows between two looks at the monitor. */
#define PIECE 4096

/* What each vector unit does, number by number alike. */
typedef struct arithmetic
{
	/*
	 * a[r][j] -= f(r, 0) * b[0][j], then f(r, 1) * b[1][j], and so on up to count, each step
	 * rounded.
	 *
	 *   a  [rows][n]   rows stride apart; n a multiple of STRIP
	 *   f              f(r, k) = f[r * f_row + k * f_step]
	 *   b  [count][n]  rows b_stride apart
	 */
	void (*subtract)(double *a, size_t stride, size_t rows, size_t n, const double *f, size_t f_row,
					 size_t f_step, const double *b, size_t b_stride, size_t count);
	/*
	 * With e = x - c[0] - c[1] ... in COLUMNS columns, each step rounded: to[l] += e for all
	 * levels, squares += e * e.
	 */
	void (*add_residual)(const float *x, const float *const *c, int levels, double *const *to,
						 double *squares);
} arithmetic;

/* The same few lines for each width of vector; products in tiles of four rows by two vectors. */
#define DEFINE_ARITHMETIC(name, width, target)                                                     \
	typedef double name##_lanes __attribute__((vector_size(width * sizeof(double))));              \
	typedef float name##_narrow __attribute__((vector_size(width * sizeof(float))));               \
                                                                                                   \
	target __attribute__((always_inline)) static inline void name##_tile(                          \
		double *a, size_t stride, const int rows, const double *f, size_t f_row, size_t f_step,    \
		const double *b, size_t b_stride, size_t count)                                            \
	{                                                                                              \
		name##_lanes s[4], t[4], x, y;                                                             \
                                                                                                   \
		_Pragma("GCC unroll 4") for (int r = 0; r < rows; r++)                                     \
		{                                                                                          \
			memcpy(&s[r], a + r * stride, sizeof(x));                                              \
			memcpy(&t[r], a + r * stride + width, sizeof(x));                                      \
		}                                                                                          \
		for (size_t k = 0; k < count; k++, f += f_step, b += b_stride)                             \
		{                                                                                          \
			memcpy(&x, b, sizeof(x));                                                              \
			memcpy(&y, b + width, sizeof(y));                                                      \
			_Pragma("GCC unroll 4") for (int r = 0; r < rows; r++)                                 \
			{                                                                                      \
				s[r] -= f[r * f_row] * x;                                                          \
				t[r] -= f[r * f_row] * y;                                                          \
			}                                                                                      \
		}                                                                                          \
		_Pragma("GCC unroll 4") for (int r = 0; r < rows; r++)                                     \
		{                                                                                          \
			memcpy(a + r * stride, &s[r], sizeof(x));                                              \
			memcpy(a + r * stride + width, &t[r], sizeof(x));                                      \
		}                                                                                          \
	}                                                                                              \
                                                                                                   \
	target static void name##_subtract(double *a, size_t stride, size_t rows, size_t n,            \
									   const double *f, size_t f_row, size_t f_step,               \
									   const double *b, size_t b_stride, size_t count)             \
	{                                                                                              \
		size_t r = 0;                                                                              \
                                                                                                   \
		for (; r + 4 <= rows; r += 4)                                                              \
			for (size_t j = 0; j < n; j += 2 * width)                                              \
				name##_tile(a + r * stride + j, stride, 4, f + r * f_row, f_row, f_step, b + j,    \
							b_stride, count);                                                      \
		for (; r < rows; r++)                                                                      \
			for (size_t j = 0; j < n; j += 2 * width)                                              \
				name##_tile(a + r * stride + j, stride, 1, f + r * f_row, f_row, f_step, b + j,    \
							b_stride, count);                                                      \
	}                                                                                              \
                                                                                                   \
	target static void name##_add_residual(const float *x, const float *const *c, int levels,      \
										   double *const *to, double *squares)                     \
	{                                                                                              \
		for (int j = 0; j < COLUMNS; j += width)                                                   \
		{                                                                                          \
			name##_narrow narrow;                                                                  \
			name##_lanes e, sum;                                                                   \
                                                                                                   \
			memcpy(&narrow, x + j, sizeof(narrow));                                                \
			e = __builtin_convertvector(narrow, name##_lanes);                                     \
			for (int l = 0; l < levels; l++)                                                       \
			{                                                                                      \
				memcpy(&narrow, c[l] + j, sizeof(narrow));                                         \
				e -= __builtin_convertvector(narrow, name##_lanes);                                \
			}                                                                                      \
			for (int l = 0; l < levels; l++)                                                       \
			{                                                                                      \
				memcpy(&sum, to[l] + j, sizeof(sum));                                              \
				sum += e;                                                                          \
				memcpy(to[l] + j, &sum, sizeof(sum));                                              \
			}                                                                                      \
			memcpy(&sum, squares + j, sizeof(sum));                                                \
			sum += e * e;                                                                          \
			memcpy(squares + j, &sum, sizeof(sum));                                                \
		}                                                                                          \
	}                                                                                              \
                                                                                                   \
	static const arithmetic name = {name##_subtract, name##_add_residual};

#if defined(__x86_64__)
DEFINE_ARITHMETIC(avx512, 8, __attribute__((target("avx512f"))))
DEFINE_ARITHMETIC(avx2, 4, __attribute__((target("avx2"))))
#endif
DEFINE_ARITHMETIC(portable, 2, )

static const arithmetic *
choose_arithmetic(const stk_cpu *cpu)
{
#if defined(__x86_64__)
	if (cpu->simd == STK_SIMD_AVX512)
		return &avx512;
	if (cpu->simd == STK_SIMD_AVX2)
		return &avx2;
#endif
	(void) cpu;
	return &portable;
}

static size_t
round_up(size_t n, size_t to)
{
	return (n + to - 1) / to * to;
}

stk_status
stk_least_squares_init(stk_least_squares *ls, const stk_exec *exec, const stk_codebook *cb)
{
	const stk_allocator *a = &exec->a;

	memset(ls, 0, sizeof(*ls));
	ls->exec = exec;
	ls->levels = cb->levels;
	ls->dim = (size_t) cb->dim;
	for (int l = 0; l < cb->levels; l++)
	{
		ls->sizes[l] = cb->sizes[l];
		ls->first[l] = ls->total;
		ls->total += cb->sizes[l];
	}
	ls->width = round_up(ls->total, STRIP);
	ls->stride = round_up(ls->dim, COLUMNS);
	ls->normal = stk_alloc_array(a, ls->total, ls->width * sizeof(double));
	ls->right = stk_alloc_array(a, ls->total, ls->stride * sizeof(double));
	ls->blocks = stk_alloc_array(a, ls->stride / COLUMNS, sizeof(double));
	ls->squares = stk_alloc_array(a, ls->stride, sizeof(double));
	ls->stopped = stk_alloc_array(a, (size_t) stk_threads(exec->pool), sizeof(bool));
	if (ls->normal && ls->right && ls->blocks && ls->squares && ls->stopped)
		return STK_OK;
	stk_least_squares_free(ls);
	return STK_ENOMEM;
}

void
stk_least_squares_free(stk_least_squares *ls)
{
	stk_free(&ls->exec->a, ls->normal);
	stk_free(&ls->exec->a, ls->right);
	stk_free(&ls->exec->a, ls->blocks);
	stk_free(&ls->exec->a, ls->squares);
	stk_free(&ls->exec->a, ls->stopped);
}

/* A step of the computation, shared by its tasks. */
typedef struct step
{
	stk_least_squares *ls;
	const arithmetic *arithmetic;
	const float *x;
	size_t n;
	const uint16_t *codes;
	const float *codewords;
	size_t block; /* first row of the block being factored */
} step;

/* Ask the monitor; true from then on in this thread. */
static bool
stopped(const step *s, int thread)
{
	bool *stop = &s->ls->stopped[thread];

	*stop = *stop || stk_should_stop(s->ls->exec->monitor);
	return *stop;
}

static stk_status
run(step *s, stk_task task, size_t n)
{
	stk_least_squares *ls = s->ls;
	int threads = stk_threads(ls->exec->pool);
	bool stop = false;

	memset(ls->stopped, 0, (size_t) threads * sizeof(bool));
	stk_run(ls->exec->pool, task, s, n);
	for (int t = 0; t < threads; t++)
		stop |= ls->stopped[t];
	return stop ? STK_ECANCELED : STK_OK;
}

/*
 * One block of columns of the rows' residuals, added up by code in row order; their squares by
 * chunks of rows, then column by column.
 */
static void
residual_task(void *arg, size_t index, int thread)
{
	const step *s = arg;
	const stk_least_squares *ls = s->ls;
	size_t first = index * COLUMNS;
	size_t columns = ls->dim - first < COLUMNS ? ls->dim - first : COLUMNS;
	double squares[COLUMNS] = {0};
	double chunks[COLUMNS] = {0};
	float row[COLUMNS] = {0};
	float codewords[STK_MAX_LEVELS][COLUMNS] = {{0}};
	double sum = 0;

	for (size_t k = 0; k < ls->total; k++)
		memset(ls->right + k * ls->stride + first, 0, COLUMNS * sizeof(double));
	for (size_t i = 0; i < s->n; i++)
	{
		const uint16_t *codes = s->codes + i * (size_t) ls->levels;
		const float *x = s->x + i * ls->dim + first;
		const float *c[STK_MAX_LEVELS];
		double *to[STK_MAX_LEVELS];

		if (i % PIECE == 0 && stopped(s, thread))
			return;
		for (int l = 0; l < ls->levels; l++)
		{
			size_t k = ls->first[l] + codes[l];

			c[l] = s->codewords + k * ls->dim + first;
			to[l] = ls->right + k * ls->stride + first;
		}
		/* The last block may be short: whole ones are read where they are. */
		if (columns < COLUMNS)
		{
			x = memcpy(row, x, columns * sizeof(float));
			for (int l = 0; l < ls->levels; l++)
				c[l] = memcpy(codewords[l], c[l], columns * sizeof(float));
		}
		s->arithmetic->add_residual(x, c, ls->levels, to, squares);
		if ((i + 1) % STK_SUM_CHUNK == 0 || i + 1 == s->n)
		{
			for (size_t j = 0; j < COLUMNS; j++)
				chunks[j] += squares[j];
			memset(squares, 0, sizeof(squares));
		}
	}
	for (size_t j = 0; j < COLUMNS; j++)
		sum += chunks[j];
	ls->blocks[index] = sum;
}

/* Numbers [total] of 32 bits at the beginning of a row of ls->normal as doubles, zeros behind. */
static void
widen(const stk_least_squares *ls, double *row)
{
	const char *from = (const char *) row;

	memset((char *) row + ls->total * sizeof(uint32_t), 0,
		   ls->width * sizeof(double) - ls->total * sizeof(uint32_t));
	for (size_t k = ls->total; k-- > 0;)
	{
		uint32_t count;

		memcpy(&count, from + k * sizeof(count), sizeof(count));
		row[k] = count;
	}
}

/* stk_least_squares_residuals where the rows are attached; false: the processor has to. */
static bool
residuals_there(stk_least_squares *ls, const uint16_t *codes, const float *codewords,
				stk_status *status)
{
	stk_accelerator_normal run = {.codewords = codewords,
								  .codes = codes,
								  .levels = ls->levels,
								  .sizes = ls->sizes,
								  .right = ls->right,
								  .right_stride = ls->stride,
								  .pairs = (uint32_t *) ls->normal,
								  .pairs_stride = 2 * ls->width,
								  .squares = ls->squares};

	if (!ls->there || !stk_attached_normal(ls->there, &run, status))
		return false;
	if (*status != STK_OK)
		return true;
	for (size_t k = 0; k < ls->total; k++)
	{
		widen(ls, ls->normal + k * ls->width);
		memset(ls->right + k * ls->stride + ls->dim, 0, (ls->stride - ls->dim) * sizeof(double));
	}
	for (size_t first = 0; first < ls->stride; first += COLUMNS)
	{
		double sum = 0;

		for (size_t j = first; j < first + COLUMNS && j < ls->dim; j++)
			sum += ls->squares[j];
		ls->blocks[first / COLUMNS] = sum;
	}
	ls->counted = true;
	return true;
}

stk_status
stk_least_squares_residuals(stk_least_squares *ls, const float *x, size_t n, const uint16_t *codes,
							const float *codewords, double *error)
{
	step s = {.ls = ls,
			  .arithmetic = choose_arithmetic(ls->exec->cpu),
			  .x = x,
			  .n = n,
			  .codes = codes,
			  .codewords = codewords};
	size_t blocks = ls->stride / COLUMNS;
	stk_status status;

	ls->counted = false;
	if (!residuals_there(ls, codes, codewords, &status))
		status = run(&s, residual_task, blocks);
	*error = 0;
	for (size_t i = 0; i < blocks && status == STK_OK; i++)
		*error += ls->blocks[i];
	return status;
}

/* Count how often codes occur together, above the diagonal. */
static stk_status
count_pairs(stk_least_squares *ls, size_t n, const uint16_t *codes)
{
	for (size_t k = 0; k < ls->total; k++)
	{
		if (k % stk_rows_a_look(ls->width) == 0 && stk_should_stop(ls->exec->monitor))
			return STK_ECANCELED;
		memset(ls->normal + k * ls->width, 0, ls->width * sizeof(double));
	}
	for (size_t i = 0; i < n; i++, codes += ls->levels)
	{
		if (i % PIECE == 0 && stk_should_stop(ls->exec->monitor))
			return STK_ECANCELED;
		for (int l = 0; l < ls->levels; l++)
		{
			double *row = ls->normal + (ls->first[l] + codes[l]) * ls->width;

			for (int m = l; m < ls->levels; m++)
				row[ls->first[m] + codes[m]]++;
		}
	}
	return STK_OK;
}

/* Rows of the block being factored, less than BLOCK for the last. */
static size_t
block_rows(const step *s)
{
	size_t left = s->ls->total - s->block;

	return left < BLOCK ? left : BLOCK;
}

/* Finish row `row` of the block in columns [first, first + n), the diagonal's excepted. */
static void
finish_row(const step *s, size_t row, size_t first, size_t n)
{
	const stk_least_squares *ls = s->ls;
	double *top = ls->normal + s->block * ls->width;
	double *u = ls->normal + row * ls->width;

	s->arithmetic->subtract(u + first, ls->width, 1, n, top + row, 0, ls->width, top + first,
							ls->width, row - s->block);
}

static void
divide(double *a, size_t n, double by)
{
	for (size_t j = 0; j < n; j++)
		a[j] /= by;
}

/* The block's own columns. */
static stk_status
factor_diagonal(const step *s)
{
	stk_least_squares *ls = s->ls;
	size_t left = ls->width - s->block;
	size_t columns = left < BLOCK ? left : BLOCK;

	for (size_t row = s->block; row < s->block + block_rows(s); row++)
	{
		double *u = ls->normal + row * ls->width;
		double pivot;

		finish_row(s, row, s->block, columns);
		pivot = sqrt(u[row]);
		/* Written so that NaN says no. */
		if (!(pivot > 0))
			return STK_ERANGE;
		u[row] = pivot;
		divide(u + row + 1, s->block + columns - row - 1, pivot);
	}
	return STK_OK;
}

/* The block's rows in BLOCK columns to its right. */
static void
panel_task(void *arg, size_t index, int thread)
{
	const step *s = arg;
	stk_least_squares *ls = s->ls;
	size_t first = s->block + (index + 1) * BLOCK;
	size_t columns = ls->width - first < BLOCK ? ls->width - first : BLOCK;

	(void) thread;
	for (size_t row = s->block; row < s->block + BLOCK; row++)
	{
		double *u = ls->normal + row * ls->width;

		finish_row(s, row, first, columns);
		divide(u + first, columns, u[row]);
	}
}

/* Subtract the block from a strip of the rows below it, from the diagonal on. */
static void
update_task(void *arg, size_t index, int thread)
{
	const step *s = arg;
	stk_least_squares *ls = s->ls;
	const double *top = ls->normal + s->block * ls->width;
	size_t row = s->block + BLOCK + index * STRIP;
	size_t rows = ls->total - row < STRIP ? ls->total - row : STRIP;

	if (stopped(s, thread))
		return;
	s->arithmetic->subtract(ls->normal + row * ls->width + row, ls->width, rows, ls->width - row,
							top + row, 1, ls->width, top + row, ls->width, BLOCK);
}

/* Replace the upper triangle by U with U'U = it. */
static stk_status
factor(step *s)
{
	stk_least_squares *ls = s->ls;

	for (s->block = 0; s->block < ls->total; s->block += BLOCK)
	{
		stk_status status = factor_diagonal(s);
		size_t next = s->block + BLOCK;

		if (status != STK_OK || next >= ls->total)
			return status;
		status = run(s, panel_task, (ls->width - next + BLOCK - 1) / BLOCK);
		if (status == STK_OK)
			status = run(s, update_task, (ls->total - next + STRIP - 1) / STRIP);
		if (status != STK_OK)
			return status;
	}
	return STK_OK;
}

/* Solve U'U z = right in one block of columns: downwards, then upwards. */
static void
solve_task(void *arg, size_t index, int thread)
{
	const step *s = arg;
	stk_least_squares *ls = s->ls;
	const double *u = ls->normal;
	double *z = ls->right + index * COLUMNS;
	size_t width = ls->width;
	size_t stride = ls->stride;
	size_t end = 0;

	for (size_t first = 0; first < ls->total; first = end)
	{
		if (stopped(s, thread))
			return;
		end = first + BLOCK < ls->total ? first + BLOCK : ls->total;
		s->arithmetic->subtract(z + first * stride, stride, end - first, COLUMNS, u + first, 1,
								width, z, stride, first);
		for (size_t i = first; i < end; i++)
		{
			s->arithmetic->subtract(z + i * stride, stride, 1, COLUMNS, u + first * width + i, 0,
									width, z + first * stride, stride, i - first);
			divide(z + i * stride, COLUMNS, u[i * width + i]);
		}
	}
	for (size_t first = (ls->total - 1) / BLOCK * BLOCK;; first -= BLOCK)
	{
		if (stopped(s, thread))
			return;
		end = first + BLOCK < ls->total ? first + BLOCK : ls->total;
		s->arithmetic->subtract(z + first * stride, stride, end - first, COLUMNS,
								u + first * width + end, width, 1, z + end * stride, stride,
								ls->total - end);
		for (size_t i = end; i-- > first;)
		{
			s->arithmetic->subtract(z + i * stride, stride, 1, COLUMNS, u + i * width + i + 1, 0, 1,
									z + (i + 1) * stride, stride, end - i - 1);
			divide(z + i * stride, COLUMNS, u[i * width + i]);
		}
		if (first == 0)
			break;
	}
}

stk_status
stk_least_squares_solve(stk_least_squares *ls, size_t n, const uint16_t *codes, double ridge,
						float *codewords)
{
	step s = {.ls = ls, .arithmetic = choose_arithmetic(ls->exec->cpu)};
	stk_status status = ls->counted ? STK_OK : count_pairs(ls, n, codes);
	bool finite = true;

	for (size_t k = 0; k < ls->total && status == STK_OK; k++)
		ls->normal[k * ls->width + k] += ridge;
	/* What is there now becomes the factor. */
	ls->counted = false;
	if (status == STK_OK)
		status = factor(&s);
	if (status == STK_OK)
		status = run(&s, solve_task, ls->stride / COLUMNS);
	if (status != STK_OK)
		return status;
	for (size_t k = 0; k < ls->total; k++)
	{
		const double *change = ls->right + k * ls->stride;
		float *c = codewords + k * ls->dim;

		for (size_t i = 0; i < ls->dim; i++)
		{
			c[i] = (float) (c[i] + change[i]);
			finite &= isfinite(c[i]) != 0;
		}
	}
	return finite ? STK_OK : STK_ERANGE;
}
