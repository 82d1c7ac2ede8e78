/* What becomes of centroids without rows. */
#include <math.h>
#include <string.h>

#include "kmeans_impl.h"
#include "sort.h"

/* Rows compared between two looks at the monitor. */
#define LOOK 1024

/* A centroid as a donor. */
typedef struct donor
{
	double count;  /* 0: nothing (more) to split */
	uint32_t rows; /* the code in whose rows it began */
	size_t next;   /* the next of those rows to part towards */
} donor;

/* Do two of the rows of code k differ? *differ out. STK_ECANCELED. */
static stk_status
rows_differ(const stk_kmeans_work *w, const float *x, size_t dim, uint32_t k, bool *differ)
{
	const size_t *members = w->members.rows + w->members.first[k];
	size_t n = stk_members_count(&w->members, k);

	*differ = false;
	for (size_t i = 1; i < n && !*differ; i++)
	{
		if ((i - 1) % LOOK == 0 && stk_should_stop(w->exec.monitor))
			return STK_ECANCELED;
		*differ = memcmp(x + members[0] * dim, x + members[i] * dim, dim * sizeof(float)) != 0;
	}
	return STK_OK;
}

/*
 * Move e to 2^-10 of the way from d to row, and d as far away from it. False, and nothing is
 * changed, when an element would leave binary32's range.
 */
static bool
part(const stk_kmeans *km, float *d, float *e, const float *row)
{
	for (size_t i = 0; i < km->dim; i++)
	{
		if (!isfinite((float) (d[i] - 0x1p-10 * ((double) row[i] - d[i]))))
			return false;
	}
	for (size_t i = 0; i < km->dim; i++)
	{
		double step = 0x1p-10 * ((double) row[i] - d[i]);

		e[i] = (float) (d[i] + step);
		d[i] = (float) (d[i] - step);
	}
	if (km->unit)
	{
		stk_kmeans_normalise(d, km->dim);
		stk_kmeans_normalise(e, km->dim);
	}
	return true;
}

/* A centroid was put where its rows' mean is not. */
static void
note_moved(const stk_kmeans_work *w, uint32_t k)
{
	w->moved[k] = 1;
	w->stale[k] = 1;
}

/*
 * Let the largest centroid that can give centroid k half of its rows; *found tells whether one
 * could. STK_ECANCELED.
 */
static stk_status
split_for(stk_kmeans *km, const stk_kmeans_work *w, const float *x, donor *donors, uint32_t k,
		  bool *found)
{
	size_t dim = km->dim;

	*found = false;
	for (;;)
	{
		uint32_t largest = 0;
		const float *row;
		donor *d;

		if (stk_should_stop(w->exec.monitor))
			return STK_ECANCELED;
		for (uint32_t j = 1; j < km->size; j++)
			largest = donors[j].count > donors[largest].count ? j : largest;
		d = &donors[largest];
		if (d->count < 2)
			return STK_OK;
		row = x + w->members.rows[d->next] * dim;
		if (!part(km, km->centroids + largest * dim, km->centroids + k * dim, row))
		{
			d->count = 0;
			continue;
		}
		d->next =
			d->next + 1 < w->members.first[d->rows + 1] ? d->next + 1 : w->members.first[d->rows];
		donors[k] = *d;
		donors[k].count = floor(d->count / 2);
		d->count -= donors[k].count;
		note_moved(w, largest);
		note_moved(w, k);
		*found = true;
		return STK_OK;
	}
}

static stk_status
split_largest(stk_kmeans *km, const stk_kmeans_work *w, const float *x, bool *changed)
{
	donor *donors = stk_alloc_array(&w->exec.a, km->size, sizeof(donor));
	stk_status status = donors ? STK_OK : STK_ENOMEM;
	bool found = true;

	for (uint32_t k = 0; k < km->size && status == STK_OK; k++)
	{
		bool differ;

		status = rows_differ(w, x, km->dim, k, &differ);
		donors[k] = (donor){differ ? km->counts[k] : 0, k, w->members.first[k]};
	}
	for (uint32_t k = 0; k < km->size && found && status == STK_OK; k++)
	{
		if (km->counts[k] > 0)
			continue;
		status = split_for(km, w, x, donors, k, &found);
		*changed |= found;
	}
	stk_free(&w->exec.a, donors);
	return status;
}

/* A row and its squared distance. */
typedef struct far_row
{
	double distance;
	size_t row;
} far_row;

/* What their order goes by. */
typedef struct far_rows
{
	const float *x;
	size_t dim;
} far_rows;

static int
compare_places(const far_row *p, const far_row *q)
{
	return (p->row > q->row) - (p->row < q->row);
}

/* Farthest first, then in row order. */
static int
compare_far(const void *a, const void *b, const void *ctx)
{
	const far_row *p = a;
	const far_row *q = b;

	(void) ctx;
	if (p->distance != q->distance)
		return p->distance > q->distance ? -1 : 1;
	return compare_places(p, q);
}

static int
compare_contents(const far_row *p, const far_row *q, const far_rows *of)
{
	return memcmp(of->x + p->row * of->dim, of->x + q->row * of->dim, of->dim * sizeof(float));
}

/* Farthest first, then equal rows side by side, each group in row order. */
static int
compare_equals(const void *a, const void *b, const void *ctx)
{
	const far_row *p = a;
	const far_row *q = b;
	int order;

	if (p->distance != q->distance)
		return p->distance > q->distance ? -1 : 1;
	order = compare_contents(p, q, ctx);
	return order != 0 ? order : compare_places(p, q);
}

/*
 * Keep the first of equal rows at one distance; *n in and out. Two sorts: many rows can be as far.
 */
static stk_status
sort_far_rows(far_row *rows, size_t *n, const far_rows *of, const stk_exec *exec)
{
	size_t kept = 1;
	stk_status status =
		stk_sort(rows, *n, sizeof(far_row), compare_equals, of, &exec->a, exec->monitor);

	for (size_t i = 1; i < *n && status == STK_OK; i++)
	{
		if (i % LOOK == 0 && stk_should_stop(exec->monitor))
			status = STK_ECANCELED;
		if (rows[i].distance != rows[kept - 1].distance ||
			compare_contents(&rows[i], &rows[kept - 1], of) != 0)
			rows[kept++] = rows[i];
	}
	*n = kept;
	if (status == STK_OK)
		status = stk_sort(rows, kept, sizeof(far_row), compare_far, NULL, &exec->a, exec->monitor);
	return status;
}

static stk_status
move_to_farthest(stk_kmeans *km, const stk_kmeans_work *w, const float *x, size_t n,
				 const uint16_t *codes, bool *changed)
{
	const stk_allocator *a = &w->exec.a;
	size_t dim = km->dim;
	far_row *rows = stk_alloc_array(a, n, sizeof(far_row));
	size_t next = 0;
	stk_status status = STK_ENOMEM;

	if (rows)
	{
		for (size_t i = 0; i < n; i++)
			rows[i] = (far_row){stk_kmeans_distance(km, w, i, codes[i]), i};
		status = sort_far_rows(rows, &n, &(far_rows){x, dim}, &w->exec);
	}
	for (uint32_t k = 0; k < km->size && status == STK_OK; k++)
	{
		if (km->counts[k] > 0)
			continue;
		if (next == n || rows[next].distance == 0)
			break;
		memcpy(km->centroids + k * dim, x + rows[next++].row * dim, dim * sizeof(float));
		note_moved(w, k);
		*changed = true;
	}
	stk_free(a, rows);
	return status;
}

stk_status
stk_kmeans_fill_empty(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n,
					  const uint16_t *codes, stk_empty empty, bool *changed)
{
	bool any = false;

	for (uint32_t k = 0; k < km->size; k++)
		any |= km->counts[k] == 0;
	if (!any || empty == STK_EMPTY_KEEP)
		return STK_OK;
	if (empty == STK_EMPTY_SPLIT)
		return split_largest(km, w, x, changed);
	return move_to_farthest(km, w, x, n, codes, changed);
}
