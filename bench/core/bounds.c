/*
 * How many distances k-means' assignments need under the bounds that are known, per iteration:
 * what a skipped distance may cost to be skipped. Counted, not timed: all schemes reach the same
 * codes, so Lloyd's run is done once and each scheme's bounds follow it.
 *
 *   moved    what src/core/kmeans_reassign.c does: only centroids that moved are scored
 *   Hamerly  one upper and one lower bound a row (Hamerly 2010, "Making k-means even faster")
 *   Elkan    a lower bound for every row and centroid (Elkan 2003, "Using the triangle inequality
 *            to accelerate k-means"): rows x centroids numbers of memory
 *
 * Two times stand beside the counts: an assignment of all rows to all centroids, no bounds, and a
 * copy of Elkan's bounds, which moves the bytes that lowering them by the steps would move, before
 * any distance is computed.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/bench.h"
#include "common/data.h"
#include "core/nearest.h"

#define EPOCHS 25

typedef struct run
{
	const bench_rows *rows;
	size_t size;      /* centroids */
	double *c;        /* [dim][size] centroids, transposed */
	double *step;     /* [size] how far each moved in the last update */
	double *half;     /* [size] half the distance to the nearest other centroid */
	double *between;  /* [size][size] distances between centroids */
	double *distance; /* [size] of one row */
	uint32_t *code;   /* [n] */
	double *upper;    /* [n] Hamerly's */
	double *lower;    /* [n] Hamerly's */
	double *near;     /* [n] Elkan's upper bound */
	float *far;       /* [n][size] Elkan's lower bounds, rounded down */
	double *others;   /* [n] the least distance to a centroid other than the row's own */
} run;

/* Distances of x [dim] from all centroids. */
static void
measure(const run *r, const float *x, double *distance)
{
	memset(distance, 0, r->size * sizeof(double));
	for (size_t d = 0; d < r->rows->dim; d++)
	{
		const double *c = r->c + d * r->size;
		double value = x[d];

		for (size_t k = 0; k < r->size; k++)
			distance[k] += (value - c[k]) * (value - c[k]);
	}
	for (size_t k = 0; k < r->size; k++)
		distance[k] = sqrt(distance[k]);
}

/* Distances between centroids. */
static void
measure_centroids(run *r)
{
	float *x = bench_alloc(r->rows->dim, sizeof(float));

	for (size_t k = 0; k < r->size; k++)
	{
		for (size_t d = 0; d < r->rows->dim; d++)
			x[d] = (float) r->c[d * r->size + k];
		measure(r, x, r->between + k * r->size);
		r->half[k] = INFINITY;
		for (size_t j = 0; j < r->size; j++)
		{
			if (j != k)
				r->half[k] = fmin(r->half[k], 0.5 * r->between[k * r->size + j]);
		}
	}
	free(x);
}

/* New means of the rows of each code; those without rows rest. */
static void
update(run *r)
{
	size_t dim = r->rows->dim;
	double *sum = bench_alloc(r->size * dim, sizeof(double));
	double *count = bench_alloc(r->size, sizeof(double));

	memset(sum, 0, r->size * dim * sizeof(double));
	memset(count, 0, r->size * sizeof(double));
	for (size_t i = 0; i < r->rows->n; i++)
	{
		count[r->code[i]] += 1;
		for (size_t d = 0; d < dim; d++)
			sum[r->code[i] * dim + d] += r->rows->x[i * dim + d];
	}
	for (size_t k = 0; k < r->size; k++)
	{
		double step = 0;

		for (size_t d = 0; d < dim && count[k] > 0; d++)
		{
			double old = r->c[d * r->size + k];
			double mean = (float) (sum[k * dim + d] / count[k]);

			step += (mean - old) * (mean - old);
			r->c[d * r->size + k] = mean;
		}
		r->step[k] = sqrt(step);
	}
	free(sum);
	free(count);
}

/* Distances that one iteration's assignment needs. */
typedef struct need
{
	double moved;
	double hamerly;
	double elkan;
} need;

/* Hamerly: what row i costs, given its code before. */
static double
cost_hamerly(run *r, size_t i, uint32_t old, double largest, double second, size_t largest_at)
{
	double cost = 0;
	double bound;

	r->upper[i] += r->step[old];
	r->lower[i] -= old == largest_at ? second : largest;
	bound = fmax(r->half[old], r->lower[i]);
	if (r->upper[i] <= bound)
		return 0;
	r->upper[i] = r->distance[old];
	cost = 1;
	if (r->upper[i] <= bound)
		return cost;
	r->upper[i] = r->distance[r->code[i]];
	r->lower[i] = r->others[i];
	return (double) r->size;
}

/* Elkan: what row i costs. */
static double
cost_elkan(run *r, size_t i, uint32_t old)
{
	float *far = r->far + i * r->size;
	uint32_t code = old;
	bool exact = false;
	double cost = 0;

	for (size_t k = 0; k < r->size; k++)
		far[k] = nextafterf((float) (far[k] - r->step[k]), -INFINITY);
	r->near[i] += r->step[old];
	if (r->near[i] <= r->half[old])
		return 0;
	for (size_t k = 0; k < r->size; k++)
	{
		if (k == code || r->near[i] <= far[k] || r->near[i] <= 0.5 * r->between[code * r->size + k])
			continue;
		if (!exact)
		{
			r->near[i] = r->distance[code];
			far[code] = nextafterf((float) r->near[i], -INFINITY);
			exact = true;
			cost += 1;
			if (r->near[i] <= far[k] || r->near[i] <= 0.5 * r->between[code * r->size + k])
				continue;
		}
		cost += 1;
		far[k] = nextafterf((float) r->distance[k], -INFINITY);
		if (r->distance[k] < r->near[i])
		{
			code = (uint32_t) k;
			r->near[i] = r->distance[k];
		}
	}
	return cost;
}

/* kmeans_reassign.c: centroids that moved, and all others where that leaves a row open. */
static double
cost_moved(const run *r, uint32_t old, size_t moved, double others)
{
	double best = INFINITY;

	for (size_t k = 0; k < r->size; k++)
	{
		if (r->step[k] > 0)
			best = fmin(best, r->distance[k]);
	}
	if (r->step[old] > 0 && best > others)
		return (double) r->size;
	return (double) moved;
}

/* Assign all rows and count. */
static need
assign(run *r, bool first)
{
	need n = {0, 0, 0};
	double largest = 0, second = 0;
	size_t largest_at = 0, moved = 0;

	for (size_t k = 0; k < r->size && !first; k++)
	{
		moved += r->step[k] > 0;
		if (r->step[k] > largest)
		{
			second = largest;
			largest = r->step[k];
			largest_at = k;
		}
		else
			second = fmax(second, r->step[k]);
	}
	if (!first)
		measure_centroids(r);
	for (size_t i = 0; i < r->rows->n; i++)
	{
		uint32_t old = r->code[i];
		double known = r->others[i];
		size_t best = 0;

		measure(r, r->rows->x + i * r->rows->dim, r->distance);
		for (size_t k = 1; k < r->size; k++)
			best = r->distance[k] < r->distance[best] ? k : best;
		r->code[i] = (uint32_t) best;
		r->others[i] = INFINITY;
		for (size_t k = 0; k < r->size; k++)
			r->others[i] = k == best ? r->others[i] : fmin(r->others[i], r->distance[k]);
		if (first)
		{
			r->upper[i] = r->near[i] = r->distance[best];
			r->lower[i] = r->others[i];
			for (size_t k = 0; k < r->size; k++)
				r->far[i * r->size + k] = nextafterf((float) r->distance[k], -INFINITY);
			continue;
		}
		n.hamerly += cost_hamerly(r, i, old, largest, second, largest_at);
		n.elkan += cost_elkan(r, i, old);
		n.moved += cost_moved(r, old, moved, known);
	}
	return n;
}

/* What is timed. */
typedef struct timing
{
	const bench_exec *e;
	const run *r;
	stk_pack pack;
	uint16_t *codes;
	float *copy; /* [n][size] */
} timing;

static void
assign_all(void *arg)
{
	timing *t = arg;

	bench_check(
		"assignment",
		stk_nearest_rows(&t->e->exec, &t->pack, t->r->rows->x, t->r->rows->n, t->codes, NULL, NULL),
		NULL);
}

static void
copy_bounds(void *arg)
{
	timing *t = arg;

	memcpy(t->copy, t->r->far, t->r->rows->n * t->r->size * sizeof(float));
}

/* Milliseconds of both. */
static void
measure_times(const bench_exec *e, const run *r, double *assignment, double *bounds)
{
	size_t dim = r->rows->dim;
	float *codewords = bench_alloc(r->size * dim, sizeof(float));
	timing t = {.e = e,
				.r = r,
				.codes = bench_alloc(r->rows->n, sizeof(uint16_t)),
				.copy = bench_alloc(r->rows->n * r->size, sizeof(float))};

	for (size_t k = 0; k < r->size; k++)
	{
		for (size_t d = 0; d < dim; d++)
			codewords[k * dim + d] = (float) r->c[d * r->size + k];
	}
	bench_check(
		"pack",
		stk_pack_init(&t.pack, &e->exec, STK_FILTER_BEST, true, (uint32_t) r->size, dim, false),
		NULL);
	bench_check("packing", stk_pack_fill(&t.pack, codewords, NULL), NULL);
	*assignment = 1e3 * bench_measure(9, assign_all, &t).shortest;
	*bounds = 1e3 * bench_measure(9, copy_bounds, &t).shortest;
	stk_pack_free(&t.pack);
	free(t.codes);
	free(t.copy);
	free(codewords);
}

static void
show(const bench_exec *e, const char *name, size_t max, size_t size)
{
	double assignment, bounds;
	bench_rows rows = bench_rows_load(name, max);
	double all = (double) rows.n * (double) size;
	need sum = {0, 0, 0}, last = {0, 0, 0};
	run r = {
		.rows = &rows,
		.size = size,
		.c = bench_alloc(rows.dim * size, sizeof(double)),
		.step = bench_alloc(size, sizeof(double)),
		.half = bench_alloc(size, sizeof(double)),
		.between = bench_alloc(size * size, sizeof(double)),
		.distance = bench_alloc(size, sizeof(double)),
		.code = bench_alloc(rows.n, sizeof(uint32_t)),
		.upper = bench_alloc(rows.n, sizeof(double)),
		.lower = bench_alloc(rows.n, sizeof(double)),
		.near = bench_alloc(rows.n, sizeof(double)),
		.far = bench_alloc(rows.n * size, sizeof(float)),
		.others = bench_alloc(rows.n, sizeof(double)),
	};

	for (size_t k = 0; k < size; k++)
	{
		for (size_t d = 0; d < rows.dim; d++)
			r.c[d * size + k] = rows.x[(k * (rows.n / size)) * rows.dim + d];
	}
	memset(r.code, 0, rows.n * sizeof(uint32_t));
	assign(&r, true);
	for (int epoch = 2; epoch <= EPOCHS; epoch++)
	{
		update(&r);
		last = assign(&r, false);
		sum.moved += last.moved;
		sum.hamerly += last.hamerly;
		sum.elkan += last.elkan;
	}
	all *= 0.01 * (EPOCHS - 1);
	measure_times(e, &r, &assignment, &bounds);
	printf("%-20s %6zu %4zu %4zu  %6.1f %% %6.1f %% %6.1f %%  %6.1f %% %6.1f %% %6.1f %%  %7.2f "
		   "%7.2f\n",
		   rows.name, rows.n, rows.dim, size, sum.moved / all, sum.hamerly / all, sum.elkan / all,
		   last.moved / all * (EPOCHS - 1), last.hamerly / all * (EPOCHS - 1),
		   last.elkan / all * (EPOCHS - 1), assignment, bounds);
	fflush(stdout);
	for (void **p = (void *[]){r.c, r.step, r.half, r.between, r.distance, r.code, r.upper, r.lower,
							   r.near, r.far, r.others, NULL};
		 *p; p++)
		free(*p);
	bench_rows_free(&rows);
}

int
main(void)
{
	bench_exec e;

	printf("Distances that k-means needs under bounds, of all rows x centroids: iterations 2 to "
		   "%d\n\n",
		   EPOCHS);
	bench_exec_start(&e, STK_SIMD_AUTO, BENCH_THREADS);
	printf("%-20s %6s %4s %4s  %26s  %26s  %15s\n", "", "", "", "", "all iterations",
		   "the last iteration", "ms");
	printf("%-20s %6s %4s %4s  %8s %8s %8s  %8s %8s %8s  %7s %7s\n", "", "rows", "dim", "K",
		   "moved", "Hamerly", "Elkan", "moved", "Hamerly", "Elkan", "assign", "bounds");
	show(&e, "mnist128", 20000, 512);
	show(&e, "normal", 20000, 512);
	show(&e, "beauty", 12101, 256);
	show(&e, "sift5k", 5000, 256);
	show(&e, "sasrec32", 12101, 256);
	show(&e, "wikilda8", 10000, 256);
	printf("\nassign: all rows to all centroids without bounds, 2 threads\n"
		   "bounds: a copy of Elkan's bounds, 1 thread; the moved and Hamerly's need a number or "
		   "two a row\n");
	bench_exec_stop(&e);
	return 0;
}
