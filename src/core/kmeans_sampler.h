/*
 * Private to the kmeans files: draws of points by squared distance, in integers.
 *
 *    d_i  squared distance of point i from the nearest centroid; 1 before the first
 *    w_i  floor(weight_i d_i 2^e), with the one e that makes the largest at least 2^(61 - b) and
 *         less than 2^(62 - b), b the bits of the number of points: integers, so that their sum
 *         has no order
 *
 * The point drawn by 64 random bits is the one in which the running sum of w passes
 * floor(bits sum / 2^64).
 */
#ifndef STK_KMEANS_SAMPLER_H
#define STK_KMEANS_SAMPLER_H

#include "kmeans_impl.h"

typedef struct stk_sampler
{
	const stk_exec *exec;
	stk_kmeans_work *work; /* its accelerator may have the points; NULL: none has */
	const float *x;        /* [n][dim] points */
	const double *norms;   /* [n] their squared norms */
	const double *weights; /* [n]; NULL: all 1 */
	size_t n;
	size_t dim;
	double scale;      /* 2^e */
	double *distances; /* [n] d */
	uint64_t *upto;    /* [n] running sums of w */
	double *scores;    /* [n] scratch */
	uint16_t *codes;   /* [n] scratch */
} stk_sampler;

/* STK_ENOMEM; free with stk_sampler_free in any case. */
extern stk_status stk_sampler_init(stk_sampler *s, const stk_exec *exec, const float *x,
								   const double *norms, const double *weights, size_t n,
								   size_t dim);
extern void stk_sampler_free(stk_sampler *s);

/* Make integers of the distances. */
extern void stk_sampler_weigh(stk_sampler *s);

/* The sum of the integers. */
static inline uint64_t
stk_sampler_total(const stk_sampler *s)
{
	return s->upto[s->n - 1];
}

/* Point i's integer at this distance; weights are as they were last made. */
static inline uint64_t
stk_sampler_share(const stk_sampler *s, size_t i, double distance)
{
	double weighed = s->weights ? s->weights[i] * distance : distance;

	return (uint64_t) (weighed * s->scale);
}

/* The point that these random bits draw; any point alike when all distances are 0. */
extern size_t stk_sampler_draw(const stk_sampler *s, uint64_t bits);

/*
 * Bring distances up to date for new centroids c [size][dim], before which there were `first`.
 * Where nearest is not NULL, points closer to one of them than to any before take first + its
 * number there. STK_ENOMEM, STK_ECANCELED.
 */
extern stk_status stk_sampler_approach(stk_sampler *s, const float *c, uint32_t size,
									   uint32_t *nearest, uint32_t first);

/*
 * k-means++ (kmeans_start.c): draw centroids [size][dim] among the points of a new sampler, by
 * their weights. STK_ENOMEM, STK_ECANCELED.
 */
extern stk_status stk_sampler_draw_centroids(stk_sampler *s, float *centroids, uint32_t size,
											 uint64_t seed, int level);

/* k-means|| (kmeans_parallel.c): stk_kmeans_start, for rows that were measured. */
extern stk_status stk_kmeans_start_parallel(stk_kmeans *km, stk_kmeans_work *w, const float *x,
											size_t n, uint64_t seed, int level);

#endif
