/*
 * Encoding text embeddings with a codebook of three levels of 256: greedily and with a beam of 5,
 * ours beside FAISS's ResidualQuantizer with the same codebook.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/bench.h"
#include "common/data.h"
#include "common/peak.h"
#include "common/rival.h"
#include "common/train.h"
#include "core/rq.h"

#define LEVELS 3
#define CODES 256
#define EPOCHS 10
#define TIMES 7

typedef struct problem
{
	bench_rows rows;
	bench_codebook cb;
	const stk_exec *exec;
	stk_rq *rq;
	int beam;
	uint16_t *codes; /* [n][LEVELS] */
} problem;

static void
encode(void *arg)
{
	problem *p = arg;
	stk_error err = {0};

	bench_check("encoding",
				stk_rq_encode(p->rq, p->exec, p->rows.x, p->rows.n, p->beam, p->codes, NULL, &err),
				&err);
}

static double
print_row(const char *name, const problem *p, bench_time took, double faiss)
{
	bench_quality q = bench_judge(p->exec, &p->cb, p->rows.x, p->rows.n, p->codes);

	printf("%4d  %-32s %8.1f %8.1f %9.0f", p->beam, name, took.shortest * 1e3, took.median * 1e3,
		   (double) p->rows.n / took.shortest);
	if (isfinite(faiss))
		printf(" %8.2f", faiss / took.shortest);
	else
		printf(" %8s", "-");
	printf(" %9.6f %8llu\n", q.error, (unsigned long long) q.ids);
	return q.error;
}

/* FAISS's way of its own choice, or by tables; the error, with its seconds. */
static double
run_faiss(problem *p, bool tables, double *seconds)
{
	bench_answer answer;
	bench_time took;

	bench_rival(&answer, "faiss_encode.py",
				"rows=%s codewords=%s codes=%s dim=%zu levels=%d bits=8 beam=%d tables=%d "
				"threads=%d times=%d",
				bench_file("rows"), bench_file("codewords"), bench_file("codes"), p->rows.dim,
				LEVELS, p->beam, tables, BENCH_THREADS, TIMES);
	bench_read(bench_file("codes"), p->codes, p->rows.n * LEVELS, sizeof(uint16_t));
	took = (bench_time){bench_value(&answer, "shortest"), bench_value(&answer, "median")};
	if (!tables)
		*seconds = took.shortest;
	return print_row(tables ? "FAISS, use_beam_LUT" : "FAISS ResidualQuantizer", p, took, *seconds);
}

static void
run_beam(problem *p, int beam, double fast, double slow)
{
	double faiss = NAN, faiss_error = NAN, error, began, tables;
	bench_time took;
	char what[96];

	p->beam = beam;
	if (bench_rivals())
	{
		faiss_error = run_faiss(p, false, &faiss);
		run_faiss(p, true, &faiss);
	}
	began = bench_now();
	if (beam > 1)
		bench_check("tables", stk_rq_prepare_beam(p->rq, p->exec), NULL);
	tables = bench_now() - began;
	took = bench_measure(TIMES, encode, p);
	took.shortest += tables;
	took.median += tables;
	error = print_row("ours", p, took, faiss);
	snprintf(what, sizeof(what), "beam %d: as fast as FAISS", beam);
	bench_goal_times(what, fast, slow, faiss / took.shortest);
	snprintf(what, sizeof(what), "beam %d: error no higher than FAISS's", beam);
	if (isnan(faiss_error))
		bench_goal_open(what, "the rival is not installed");
	else
		/* Where two codewords are as near to the last digit, FAISS may take either. */
		bench_goal(error <= faiss_error * (1 + 1e-6), what, "%.6f and %.6f", error, faiss_error);
	printf("\n");
}

int
main(void)
{
	problem p = {.rows = bench_rows_load("beauty", SIZE_MAX)};
	stk_rqkmeans_options opt;
	stk_codebook view;
	stk_error err = {0};
	bench_exec e;
	float *copy = bench_copy(p.rows.x, p.rows.n * p.rows.dim);

	printf("Encoding with one codebook of %d levels of %d, %d threads: shortest of %d\n\n", LEVELS,
		   CODES, BENCH_THREADS, TIMES);
	bench_exec_start(&e, STK_SIMD_AUTO, BENCH_THREADS);
	p.exec = &e.exec;
	p.cb = bench_codebook_new(LEVELS, CODES, p.rows.dim);
	p.codes = bench_alloc(p.rows.n * LEVELS, sizeof(uint16_t));
	opt = bench_options(&p.cb, EPOCHS, STK_INIT_KMEANSPP, 1);
	bench_train(&e.exec, &opt, copy, p.rows.n, &p.cb);
	view = bench_codebook_view(&p.cb);
	bench_check("codebook", stk_rq_create(&view, &e.exec, STK_FILTER_BEST, &p.rq, &err), &err);
	if (bench_rivals())
	{
		bench_write(bench_file("rows"), p.rows.x, p.rows.n * p.rows.dim, sizeof(float));
		bench_write(bench_file("codewords"), p.cb.codewords, bench_codebook_floats(&p.cb),
					sizeof(float));
	}
	printf("%s, %zu x %zu\n", p.rows.name, p.rows.n, p.rows.dim);
	printf("%4s  %-32s %8s %8s %9s %8s %9s %8s\n", "beam", "", "ms", "median", "rows/s", "x FAISS",
		   "error", "ids");
	run_beam(&p, 1, 6, 3);
	run_beam(&p, 5, 4, 3);
	printf("error: mean squared distance of a row from the sum of its codewords\n"
		   "x FAISS: its default way; use_beam_LUT takes inner products from tables, made "
		   "beforehand;\n"
		   "ours with a beam makes its tables once, in the time above\n");
	stk_rq_free(p.rq);
	bench_exec_stop(&e);
	bench_rows_free(&p.rows);
	bench_codebook_free(&p.cb);
	free(p.codes);
	free(copy);
	return 0;
}
