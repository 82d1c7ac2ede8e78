/*
 * How many rows the filters leave to the exact rule, per data set.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/bench.h"
#include "common/data.h"
#include "common/train.h"
#include "core/rq.h"

#define LEVELS 3
#define CODES 256
#define EPOCHS 10

typedef struct share
{
	double rows;   /* of 100 rows and levels, those re-scored */
	double codes;  /* codewords a re-scored row was left with */
	double proved; /* of 100, those that the filter could say nothing about */
} share;

/* Encode the rows by one filter; all levels together. */
static share
measure(const stk_exec *exec, const bench_codebook *cb, const bench_rows *rows, stk_filter filter)
{
	stk_codebook view = bench_codebook_view(cb);
	uint16_t *codes = bench_alloc(rows->n * LEVELS, sizeof(uint16_t));
	stk_nearest_stats stats = {0};
	stk_error err = {0};
	stk_rq *rq;

	bench_check("codebook", stk_rq_create(&view, exec, filter, &rq, &err), &err);
	bench_check("encoding", stk_rq_encode(rq, exec, rows->x, rows->n, 1, codes, &stats, &err),
				&err);
	stk_rq_free(rq);
	free(codes);
	return (share){100.0 * (double) (stats.undecided + stats.reference) / (double) stats.rows,
				   stats.undecided ? (double) stats.candidates / (double) stats.undecided : 0,
				   100.0 * (double) stats.reference / (double) stats.rows};
}

int
main(void)
{
	static const char *const names[] = {"sift5k", "glove50",  "wikilda8", "mnist",
										"beauty", "sasrec32", "normal"};
	bench_exec e;

	printf("Rows that needed the exact rule: greedy encoding, %d levels of %d\n\n", LEVELS, CODES);
	bench_exec_start(&e, STK_SIMD_AUTO, BENCH_THREADS);
	printf("%-22s %7s %5s   %11s %6s %8s   %11s %6s %8s\n", "", "rows", "dim", "fp32 filter",
		   "left", "unproved", "bf16 filter", "left", "unproved");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
	{
		bench_rows rows = bench_rows_load(names[i], 20000);
		bench_codebook cb = bench_codebook_new(LEVELS, CODES, rows.dim);
		stk_rqkmeans_options opt = bench_options(&cb, EPOCHS, STK_INIT_RANDOM, 1);
		float *copy = bench_copy(rows.x, rows.n * rows.dim);
		share fp32, bf16;

		bench_train(&e.exec, &opt, copy, rows.n, &cb);
		fp32 = measure(&e.exec, &cb, &rows, STK_FILTER_BINARY32);
		printf("%-22s %7zu %5zu   %9.3f %% %6.2f %6.3f %%", rows.name, rows.n, rows.dim, fp32.rows,
			   fp32.codes, fp32.proved);
		if (e.cpu.bfloat16)
		{
			bf16 = measure(&e.exec, &cb, &rows, STK_FILTER_BFLOAT16);
			printf("   %9.2f %% %6.2f %6.3f %%\n", bf16.rows, bf16.codes, bf16.proved);
		}
		else
			printf("   %11s\n", "-");
		bench_rows_free(&rows);
		bench_codebook_free(&cb);
		free(copy);
	}
	printf(
		"\nleft: codewords that such a row was left with, on average\n"
		"unproved: rows about which the filter could say nothing; all codewords were re-scored\n");
	bench_exec_stop(&e);
	return 0;
}
