/*
 * Private to the trainers: distances, errors and norms as all of them count them.
 */
#ifndef STK_KMEANS_IMPL_H
#define STK_KMEANS_IMPL_H

#include "kmeans.h"

/* |x - c|^2 from |x|^2 and s = |c|^2 / 2 - x.c; rounding may take it below 0. */
static inline double
stk_squared_distance(double xx, double s)
{
	double d = xx + 2 * s;

	return d > 0 ? d : 0;
}

/* Squared distance of a row from the centroid it was assigned. */
static inline double
stk_kmeans_distance(const stk_kmeans *km, const stk_kmeans_work *w, size_t row, uint16_t code)
{
	double s = w->scores[row] + (km->inner_product ? w->pack.half[code] : 0);

	return stk_squared_distance(w->norms[row], s);
}

/* The sum of all rows' squared distances, in the shape of member_sums.h. */
extern double stk_kmeans_error(const stk_kmeans *km, const stk_kmeans_work *w, size_t n,
							   const uint16_t *codes);

/* Pack the centroids for rows that were all assigned to them. STK_ENOMEM, STK_ECANCELED. */
extern stk_status stk_kmeans_settle(const stk_kmeans *km, stk_kmeans_work *w, size_t n);

/*
 * Ask the accelerator for a step about the rows that it has (kmeans_attached.c):
 * stk_kmeans_measure, and the nearest of some centroids. True: *status is the answer, STK_OK or
 * STK_ECANCELED. False: the processor has to compute it.
 */
extern bool stk_kmeans_measured_there(stk_kmeans_work *w, stk_status *status);
extern bool stk_kmeans_nearest_there(stk_kmeans_work *w, const stk_accelerator_centroids *c,
									 uint16_t *codes, double *scores, stk_status *status);

/* Scale c [dim] to norm 1; false when it has no direction, and c is as it was. */
extern bool stk_kmeans_normalise(float *c, size_t dim);

#endif
