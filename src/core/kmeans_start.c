/*
 * Initial centroids: random rows, and k-means++.
 *
 * k-means++ (Arthur and Vassilvitskii 2007) draws each centroid among the rows with probability
 * proportional to the squared distance from the centroids so far. Bringing all distances up to
 * date for every draw means reading all rows K times. Here they are brought up to date for many
 * centroids at once, by the filter and reference that also assign rows, and draws in between are
 * corrected by rejection, which leaves their distribution what it was:
 *
 *    attempt t of centroid k draws row i by random(step 2t, index k) from the distances when they
 *    were last up to date (kmeans_sampler.h); it is taken where
 *    floor(random(step 2t + 1, index k) w_i / 2^64) < w'_i, and w'_i is w_i for the distance from
 *    all centroids so far
 *
 * Distances are brought up to date once as many centroids have been added as there were (and no
 * more than 1,024), and after four rejections in a row.
 */
#include <string.h>

#include "kmeans_sampler.h"

/* Centroids drawn between two updates of the distances, at most. */
#define PENDING 1024
/* Rejections in a row that bring distances up to date. */
#define PATIENCE 4

/* Centroids drawn since distances were brought up to date. */
typedef struct pending
{
	uint32_t count;
	const float *points[PENDING];
	double half[PENDING]; /* half squared norms */
	double dots[PENDING];
} pending;

/* Squared distance of point i from its nearest centroid, the pending ones too. */
static double
distance_now(const stk_sampler *s, pending *p, size_t i)
{
	double d = s->distances[i];

	s->exec->cpu->reference->dots(s->x + i * s->dim, p->points, p->count, s->dim, p->dots);
	for (uint32_t j = 0; j < p->count; j++)
	{
		double to = stk_squared_distance(s->norms[i], p->half[j] - p->dots[j]);

		d = to < d ? to : d;
	}
	return d;
}

static stk_status
draw_centroids(stk_sampler *s, pending *p, float *centroids, uint32_t size, uint64_t seed,
			   int level)
{
	uint32_t current = 0; /* centroids that the distances know of */
	uint32_t rejected = 0;
	uint32_t attempt = 0;

	stk_sampler_weigh(s);
	p->count = 0;
	for (uint32_t k = 0; k < size;)
	{
		uint64_t where = stk_random(seed, STK_RANDOM_INIT, level, 2 * attempt, k);
		uint64_t whether = stk_random(seed, STK_RANDOM_INIT, level, 2 * attempt + 1, k);
		size_t i;

		if (stk_should_stop(s->exec->monitor))
			return STK_ECANCELED;
		if (p->count == PENDING || (p->count > 0 && p->count >= current) || rejected == PATIENCE)
		{
			stk_status status =
				stk_sampler_approach(s, centroids + current * s->dim, p->count, NULL, current);

			if (status != STK_OK)
				return status;
			stk_sampler_weigh(s);
			current += p->count;
			p->count = rejected = 0;
		}
		attempt++;
		i = stk_sampler_draw(s, where);
		if (p->count > 0 && stk_sampler_total(s) > 0)
		{
			uint64_t stale = stk_sampler_share(s, i, s->distances[i]);
			uint64_t now = stk_sampler_share(s, i, distance_now(s, p, i));

			if (stk_below(whether, stale) >= now)
			{
				rejected++;
				continue;
			}
		}
		memcpy(centroids + k * s->dim, s->x + i * s->dim, s->dim * sizeof(float));
		p->points[p->count] = s->x + i * s->dim;
		p->half[p->count++] = 0.5 * s->norms[i];
		k++;
		attempt = rejected = 0;
	}
	return STK_OK;
}

stk_status
stk_sampler_draw_centroids(stk_sampler *s, float *centroids, uint32_t size, uint64_t seed,
						   int level)
{
	pending *p = stk_alloc_array(&s->exec->a, 1, sizeof(pending));
	stk_status status = STK_ENOMEM;

	if (p)
		status = draw_centroids(s, p, centroids, size, seed, level);
	stk_free(&s->exec->a, p);
	return status;
}

static stk_status
start_kmeanspp(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n, uint64_t seed,
			   int level)
{
	stk_sampler s;
	stk_status status = stk_sampler_init(&s, &w->exec, x, w->norms, NULL, n, km->dim);

	s.work = w;
	if (status == STK_OK)
		status = stk_sampler_draw_centroids(&s, km->centroids, km->size, seed, level);
	stk_sampler_free(&s);
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
	stk_status status = stk_kmeans_measure(w, x, n, km->dim);

	if (status == STK_OK && init == STK_INIT_KMEANSPP)
		status = start_kmeanspp(km, w, x, n, seed, level);
	else if (status == STK_OK && init == STK_INIT_KMEANSII)
		status = stk_kmeans_start_parallel(km, w, x, n, seed, level);
	else if (status == STK_OK)
		start_random(km, w, x, n, seed, level);
	for (uint32_t k = 0; k < km->size; k++)
		km->counts[k] = 0;
	return status;
}
