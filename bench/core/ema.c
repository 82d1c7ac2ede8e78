/*
 * One EMA update of a codebook: ours beside the five steps that it replaces, one-hot codes and
 * their product with the rows among them, in time and in memory.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bench.h"
#include "common/blas.h"
#include "common/data.h"
#include "core/ema.h"

#define ROWS 65536
#define DIM 64
#define DECAY 0.99
#define TIMES 15
/* Codes of a task of the plain product. */
#define TASK_CODES 64

/* A batch, and the codebook in both ways' form. */
typedef struct problem
{
	uint32_t size;
	float *x;        /* [ROWS][DIM] */
	uint16_t *codes; /* [ROWS] */
	const bench_exec *e;
	int threads; /* to start when there is no e */
	bool blas;   /* the five steps' product by OpenBLAS */

	float *ours; /* [size][DIM] codewords */
	stk_ema ema;

	float *codewords; /* [size][DIM] of the five steps, which are all in binary32 */
	float *counts;    /* [size] */
	float *sums;      /* [size][DIM] */
} problem;

static void
update_ours(void *arg)
{
	problem *p = arg;
	const stk_ema_rule rule = {.decay = DECAY};
	bench_exec own = {0};

	if (!p->e)
		bench_exec_start(&own, STK_SIMD_AUTO, p->threads);
	bench_check(
		"update",
		stk_ema_update(&p->ema, &rule, p->e ? &p->e->exec : &own.exec, p->x, ROWS, p->codes, NULL),
		NULL);
	bench_exec_stop(&own);
}

/* The five steps' matrices. */
typedef struct steps
{
	const problem *p;
	float *one_hot;     /* [ROWS][size]; [size][ROWS] for OpenBLAS */
	float *batch_sums;  /* [size][DIM] */
	float *batch_count; /* [size] */
} steps;

/* batch_count and batch_sums of some codes. */
static void
product_task(void *arg, size_t index, int thread)
{
	const steps *s = arg;
	uint32_t size = s->p->size;
	uint32_t first = (uint32_t) index * TASK_CODES;

	(void) thread;
	for (size_t i = 0; i < ROWS; i++)
	{
		const float *x = s->p->x + i * DIM;

		for (uint32_t k = first; k < first + TASK_CODES; k++)
		{
			float weight = s->one_hot[i * size + k];
			float *sum = s->batch_sums + (size_t) k * DIM;

			s->batch_count[k] += weight;
			for (size_t j = 0; j < DIM; j++)
				sum[j] += weight * x[j];
		}
	}
}

static void
product_by_loops(steps *s, const stk_pool *pool)
{
	uint32_t size = s->p->size;

	for (size_t i = 0; i < ROWS; i++)
		s->one_hot[i * size + s->p->codes[i]] = 1;
	memset(s->batch_sums, 0, size * DIM * sizeof(float));
	memset(s->batch_count, 0, size * sizeof(float));
	stk_run(pool, product_task, s, size / TASK_CODES);
}

static void
product_by_blas(steps *s)
{
	const problem *p = s->p;
	float *columns = bench_alloc((size_t) ROWS * DIM, sizeof(float));

	for (size_t i = 0; i < ROWS; i++)
	{
		s->one_hot[p->codes[i] * (size_t) ROWS + i] = 1;
		for (size_t j = 0; j < DIM; j++)
			columns[j * ROWS + i] = p->x[i * DIM + j];
	}
	for (uint32_t k = 0; k < p->size; k++)
	{
		s->batch_count[k] = 0;
		for (size_t i = 0; i < ROWS; i++)
			s->batch_count[k] += s->one_hot[k * (size_t) ROWS + i];
	}
	bench_sgemm(s->one_hot, columns, s->batch_sums, p->size, DIM, ROWS);
	free(columns);
}

static void
update_in_steps(void *arg)
{
	problem *p = arg;
	steps s = {.p = p};
	bench_exec own = {0};

	if (!p->e)
		bench_exec_start(&own, STK_SIMD_AUTO, p->threads);
	s.one_hot = bench_alloc((size_t) ROWS * p->size, sizeof(float));
	s.batch_sums = bench_alloc(p->size * DIM, sizeof(float));
	s.batch_count = bench_alloc(p->size, sizeof(float));
	memset(s.one_hot, 0, (size_t) ROWS * p->size * sizeof(float));
	if (p->blas)
		product_by_blas(&s);
	else
		product_by_loops(&s, p->e ? p->e->exec.pool : own.exec.pool);
	for (uint32_t k = 0; k < p->size; k++)
	{
		if (s.batch_count[k] == 0)
			continue;
		p->counts[k] = (float) DECAY * p->counts[k] + (float) (1 - DECAY) * s.batch_count[k];
		for (size_t j = k * DIM; j < (k + 1) * DIM; j++)
		{
			p->sums[j] = (float) DECAY * p->sums[j] + (float) (1 - DECAY) * s.batch_sums[j];
			p->codewords[j] = p->sums[j] / fmaxf(p->counts[k], 1e-5f);
		}
	}
	free(s.batch_count);
	free(s.batch_sums);
	free(s.one_hot);
	bench_exec_stop(&own);
}

/* kB that this machine can give; INFINITY where it does not tell. */
static double
memory_available(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	char line[256];
	double kb = INFINITY;

	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "MemAvailable: %lf", &kb);
	if (file)
		fclose(file);
	return kb;
}

/* The largest difference between the two ways' codewords. */
static double
difference(const problem *p)
{
	double most = 0;

	for (size_t i = 0; i < p->size * DIM; i++)
		most = fmax(most, fabs((double) p->ours[i] - p->codewords[i]));
	return most;
}

/* Time one way, and its memory in a process of its own; the shortest time is returned. */
static double
measure(problem *p, const char *name, int threads, int times, void (*update)(void *arg))
{
	bench_exec e;
	bench_time time;
	double kb;

	p->threads = threads;
	p->e = NULL;
	kb = bench_memory(update, p);
	bench_exec_start(&e, STK_SIMD_AUTO, threads);
	p->e = &e;
	time = bench_measure(times, update, p);
	bench_exec_stop(&e);
	printf("%-36s %9.2f %9.2f %9.1f\n", name, time.shortest * 1e3, time.median * 1e3, kb / 1024);
	return time.shortest;
}

static void
measure_all(problem *p)
{
	double needed = 1.1 * ROWS * (double) p->size * sizeof(float) / 1024;
	double steps = INFINITY;
	double ours;

	printf("%d rows of %d dimensions, %u codewords\n", ROWS, DIM, (unsigned) p->size);
	printf("%-36s %9s %9s %9s\n", "", "ms", "median", "MB");
	measure(p, "ours, one thread", 1, TIMES, update_ours);
	ours = measure(p, "ours", BENCH_THREADS, TIMES, update_ours);
	if (memory_available() < needed)
	{
		printf("five steps: no memory for a one-hot matrix of %.0f MB\n\n", needed / 1024);
		return;
	}
	p->blas = false;
	steps = measure(p, "five steps, plain loops", BENCH_THREADS, 1, update_in_steps);
	if (bench_blas())
	{
		double product;

		bench_blas_threads(BENCH_THREADS);
		p->blas = true;
		product = measure(p, "five steps, OpenBLAS", BENCH_THREADS, 3, update_in_steps);
		steps = product < steps ? product : steps;
	}
	printf(
		"ours is %.0f times faster than the better of them; the same batch again and again gives\n"
		"codewords within %.1g of theirs, which are in binary32 throughout\n\n",
		steps / ours, difference(p));
}

static void
run_problem(uint32_t size)
{
	problem p = {.size = size};
	stk_error err = {.message = ""};

	p.x = bench_alloc((size_t) ROWS * DIM, sizeof(float));
	p.codes = bench_alloc(ROWS, sizeof(uint16_t));
	p.ours = bench_alloc(size * DIM, sizeof(float));
	p.codewords = bench_alloc(size * DIM, sizeof(float));
	p.sums = bench_alloc(size * DIM, sizeof(float));
	p.counts = bench_alloc(size, sizeof(float));
	bench_fill_normal(p.x, (size_t) ROWS * DIM, size);
	for (size_t i = 0; i < ROWS; i++)
		p.codes[i] = (uint16_t) stk_below(stk_random(size, STK_RANDOM_INIT, 0, 0, i), size);
	memset(p.ours, 0, size * DIM * sizeof(float));
	memset(p.codewords, 0, size * DIM * sizeof(float));
	memset(p.sums, 0, size * DIM * sizeof(float));
	memset(p.counts, 0, size * sizeof(float));
	bench_check("codebook", stk_ema_init(&p.ema, &stk_malloc, size, DIM, p.ours, &err), &err);
	measure_all(&p);
	stk_ema_free(&p.ema);
	free(p.counts);
	free(p.sums);
	free(p.codewords);
	free(p.ours);
	free(p.codes);
	free(p.x);
}

int
main(void)
{
	printf("One EMA update of a codebook, %d threads; MB beside the codebook and the batch\n\n",
		   BENCH_THREADS);
	run_problem(4096);
	run_problem(256);
	return 0;
}
