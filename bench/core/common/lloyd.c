#include "lloyd.h"

#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "blas.h"

/* Rows of a task: with 512 codewords the scores of a tile fill a megabyte, about an L2 cache. */
#define TILE 512

typedef struct lloyd
{
	const bench_rows *rows;
	bench_codebook *cb;
	float *half;     /* [size] half squared norms of the codewords */
	float *products; /* rows x codewords, or a tile of them for each thread */
	bool tiled;
	uint16_t *codes;
	double *sums;   /* [threads][size][dim] */
	double *counts; /* [threads][size] */
} lloyd;

/* The row's codeword, given its products with all. */
static uint16_t
choose(const lloyd *l, const float *products)
{
	float best = l->half[0] - products[0];
	uint32_t code = 0;

	for (uint32_t k = 1; k < l->cb->size; k++)
	{
		float score = l->half[k] - products[k];

		code = score < best ? k : code;
		best = score < best ? score : best;
	}
	return (uint16_t) code;
}

static size_t
tile_rows(const lloyd *l, size_t index)
{
	size_t left = l->rows->n - index * TILE;

	return left < TILE ? left : TILE;
}

static void
choose_tile(void *arg, size_t index, int thread)
{
	lloyd *l = arg;
	size_t size = l->cb->size;
	size_t first = index * TILE;
	size_t n = tile_rows(l, index);
	float *products = l->products + (l->tiled ? (size_t) thread * TILE : first) * size;

	if (l->tiled)
		bench_sgemm(l->rows->x + first * l->rows->dim, l->cb->codewords, products, n, size,
					l->rows->dim);
	for (size_t i = 0; i < n; i++)
		l->codes[first + i] = choose(l, products + i * size);
}

/* Plain loops, as a compiler leaves them: one sum, in order. */
static void
loop_tile(void *arg, size_t index, int thread)
{
	lloyd *l = arg;
	size_t dim = l->rows->dim;
	size_t first = index * TILE;
	size_t n = tile_rows(l, index);

	(void) thread;
	for (size_t i = first; i < first + n; i++)
	{
		const float *x = l->rows->x + i * dim;
		float best = 0;

		for (uint32_t k = 0; k < l->cb->size; k++)
		{
			const float *c = l->cb->codewords + k * dim;
			float score = l->half[k];

			for (size_t j = 0; j < dim; j++)
				score -= x[j] * c[j];
			if (k == 0 || score < best)
			{
				best = score;
				l->codes[i] = (uint16_t) k;
			}
		}
	}
}

static void
sum_tile(void *arg, size_t index, int thread)
{
	lloyd *l = arg;
	size_t dim = l->rows->dim;
	size_t first = index * TILE;
	size_t n = tile_rows(l, index);
	double *sums = l->sums + (size_t) thread * l->cb->size * dim;
	double *counts = l->counts + (size_t) thread * l->cb->size;

	for (size_t i = first; i < first + n; i++)
	{
		double *sum = sums + l->codes[i] * dim;

		counts[l->codes[i]]++;
		for (size_t j = 0; j < dim; j++)
			sum[j] += (double) l->rows->x[i * dim + j];
	}
}

static void
update(lloyd *l, const stk_pool *pool, size_t tiles)
{
	size_t threads = (size_t) stk_threads(pool);
	size_t size = l->cb->size;
	size_t dim = l->cb->dim;

	memset(l->sums, 0, threads * size * dim * sizeof(double));
	memset(l->counts, 0, threads * size * sizeof(double));
	stk_run(pool, sum_tile, l, tiles);
	for (size_t k = 0; k < size; k++)
	{
		double count = 0;

		for (size_t t = 0; t < threads; t++)
			count += l->counts[t * size + k];
		for (size_t j = 0; j < dim && count > 0; j++)
		{
			double sum = 0;

			for (size_t t = 0; t < threads; t++)
				sum += l->sums[(t * size + k) * dim + j];
			l->cb->codewords[k * dim + j] = (float) (sum / count);
		}
	}
}

static void
assign(lloyd *l, bench_way way, const stk_pool *pool, size_t tiles)
{
	size_t dim = l->cb->dim;

	for (uint32_t k = 0; k < l->cb->size; k++)
	{
		l->half[k] = 0;
		for (size_t j = 0; j < dim; j++)
			l->half[k] += 0.5f * l->cb->codewords[k * dim + j] * l->cb->codewords[k * dim + j];
	}
	if (way == BENCH_PRODUCT)
		bench_sgemm(l->rows->x, l->cb->codewords, l->products, l->rows->n, l->cb->size, dim);
	stk_run(pool, way == BENCH_LOOPS ? loop_tile : choose_tile, l, tiles);
}

void
bench_lloyd(bench_way way, const bench_rows *rows, int epochs, const stk_pool *pool,
			bench_codebook *cb)
{
	size_t threads = (size_t) stk_threads(pool);
	size_t tiles = (rows->n + TILE - 1) / TILE;
	size_t scored = way == BENCH_PRODUCT ? rows->n : threads * TILE;
	lloyd l = {.rows = rows, .cb = cb, .tiled = way == BENCH_TILES};

	l.half = bench_alloc(cb->size, sizeof(float));
	l.products = way == BENCH_LOOPS ? NULL : bench_alloc(scored * cb->size, sizeof(float));
	l.codes = bench_alloc(rows->n, sizeof(uint16_t));
	l.sums = bench_alloc(threads * cb->size * cb->dim, sizeof(double));
	l.counts = bench_alloc(threads * cb->size, sizeof(double));
	if (way != BENCH_LOOPS)
		bench_blas_threads(way == BENCH_PRODUCT ? (int) threads : 1);
	for (int epoch = 0; epoch < epochs; epoch++)
	{
		assign(&l, way, pool, tiles);
		update(&l, pool, tiles);
	}
	free(l.half);
	free(l.products);
	free(l.codes);
	free(l.sums);
	free(l.counts);
}
