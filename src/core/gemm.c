#include "gemm.h"

#include <string.h>

#include "dense.h"

/* Terms of a block: a panel of b and a tile's rows of a stay in the nearest cache. */
#define BLOCK_TERMS 384
/* Rows of a task at most: its block of a stays in the second cache. */
#define TASK_ROWS 96
/* Tasks that each thread should get where rows allow it. */
#define TASKS_A_THREAD 2

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
	const stk_dense *tile;
	const stk_monitor *monitor;
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

/* Lay out lines that are fewer than a tile has: zeros stand for the others. */
static void
pack_edge(const float *from, size_t line, size_t term, size_t count, size_t width, size_t terms,
		  float *to)
{
	memset(to, 0, terms * width * sizeof(float));
	for (size_t i = 0; i < terms; i++)
		for (size_t j = 0; j < count; j++)
			to[i * width + j] = from[j * line + i * term];
}

static void
pack_task(void *arg, size_t index, int thread)
{
	const product *p = arg;
	size_t width = p->tile->columns;
	size_t first = index * width;
	const float *from = p->b.data + first * p->b.column + p->first * p->b.row;
	float *to = p->panels + index * p->terms * width;

	(void) thread;
	if (p->n - first < width)
		pack_edge(from, p->b.column, p->b.row, p->n - first, width, p->terms, to);
	else
		p->tile->pack_columns(from, p->b.column, p->b.row, p->terms, to);
}

/* A tile that c has only a part of. */
static void
multiply_edge(const product *p, const float *a, const float *b, size_t rows, size_t columns,
			  float *c)
{
	float whole[STK_DENSE_MAX_ROWS * STK_DENSE_MAX_COLUMNS];
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

	if (stk_should_stop(p->monitor))
	{
		if (p->first == 0)
			memset(p->c + begin * p->n, 0, m * p->n * sizeof(float));
		return;
	}
	for (size_t i = 0; i < m; i += height)
	{
		const float *from = p->a.data + (begin + i) * p->a.row + p->first * p->a.column;

		if (m - i < height)
			pack_edge(from, p->a.row, p->a.column, m - i, height, p->terms, block + i * p->terms);
		else
			p->tile->pack_rows(from, p->a.row, p->a.column, p->terms, block + i * p->terms);
	}
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
task_rows(const stk_dense *tile, const stk_exec *exec, size_t m)
{
	size_t rows = pieces(m, (size_t) stk_threads(exec->pool) * TASKS_A_THREAD);

	return pieces(smaller(rows, TASK_ROWS), tile->rows) * tile->rows;
}

size_t
stk_gemm_scratch(int threads, size_t m, size_t n, size_t k)
{
	size_t terms = smaller(k, BLOCK_TERMS);
	size_t rows = smaller(m, TASK_ROWS) + STK_DENSE_MAX_ROWS;

	return terms * (n + STK_DENSE_MAX_COLUMNS) + (size_t) threads * rows * BLOCK_TERMS;
}

void
stk_gemm(const stk_exec *exec, float *scratch, stk_matrix a, stk_matrix b, float *c, size_t m,
		 size_t n, size_t k)
{
	product p = {.tile = stk_dense_of(exec->cpu),
				 .monitor = exec->monitor,
				 .a = a,
				 .b = b,
				 .c = c,
				 .m = m,
				 .n = n};
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
