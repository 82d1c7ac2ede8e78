/*
 * k-means: initial centroids, assignment, and the two updates (Lloyd, mini-batch), each the same
 * bit for bit whatever machine or number of threads computes it.
 *
 * Sums over rows have the shape of member_sums.h. Then one division and one rounding to binary32.
 */
#ifndef STK_KMEANS_H
#define STK_KMEANS_H

#include "member_sums.h"
#include "nearest.h"
#include "philox.h"

typedef enum stk_init
{
	STK_INIT_KMEANSPP = 0, /* k-means++ */
	STK_INIT_RANDOM = 1,   /* rows drawn at random, each at most once while rows last */
	STK_INIT_KMEANSII = 2  /* k-means|| */
} stk_init;

/* What becomes of a centroid that no row chose. */
typedef enum stk_empty
{
	STK_EMPTY_KEEP = 0, /* it stays */
	STK_EMPTY_SPLIT,    /* it takes half of the largest cluster */
	STK_EMPTY_FARTHEST  /* it moves to the row farthest from its own centroid */
} stk_empty;

typedef struct stk_kmeans
{
	size_t dim;
	uint32_t size;
	float *centroids;   /* [size][dim] */
	double *counts;     /* [size] rows behind each centroid */
	double *half;       /* [size] half squared norms */
	bool inner_product; /* a row belongs to the centroid with the largest dot product */
	bool unit;          /* centroids are kept at norm 1 */
} stk_kmeans;

/* Scratch for problems up to a size. */
typedef struct stk_kmeans_work
{
	stk_exec exec;
	double *sum;    /* [dim] */
	float *mean;    /* [dim] */
	double *scores; /* [rows] */
	stk_members members;
} stk_kmeans_work;

/* Room for n rows and `size` centroids. STK_ENOMEM; free with stk_kmeans_work_free. */
extern stk_status stk_kmeans_work_init(stk_kmeans_work *w, size_t n, size_t dim, uint32_t size,
									   const stk_exec *exec);
extern void stk_kmeans_work_free(stk_kmeans_work *w);

/*
 * Choose the initial centroids among n >= 1 rows x [n][dim]; counts become 0.
 *
 * k-means++ (Arthur and Vassilvitskii 2007) draws by squared distance, as integers that add up
 * without rounding; when every row is a centroid already it repeats rows. STK_ENOMEM,
 * STK_ECANCELED.
 */
extern stk_status stk_kmeans_start(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n,
								   stk_init init, uint64_t seed, int level);

/*
 * Assign rows: codes [n] out; *error out, the sum of squared distances. STK_ECANCELED.
 */
extern stk_status stk_kmeans_assign(const stk_kmeans *km, stk_kmeans_work *w, const float *x,
									size_t n, uint16_t *codes, double *error);

/*
 * Move each centroid to the mean of its rows; those without rows stay. counts become the numbers
 * of rows. *changed tells whether any bit of a centroid did. STK_ECANCELED.
 */
extern stk_status stk_kmeans_update(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n,
									const uint16_t *codes, bool *changed);

/*
 * Add a batch to the rows behind each centroid: c = (count * c + sum) / (count + rows), where
 * count is what came before in counts. Sculley 2010, "Web-scale k-means clustering".
 * STK_ECANCELED.
 */
extern stk_status stk_kmeans_add_batch(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n,
									   const uint16_t *codes);

#endif
