#include "gemm.h"

#include <math.h>
#include <string.h>

/* Terms of a block: a panel of b and a tile's rows of a stay in the nearest cache. */
#define BLOCK_TERMS 384
/* Rows of a task at most: its block of a stays in the second cache. */
#define TASK_ROWS 96
/* Tasks that each thread should get where rows allow it. */
#define TASKS_A_THREAD 2

/* Portable C: the one tile that does without vectors. */
static void
multiply_scalar(const float *a, const float *b, size_t k, float *c, size_t stride, bool fresh)
{
	for (size_t r = 0; r < 4; r++)
	{
		for (size_t j = 0; j < 4; j++)
		{
			float sum = fresh ? 0 : c[r * stride + j];

			for (size_t i = 0; i < k; i++)
				sum = fmaf(a[i * 4 + r], b[i * 4 + j], sum);
			c[r * stride + j] = sum;
		}
	}
}

static const stk_gemm_tile tile_scalar = {4, 4, multiply_scalar};

static const stk_gemm_tile *
tile_of(const stk_cpu *cpu)
{
	switch (cpu->simd)
	{
#if defined(__x86_64__)
		case STK_SIMD_AVX512:
			return &stk_gemm_tile_avx512;
		case STK_SIMD_AVX2:
			return &stk_gemm_tile_avx2;
#elif defined(__aarch64__)
		case STK_SIMD_NEON:
			return &stk_gemm_tile_neon;
#endif
		default:
			return &tile_scalar;
	}
}

static size_t
smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t
pieces(size_t n, size_t piece)
{
	return (n + piece - 1) / piece;
}

/* One block of terms of a product, shared by its tasks. */
typedef struct product
{
	const stk_gemm_tile *tile;
	stk_matrix a;
	stk_matrix b;
	float *c;
	size_t m;
	size_t n;
	size_t first; /* term .. first + terms - 1 */
	size_t terms;
	size_t rows;   /* of a task */
	float *panels; /* b, packed: [panels][terms][columns] */
	float *blocks; /* [threads][rows / tile's][BLOCK_TERMS][tile's rows] */
} product;

/*
 * Lay out `count` of the lines of a matrix side by side: to[i][j] = from[j * line + i * term], for
 * the lines beyond count zeros.
 */
static void
pack(const float *from, size_t line, size_t term, size_t count, size_t width, size_t terms,
	 float *to)
{
	if (count < width)
		memset(to, 0, terms * width * sizeof(float));
	if (line == 1)
	{
		for (size_t i = 0; i < terms; i++)
			memcpy(to + i * width, from + i * term, count * sizeof(float));
		return;
	}
	/* Four terms at a time: every line of the cache that is touched is used at once. */
	for (size_t i = 0; i < terms; i += 4)
	{
		size_t some = smaller(4, terms - i);

		for (size_t j = 0; j < count; j++)
		{
			const float *at = from + j * line + i * term;

			for (size_t t = 0; t < some; t++)
				to[(i + t) * width + j] = at[t * term];
		}
	}
}

static void
pack_task(void *arg, size_t index, int thread)
{
	const product *p = arg;
	size_t width = p->tile->columns;
	size_t first = index * width;

	(void) thread;
	pack(p->b.data + first * p->b.column + p->first * p->b.row, p->b.column, p->b.row,
		 smaller(width, p->n - first), width, p->terms, p->panels + index * p->terms * width);
}

/* A tile that c has only a part of. */
static void
multiply_edge(const product *p, const float *a, const float *b, size_t rows, size_t columns,
			  float *c)
{
	float whole[STK_GEMM_MAX_ROWS * STK_GEMM_MAX_COLUMNS];
	size_t stride = p->tile->columns;

	for (size_t r = 0; r < rows && p->first > 0; r++)
		memcpy(whole + r * stride, c + r * p->n, columns * sizeof(float));
	for (size_t r = 0; r < p->tile->rows && p->first > 0; r++)
	{
		size_t have = r < rows ? columns : 0;

		memset(whole + r * stride + have, 0, (stride - have) * sizeof(float));
	}
	p->tile->multiply(a, b, p->terms, whole, stride, p->first == 0);
	for (size_t r = 0; r < rows; r++)
		memcpy(c + r * p->n, whole + r * stride, columns * sizeof(float));
}

static void
multiply_task(void *arg, size_t index, int thread)
{
	const product *p = arg;
	size_t height = p->tile->rows;
	size_t width = p->tile->columns;
	size_t begin = index * p->rows;
	size_t m = smaller(p->rows, p->m - begin);
	float *block = p->blocks + (size_t) thread * p->rows * BLOCK_TERMS;

	for (size_t i = 0; i < m; i += height)
		pack(p->a.data + (begin + i) * p->a.row + p->first * p->a.column, p->a.row, p->a.column,
			 smaller(height, m - i), height, p->terms, block + i * p->terms);
	for (size_t j = 0; j < p->n; j += width)
	{
		const float *panel = p->panels + j * p->terms;

		for (size_t i = 0; i < m; i += height)
		{
			float *c = p->c + (begin + i) * p->n + j;

			if (m - i < height || p->n - j < width)
				multiply_edge(p, block + i * p->terms, panel, smaller(height, m - i),
							  smaller(width, p->n - j), c);
			else
				p->tile->multiply(block + i * p->terms, panel, p->terms, c, p->n, p->first == 0);
		}
	}
}

/* Rows of a task: whole tiles, and enough tasks for all threads. */
static size_t
task_rows(const stk_gemm_tile *tile, const stk_exec *exec, size_t m)
{
	size_t rows = pieces(m, (size_t) stk_threads(exec->pool) * TASKS_A_THREAD);

	return pieces(smaller(rows, TASK_ROWS), tile->rows) * tile->rows;
}

size_t
stk_gemm_scratch(int threads, size_t m, size_t n, size_t k)
{
	size_t terms = smaller(k, BLOCK_TERMS);
	size_t rows = smaller(m, TASK_ROWS) + STK_GEMM_MAX_ROWS;

	return terms * (n + STK_GEMM_MAX_COLUMNS) + (size_t) threads * rows * BLOCK_TERMS;
}

void
stk_gemm(const stk_exec *exec, float *scratch, stk_matrix a, stk_matrix b, float *c, size_t m,
		 size_t n, size_t k)
{
	product p = {.tile = tile_of(exec->cpu), .a = a, .b = b, .c = c, .m = m, .n = n};
	size_t panels = pieces(n, p.tile->columns);

	p.rows = task_rows(p.tile, exec, m);
	p.panels = scratch;
	p.blocks = scratch + smaller(k, BLOCK_TERMS) * panels * p.tile->columns;
	for (p.first = 0; p.first < k; p.first += p.terms)
	{
		p.terms = smaller(BLOCK_TERMS, k - p.first);
		stk_run(exec->pool, pack_task, &p, panels);
		stk_run(exec->pool, multiply_task, &p, pieces(m, p.rows));
	}
}
