/* k-means on rows of which an accelerator has a copy. */
#include <math.h>
#include <string.h>

#include "kmeans_impl.h"
#include "train_rows.h"

void
stk_kmeans_attach(stk_kmeans_work *w, const float *x, size_t n, size_t dim)
{
	const stk_accelerator *a = w->exec.accelerator;
	stk_status status;

	stk_kmeans_detach(w);
	if (!a || !a->ops->rows_create || !a->ops->rows_free)
		return;
	status = a->ops->rows_create(a->ctx, x, n, dim, w->exec.monitor, &w->rows);
	if (status != STK_OK)
		w->rows = NULL;
	if (status == STK_EIO)
		w->exec.accelerator = NULL;
}

void
stk_kmeans_detach(stk_kmeans_work *w)
{
	const stk_accelerator *a = w->exec.accelerator;

	if (w->rows)
		a->ops->rows_free(a->ctx, w->rows);
	w->rows = NULL;
}

/*
 * What a step of the accelerator's came to. True: that is the answer. False: the processor computes
 * the step, and where the accelerator is of no use any more all that follow.
 */
static bool
is_answer(stk_kmeans_work *w, stk_status status)
{
	if (status == STK_OK || status == STK_ECANCELED)
		return true;
	if (status != STK_ENOMEM)
	{
		stk_kmeans_detach(w);
		w->exec.accelerator = NULL;
	}
	return false;
}

bool
stk_kmeans_measured_there(stk_kmeans_work *w, stk_status *status)
{
	const stk_accelerator *a = w->exec.accelerator;

	if (!w->rows || !a->ops->measure)
		return false;
	*status = a->ops->measure(a->ctx, w->rows, w->norms, w->exec.monitor);
	return is_answer(w, *status);
}

bool
stk_kmeans_nearest_there(stk_kmeans_work *w, const stk_accelerator_centroids *c, uint16_t *codes,
						 double *scores, stk_status *status)
{
	const stk_accelerator *a = w->exec.accelerator;

	if (!w->rows || !a->ops->nearest)
		return false;
	*status = a->ops->nearest(a->ctx, w->rows, c, codes, scores, w->exec.monitor);
	return is_answer(w, *status);
}

stk_status
stk_kmeans_lloyd(stk_kmeans *km, stk_kmeans_work *w, size_t n, uint16_t *codes,
				 stk_accelerator_lloyd *run, bool *done)
{
	const stk_accelerator *a = w->exec.accelerator;
	stk_status status;

	*done = false;
	if (!w->rows || !a->ops->lloyd)
		return STK_OK;
	run->centroids = km->centroids;
	run->size = km->size;
	run->inner_product = km->inner_product;
	run->unit = km->unit;
	run->codes = codes;
	run->scores = w->scores;
	status = a->ops->lloyd(a->ctx, w->rows, run, w->exec.monitor);
	if (!is_answer(w, status))
		return STK_OK;
	*done = status == STK_OK;
	return status == STK_OK ? stk_kmeans_settle(km, w, n) : status;
}

stk_status
stk_kmeans_subtract(const stk_kmeans *km, stk_kmeans_work *w, float *x, size_t n,
					const uint16_t *codes, int level, stk_error *err)
{
	const stk_accelerator *a = w->exec.accelerator;
	const stk_accelerator_centroids c = {km->centroids, km->size, km->inner_product};
	stk_status status =
		stk_train_rows_subtract(&w->exec, x, n, km->dim, km->centroids, codes, level, x, err);

	if (status != STK_OK || !w->rows)
		return status;
	status = a->ops->subtract ? a->ops->subtract(a->ctx, w->rows, &c, codes, w->exec.monitor)
							  : STK_ENOMEM;
	/* A copy of rows as they were is of no use. */
	if (!is_answer(w, status))
		stk_kmeans_detach(w);
	return status == STK_ECANCELED ? status : STK_OK;
}
