/*
 * Encoding text embeddings on each of the processor's vector units: batches of rows, and rows one
 * at a time as a backend does.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bench.h"
#include "common/data.h"
#include "common/train.h"
#include "core/rq.h"

#define LEVELS 3
#define CODES 256
#define EPOCHS 10
#define TIMES 7
/* Rows encoded one at a time. */
#define SINGLES 1000

typedef struct problem
{
	bench_rows rows;
	const stk_exec *exec;
	stk_rq *rq;
	uint16_t *codes; /* [n][LEVELS] */
} problem;

static void
encode_all(void *arg)
{
	problem *p = arg;
	stk_error err = {0};

	bench_check("encoding",
				stk_rq_encode(p->rq, p->exec, p->rows.x, p->rows.n, 1, p->codes, NULL, &err), &err);
}

static void
encode_singly(void *arg)
{
	problem *p = arg;
	stk_error err = {0};

	for (size_t i = 0; i < SINGLES; i++)
		bench_check("encoding",
					stk_rq_encode(p->rq, p->exec, p->rows.x + i * p->rows.dim, 1, 1,
								  p->codes + i * LEVELS, NULL, &err),
					&err);
}

int
main(void)
{
	static const struct
	{
		const char *name;
		stk_simd simd;
		stk_filter filter;
	} paths[] = {
		{"avx512, bf16 filter", STK_SIMD_AVX512, STK_FILTER_BFLOAT16},
		{"avx512, fp32 filter", STK_SIMD_AVX512, STK_FILTER_BINARY32},
		{"avx2, fp32 filter", STK_SIMD_AVX2, STK_FILTER_BINARY32},
		{"neon, fp32 filter", STK_SIMD_NEON, STK_FILTER_BINARY32},
		{"scalar, fp32 filter", STK_SIMD_SCALAR, STK_FILTER_BINARY32},
		{"scalar, no filter", STK_SIMD_SCALAR, STK_FILTER_NONE},
	};
	problem p = {.rows = bench_rows_load("beauty", SIZE_MAX)};
	bench_codebook cb = bench_codebook_new(LEVELS, CODES, p.rows.dim);
	stk_codebook view = bench_codebook_view(&cb);
	stk_rqkmeans_options opt = bench_options(&cb, EPOCHS, STK_INIT_RANDOM, 1);
	float *copy = bench_copy(p.rows.x, p.rows.n * p.rows.dim);
	uint16_t *expected = NULL;
	bool same = true;
	bench_exec e;

	printf("Encoding on each vector unit, %d levels of %d: shortest of %d\n\n", LEVELS, CODES,
		   TIMES);
	bench_exec_start(&e, STK_SIMD_AUTO, BENCH_THREADS);
	bench_train(&e.exec, &opt, copy, p.rows.n, &cb);
	bench_exec_stop(&e);
	printf("%s, %zu x %zu; batches on %d threads, rows one at a time on one\n", p.rows.name,
		   p.rows.n, p.rows.dim, BENCH_THREADS);
	printf("%-22s %10s %12s %12s\n", "semtok.simd", "batch ms", "rows/s", "one row us");
	p.codes = bench_alloc(p.rows.n * LEVELS, sizeof(uint16_t));
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
	{
		stk_error err = {0};
		stk_exec alone;
		bench_time batch, single;

		if (!bench_exec_start(&e, paths[i].simd, BENCH_THREADS))
		{
			printf("%-22s %10s\n", paths[i].name, "not here");
			continue;
		}
		alone = e.exec;
		alone.pool = NULL;
		bench_check("codebook", stk_rq_create(&view, &e.exec, paths[i].filter, &p.rq, &err), &err);
		p.exec = &e.exec;
		batch = bench_measure(TIMES, encode_all, &p);
		if (!expected)
		{
			expected = bench_alloc(p.rows.n * LEVELS, sizeof(uint16_t));
			memcpy(expected, p.codes, p.rows.n * LEVELS * sizeof(uint16_t));
		}
		same &= memcmp(expected, p.codes, p.rows.n * LEVELS * sizeof(uint16_t)) == 0;
		p.exec = &alone;
		single = bench_measure(TIMES, encode_singly, &p);
		same &= memcmp(expected, p.codes, p.rows.n * LEVELS * sizeof(uint16_t)) == 0;
		printf("%-22s %10.1f %12.0f %12.2f\n", paths[i].name, batch.shortest * 1e3,
			   (double) p.rows.n / batch.shortest, single.shortest / SINGLES * 1e6);
		stk_rq_free(p.rq);
		bench_exec_stop(&e);
	}
	printf("\n");
	bench_goal(same, "every path gives the same codes", "%s", same ? "they do" : "they do not");
	bench_rows_free(&p.rows);
	bench_codebook_free(&cb);
	free(copy);
	free(expected);
	free(p.codes);
	return 0;
}
