/*
 * k-means: initial centroids, assignment, and the two updates (Lloyd, mini-batch), each the same
 * bit for bit whatever machine or number of threads computes it.
 *
 * Sums over rows have the shape of member_sums.h. Then one division and one rounding to binary32.
 * Squared distances are |x|^2 + 2 s in
 * binary64, s the reference score, at least 0; their sum has that shape, too, over all
 * rows in order.
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
	STK_INIT_KMEANSII = 2  /* k-means||; its last step is greedy for up to 4,096 centroids */
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
	bool inner_product; /* a row belongs to the centroid with the largest dot product */
	bool unit;          /* centroids are kept at norm 1 */
} stk_kmeans;

struct stk_kmeans_thread;

/* Scratch for problems up to a size, and what is known of the rows. */
typedef struct stk_kmeans_work
{
	stk_exec exec;
	stk_accelerator_rows *rows; /* the accelerator's copy of the rows; NULL: it has none */
	double *norms;              /* [rows] squared norms, by stk_kmeans_measure */
	double *scores; /* [rows] reference scores of the centroids that stk_kmeans_assign chose */
	double *others; /* [rows] lower bounds of the scores of all other centroids */
	uint8_t *moved; /* [size] centroids that changed since the last assignment */
	uint8_t *stale; /* [size] codes whose centroid may not be the mean of its rows */
	stk_members members;
	stk_pack pack;                     /* the centroids last assigned to; size 0 before */
	struct stk_kmeans_thread *threads; /* [threads] */
	double *sums;                      /* [threads][dim] */
	float *means;                      /* [threads][dim] */
	double *errors; /* [rows / STK_SUM_CHUNK, rounded up] scratch: sums of squared distances */
} stk_kmeans_work;

/* Room for n rows and `size` centroids. STK_ENOMEM; free with stk_kmeans_work_free. */
extern stk_status stk_kmeans_work_init(stk_kmeans_work *w, size_t n, size_t dim, uint32_t size,
									   const stk_exec *exec);
extern void stk_kmeans_work_free(stk_kmeans_work *w);

/*
 * Let the accelerator have a copy of rows x [n][dim], where there is one: from now on it may
 * compute what is about these rows. Whoever changes rows, other than by stk_kmeans_subtract, calls
 * this again, or stk_kmeans_detach. Nothing fails: without a copy the processor computes.
 */
extern void stk_kmeans_attach(stk_kmeans_work *w, const float *x, size_t n, size_t dim);
extern void stk_kmeans_detach(stk_kmeans_work *w);

/*
 * Take the squared norms of the rows x [n][dim] that the calls after this are about. Once for rows
 * that stay as they are; stk_kmeans_start does it too. STK_ECANCELED.
 */
extern stk_status stk_kmeans_measure(stk_kmeans_work *w, const float *x, size_t n, size_t dim);

/*
 * Choose the initial centroids among n >= 1 rows x [n][dim]; counts become 0. What is drawn
 * depends on seed and level and on nothing else (kmeans_start.c says how). When every row is a
 * centroid already, rows repeat. STK_ENOMEM, STK_ECANCELED.
 */
extern stk_status stk_kmeans_start(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n,
								   stk_init init, uint64_t seed, int level);

/*
 * Assign rows: codes [n] out; *error out, the sum of squared distances. STK_ENOMEM, STK_ECANCELED.
 */
extern stk_status stk_kmeans_assign(const stk_kmeans *km, stk_kmeans_work *w, const float *x,
									size_t n, uint16_t *codes, double *error);

/*
 * stk_kmeans_assign at a fraction of its cost, for the same rows and centroids as its last call or
 * this one's, when nothing but stk_kmeans_update and stk_kmeans_fill_empty has touched centroids,
 * codes [n] or what w knows since, and a centroid has changed. STK_ENOMEM, STK_ECANCELED: then only
 * stk_kmeans_assign may follow.
 */
extern stk_status stk_kmeans_reassign(const stk_kmeans *km, stk_kmeans_work *w, const float *x,
									  size_t n, uint16_t *codes, double *error);

/*
 * Let the accelerator do a whole run on rows that were attached: centroids, codes [n] and what w
 * knows of them come out as from stk_kmeans_assign and stk_kmeans_update by turns. run says how
 * long and who is told (accelerator.h); this fills in the rest of it. *done tells whether the
 * accelerator did: if not, nothing has changed. STK_ENOMEM, STK_ECANCELED.
 */
extern stk_status stk_kmeans_lloyd(stk_kmeans *km, stk_kmeans_work *w, size_t n, uint16_t *codes,
								   stk_accelerator_lloyd *run, bool *done);

/*
 * Take their centroids from rows x [n][dim], here and where the accelerator has them: errors as
 * stk_train_rows_subtract, with this level in them.
 */
extern stk_status stk_kmeans_subtract(const stk_kmeans *km, stk_kmeans_work *w, float *x, size_t n,
									  const uint16_t *codes, int level, stk_error *err);

/*
 * Move rows away from centroids that more than `cap` chose; follows stk_kmeans_assign.
 *
 *   codes  [n]  in and out
 *   error       out, the sum of squared distances now
 *
 * Deferred acceptance (Gale and Shapley 1962): every row proposes to centroids in the order of
 * their scores (the lower code among equals), every centroid keeps the `cap` rows that are nearest
 * to it (inner product: of the largest dot product; the lowest row among equals) and sends the
 * others on. No order of proposals changes the outcome: each row gets the best centroid that any
 * such stable assignment gives it. Needs 16 bytes a row, and 300 for each that moves. STK_EINVAL
 * when `size` centroids of `cap` rows hold less than n, and nothing is done; STK_ENOMEM,
 * STK_ECANCELED.
 */
extern stk_status stk_kmeans_balance(const stk_kmeans *km, stk_kmeans_work *w, const float *x,
									 size_t n, size_t cap, uint16_t *codes, double *error);

/*
 * Move each centroid to the mean of its rows, the last assignment's; those without rows stay.
 * counts become the numbers of rows. *changed tells whether any bit of a centroid did.
 * STK_ECANCELED.
 */
extern stk_status stk_kmeans_update(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n,
									const uint16_t *codes, bool *changed);

/*
 * Find new places for the centroids without rows; follows stk_kmeans_update, with the codes it was
 * given. *changed becomes true when one has moved.
 *
 * STK_EMPTY_SPLIT: lowest code first, each takes half of the centroid with the largest count, the
 * lowest code among equals (of an odd number the donor keeps the odd row). It comes to lie 2^-10 of
 * the way from the donor to one of the donor's rows, and the donor moves as far away from that row:
 * a small symmetric change on the scale of the cluster. A donor's rows take turns in row order; the
 * halves can be donors again, but nothing whose rows are all equal.
 *
 * STK_EMPTY_FARTHEST: lowest code first, each moves to the row with the largest squared distance
 * from its centroid in the last assignment, the lowest row among equals; each row, and rows equal
 * to it, once, and none at distance 0.
 *
 * Where nothing is left to take, centroids stay. STK_ENOMEM, STK_ECANCELED.
 */
extern stk_status stk_kmeans_fill_empty(stk_kmeans *km, stk_kmeans_work *w, const float *x,
										size_t n, const uint16_t *codes, stk_empty empty,
										bool *changed);

/*
 * Add a batch to the rows behind each centroid: c = (count * c + sum) / (count + rows), where
 * count is what came before in counts. Sculley 2010, "Web-scale k-means clustering".
 * STK_ECANCELED.
 */
extern stk_status stk_kmeans_add_batch(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n,
									   const uint16_t *codes);

#endif
