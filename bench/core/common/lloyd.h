/*
 * Lloyd's k-means as textbooks have it, in binary32, with three ways to assign rows: plain loops,
 * one matrix product of all rows with all codewords, and products of tiles of rows (as vectro
 * does). What ours is compared with, on the same threads.
 */
#ifndef BENCH_LLOYD_H
#define BENCH_LLOYD_H

#include "core/pool.h"
#include "data.h"
#include "train.h"

typedef enum bench_way
{
	BENCH_LOOPS,   /* no vector unit, no BLAS */
	BENCH_PRODUCT, /* one sgemm into a rows x codewords buffer; the BLAS has the threads */
	BENCH_TILES    /* a task of the pool takes a tile of rows through an sgemm of its own */
} bench_way;

/*
 * Train cb, one level, which comes in with the initial codewords. Empty codewords stay where they
 * are. BENCH_PRODUCT and BENCH_TILES need bench_blas().
 */
extern void bench_lloyd(bench_way way, const bench_rows *rows, int epochs, const stk_pool *pool,
						bench_codebook *cb);

#endif
