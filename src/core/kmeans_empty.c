/* What becomes of centroids without rows. */
#include <math.h>
#include <string.h>

#include "kmeans_impl.h"
#include "sort.h"

/* A centroid as a donor. */
typedef struct donor
{
	double count;  /* 0: nothing (more) to split */
	uint32_t rows; /* the code in whose rows it began */
	size_t next;   /* the next of those rows to part towards */
} donor;

/* Do two of the rows of code k differ? */
static bool
rows_differ(const stk_kmeans_work *w, const float *x, size_t dim, uint32_t k)
{
	const size_t *members = w->members.rows + w->members.first[k];
	size_t n = stk_members_count(&w->members, k);

	for (size_t i = 1; i < n; i++)
	{
		if (memcmp(x + members[0] * dim, x + members[i] * dim, dim * sizeof(float)) != 0)
			return true;
	}
	return false;
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

/* Let the largest centroid that can give centroid k half of its rows; false when none can. */
static bool
split_for(stk_kmeans *km, const stk_kmeans_work *w, const float *x, donor *donors, uint32_t k)
{
	size_t dim = km->dim;

	for (;;)
	{
		uint32_t largest = 0;
		const float *row;
		donor *d;

		for (uint32_t j = 1; j < km->size; j++)
			largest = donors[j].count > donors[largest].count ? j : largest;
		d = &donors[largest];
		if (d->count < 2)
			return false;
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
		return true;
	}
}

static stk_status
split_largest(stk_kmeans *km, const stk_kmeans_work *w, const float *x, bool *changed)
{
	donor *donors = stk_alloc_array(&w->exec.a, km->size, sizeof(donor));

	if (!donors)
		return STK_ENOMEM;
	for (uint32_t k = 0; k < km->size; k++)
	{
		bool any = km->counts[k] >= 2 && rows_differ(w, x, km->dim, k);

		donors[k] = (donor){any ? km->counts[k] : 0, k, w->members.first[k]};
	}
	for (uint32_t k = 0; k < km->size; k++)
	{
		if (km->counts[k] > 0)
			continue;
		if (!split_for(km, w, x, donors, k))
			break;
		*changed = true;
	}
	stk_free(&w->exec.a, donors);
	return STK_OK;
}

/* A row and its squared distance. */
typedef struct far_row
{
	double distance;
	size_t row;
} far_row;

/* Farthest first, then in row order. */
static int
compare_far(const void *a, const void *b, const void *ctx)
{
	const far_row *p = a;
	const far_row *q = b;

	(void) ctx;
	if (p->distance != q->distance)
		return p->distance > q->distance ? -1 : 1;
	return (p->row > q->row) - (p->row < q->row);
}

/* Is row i equal to one of the taken rows at the same distance, the last ones of n? */
static bool
taken_before(const far_row *taken, size_t n, far_row i, const float *x, size_t dim)
{
	for (; n > 0 && taken[n - 1].distance == i.distance; n--)
	{
		if (memcmp(x + taken[n - 1].row * dim, x + i.row * dim, dim * sizeof(float)) == 0)
			return true;
	}
	return false;
}

static stk_status
move_to_farthest(stk_kmeans *km, const stk_kmeans_work *w, const float *x, size_t n,
				 const uint16_t *codes, bool *changed)
{
	const stk_allocator *a = &w->exec.a;
	size_t dim = km->dim;
	far_row *rows = stk_alloc_array(a, n, sizeof(far_row));
	size_t taken = 0;
	size_t next = 0;
	stk_status status = STK_ENOMEM;

	if (rows)
	{
		for (size_t i = 0; i < n; i++)
			rows[i] = (far_row){stk_kmeans_distance(km, w, i, codes[i]), i};
		status = stk_sort(rows, n, sizeof(far_row), compare_far, NULL, a, w->exec.monitor);
	}
	for (uint32_t k = 0; k < km->size && status == STK_OK; k++)
	{
		if (km->counts[k] > 0)
			continue;
		/* Rows taken move to the front, over others already looked at. */
		while (next < n && taken_before(rows, taken, rows[next], x, dim))
			next++;
		if (next == n || rows[next].distance == 0)
			break;
		rows[taken] = rows[next++];
		memcpy(km->centroids + k * dim, x + rows[taken++].row * dim, dim * sizeof(float));
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
