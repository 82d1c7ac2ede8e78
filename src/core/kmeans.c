#include "kmeans.h"

#include <math.h>
#include <string.h>

#include "dot.h"

/* Rows between two looks at the monitor. */
#define PIECE 1024

static void
half_norms(const float *codewords, uint32_t size, size_t dim, double *half)
{
	for (uint32_t k = 0; k < size; k++)
		half[k] = 0.5 * stk_dot(codewords + k * dim, codewords + k * dim, dim);
}

stk_status
stk_kmeans_work_init(stk_kmeans_work *w, size_t n, size_t dim, uint32_t size, const stk_exec *exec)
{
	const stk_allocator *a = &exec->a;

	w->exec = *exec;
	w->sum = stk_alloc_array(a, dim, sizeof(double));
	w->mean = stk_alloc_array(a, dim, sizeof(float));
	w->scores = stk_alloc_array(a, n, sizeof(double));
	if (stk_members_init(&w->members, a, n, size) == STK_OK && w->sum && w->mean && w->scores)
		return STK_OK;
	stk_kmeans_work_free(w);
	return STK_ENOMEM;
}

void
stk_kmeans_work_free(stk_kmeans_work *w)
{
	stk_free(&w->exec.a, w->sum);
	stk_free(&w->exec.a, w->mean);
	stk_free(&w->exec.a, w->scores);
	stk_members_free(&w->members, &w->exec.a);
}

/* |x - c|^2 from |x|^2 and s = |c|^2 / 2 - x.c; rounding may take it below 0. */
static double
squared_distance(double xx, double s)
{
	double d = xx + 2 * s;

	return d > 0 ? d : 0;
}

/* Is it time to look at the monitor, and does it say stop? */
static bool
stop_at(const stk_kmeans_work *w, size_t row)
{
	return row % PIECE == 0 && stk_should_stop(w->exec.monitor);
}

/*
 * Draw a row with probability proportional to its squared distance.
 *
 * The distances become integers by one power of two for all, such that n of them cannot pass
 * 2^62: their sum does not depend on any order.
 */
static size_t
draw_row(const double *distance, size_t n, uint64_t bits)
{
	double largest = 0;
	double scale;
	uint64_t total = 0;
	uint64_t target;
	int exponent;
	int count_bits = 0;

	for (size_t i = 0; i < n; i++)
	{
		if (distance[i] > largest)
			largest = distance[i];
	}
	if (largest == 0)
		return (size_t) stk_below(bits, n);

	for (size_t i = n; i > 0; i >>= 1)
		count_bits++;
	frexp(largest, &exponent);
	scale = ldexp(1, 62 - count_bits - exponent);
	for (size_t i = 0; i < n; i++)
		total += (uint64_t) (distance[i] * scale);
	target = stk_below(bits, total);
	for (size_t i = 0;; i++)
	{
		uint64_t share = (uint64_t) (distance[i] * scale);

		if (target < share)
			return i;
		target -= share;
	}
}

static stk_status
draw_centroids(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n, uint64_t seed,
			   int level, double *norm)
{
	size_t dim = km->dim;
	double *distance = w->scores;

	for (size_t i = 0; i < n; i++)
	{
		if (stop_at(w, i))
			return STK_ECANCELED;
		norm[i] = stk_dot(x + i * dim, x + i * dim, dim);
		distance[i] = 0;
	}
	for (uint32_t k = 0; k < km->size; k++)
	{
		float *c = km->centroids + k * dim;
		size_t row = draw_row(distance, n, stk_random(seed, STK_RANDOM_INIT, level, 0, k));
		double half = 0.5 * norm[row];

		memcpy(c, x + row * dim, dim * sizeof(float));
		for (size_t i = 0; i < n; i++)
		{
			double d;

			if (stop_at(w, i))
				return STK_ECANCELED;
			d = squared_distance(norm[i], half - stk_dot(x + i * dim, c, dim));
			if (k == 0 || d < distance[i])
				distance[i] = d;
		}
	}
	return STK_OK;
}

static stk_status
start_kmeanspp(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n, uint64_t seed,
			   int level)
{
	double *norm = stk_alloc_array(&w->exec.a, n, sizeof(double));
	stk_status status;

	if (!norm)
		return STK_ENOMEM;
	status = draw_centroids(km, w, x, n, seed, level, norm);
	stk_free(&w->exec.a, norm);
	return status;
}

static void
start_random(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n, uint64_t seed, int level)
{
	size_t dim = km->dim;
	size_t distinct = n < km->size ? n : km->size;

	stk_random_order(w->members.rows, n, distinct, seed, STK_RANDOM_INIT, level, 0);
	for (uint32_t k = 0; k < km->size; k++)
	{
		size_t row = w->members.rows[k % distinct];

		memcpy(km->centroids + k * dim, x + row * dim, dim * sizeof(float));
	}
}

stk_status
stk_kmeans_start(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n, stk_init init,
				 uint64_t seed, int level)
{
	stk_status status = STK_OK;

	if (init == STK_INIT_KMEANSPP)
		status = start_kmeanspp(km, w, x, n, seed, level);
	else
		start_random(km, w, x, n, seed, level);
	if (status != STK_OK)
		return status;
	half_norms(km->centroids, km->size, km->dim, km->half);
	for (uint32_t k = 0; k < km->size; k++)
		km->counts[k] = 0;
	return STK_OK;
}

stk_status
stk_kmeans_assign(const stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n,
				  uint16_t *codes, double *error)
{
	stk_pack p;
	stk_status status =
		stk_pack_init(&p, &w->exec, STK_FILTER_BEST, true, km->size, km->dim, km->inner_product);
	double sum = 0;

	if (status != STK_OK)
		return status;
	stk_pack_fill(&p, km->centroids);
	status = stk_nearest_rows(&w->exec, &p, x, n, codes, w->scores, NULL);
	stk_pack_free(&p);
	if (status != STK_OK)
		return status;
	for (size_t i = 0; i < n; i++)
	{
		const float *row = x + i * km->dim;
		double s = w->scores[i] + (km->inner_product ? km->half[codes[i]] : 0);

		if (stop_at(w, i))
			return STK_ECANCELED;
		sum += squared_distance(stk_dot(row, row, km->dim), s);
	}
	*error = sum;
	return STK_OK;
}

/* Give centroid k the value w->mean, normalised where asked; false when no bit changed. */
static bool
set_centroid(stk_kmeans *km, stk_kmeans_work *w, uint32_t k)
{
	size_t dim = km->dim;
	float *c = km->centroids + k * dim;

	if (km->unit)
	{
		double norm = sqrt(stk_dot(w->mean, w->mean, dim));

		/* Rows that cancel out have no direction: the centroid keeps its own. */
		if (norm == 0)
			return false;
		for (size_t i = 0; i < dim; i++)
			w->mean[i] = (float) ((double) w->mean[i] / norm);
	}
	if (memcmp(c, w->mean, dim * sizeof(float)) == 0)
		return false;
	memcpy(c, w->mean, dim * sizeof(float));
	half_norms(c, 1, dim, &km->half[k]);
	return true;
}

stk_status
stk_kmeans_update(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n,
				  const uint16_t *codes, bool *changed)
{
	*changed = false;
	stk_members_group(&w->members, codes, n, km->size);
	for (uint32_t k = 0; k < km->size; k++)
	{
		size_t rows = stk_members_count(&w->members, k);
		stk_status status;

		km->counts[k] = (double) rows;
		if (rows == 0)
			continue;
		status = stk_members_sum(&w->members, k, x, km->dim, w->sum, w->exec.monitor);
		if (status != STK_OK)
			return status;
		for (size_t i = 0; i < km->dim; i++)
			w->mean[i] = (float) (w->sum[i] / (double) rows);
		*changed |= set_centroid(km, w, k);
	}
	return STK_OK;
}

stk_status
stk_kmeans_add_batch(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n,
					 const uint16_t *codes)
{
	stk_members_group(&w->members, codes, n, km->size);
	for (uint32_t k = 0; k < km->size; k++)
	{
		const float *c = km->centroids + (size_t) k * km->dim;
		size_t rows = stk_members_count(&w->members, k);
		double count = km->counts[k];
		stk_status status;

		if (rows == 0)
			continue;
		status = stk_members_sum(&w->members, k, x, km->dim, w->sum, w->exec.monitor);
		if (status != STK_OK)
			return status;
		km->counts[k] = count + (double) rows;
		for (size_t i = 0; i < km->dim; i++)
			w->mean[i] = (float) ((count * (double) c[i] + w->sum[i]) / km->counts[k]);
		set_centroid(km, w, k);
	}
	return STK_OK;
}
