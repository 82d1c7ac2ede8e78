/*
 * Assign the same rows again after an update that left some centroids where they were.
 *
 * Centroids that rest have the scores that they had. So a row is scored against those that moved,
 * and the best of these is compared with what is known of those that rest: the score of the row's
 * own, if it rests, and a lower bound of all others' (others), kept from the last time they were
 * scored. Where that does not decide, the row is scored against all centroids. No distance is
 * estimated from how far centroids moved: codes and scores are those of stk_kmeans_assign.
 *
 * Bounds that follow how far centroids moved do not win here. Hamerly's leave more distances to
 * compute than this does. Elkan's leave fewer, but one by one, where the kernels take tiles of rows
 * and codewords, and need rows x centroids numbers of memory, where all else needs a few a row
 * (bench/core/bounds.c counts them).
 */
#include <math.h>
#include <string.h>

#include "kmeans_impl.h"

/* Rows of a task: copies of them stay in a core's cache. */
#define TASK_ROWS 240

/* One thread's part. */
typedef struct part
{
	float *rows;       /* [TASK_ROWS][dim] copies of those rows */
	uint8_t *scratch;  /* stk_nearest's */
	uint32_t *open;    /* [TASK_ROWS] of a task's rows, those still to be scored against all */
	uint16_t *codes;   /* [TASK_ROWS] */
	double *scores;    /* [TASK_ROWS] */
	double *others;    /* [TASK_ROWS] */
	uint8_t *stale;    /* [size] codes that a row left or chose */
	stk_status status; /* STK_ECANCELED once told to stop */
} part;

/* Shared by the tasks of TASK_ROWS rows each. */
typedef struct reassignment
{
	const stk_kmeans *km;
	stk_kmeans_work *w;
	const float *x;
	size_t n;
	uint16_t *codes;
	stk_pack moved;   /* the centroids that moved */
	float *codewords; /* [moved.size][dim] theirs, side by side */
	uint16_t *number; /* [moved.size] their codes, ascending */
	part *parts;      /* [threads] */
} reassignment;

static void
settle(const reassignment *r, part *t, size_t row, uint16_t code, double score, double others)
{
	uint16_t old = r->codes[row];

	r->w->scores[row] = score;
	r->w->others[row] = others;
	if (code == old)
		return;
	t->stale[old] = 1;
	t->stale[code] = 1;
	r->codes[row] = code;
}

/* Score n rows against the pack; false when told to stop. */
static bool
score(const reassignment *r, part *t, const stk_pack *p, const float *rows, size_t n)
{
	t->status = stk_nearest_and_others(p, t->scratch, rows, n, t->codes, t->scores, t->others, NULL,
									   r->w->exec.monitor);
	return t->status == STK_OK;
}

/*
 * Decide row `row` by its score against the centroids that moved, number i of the task's; false
 * when that is not enough.
 */
static bool
settle_by_moved(const reassignment *r, part *t, size_t row, size_t i)
{
	uint16_t own = r->codes[row];
	uint16_t code = r->number[t->codes[i]];
	double score = r->w->scores[row];
	double others = r->w->others[row];

	if (r->w->moved[own])
	{
		if (!(t->scores[i] < others))
			return false;
		settle(r, t, row, code, t->scores[i], fmin(others, t->others[i]));
	}
	else if (t->scores[i] < score || (t->scores[i] == score && code < own))
		settle(r, t, row, code, t->scores[i], fmin(fmin(others, score), t->others[i]));
	else
		settle(r, t, row, own, score, fmin(others, t->scores[i]));
	return true;
}

/* Score the n open rows against all centroids: where they are, when the task has no others. */
static void
settle_open(const reassignment *r, part *t, size_t first, size_t n, bool all)
{
	size_t dim = r->km->dim;
	const float *x = r->x + first * dim;

	for (size_t i = 0; i < n && !all; i++)
		memcpy(t->rows + i * dim, x + t->open[i] * dim, dim * sizeof(float));
	if (!score(r, t, &r->w->pack, all ? x : t->rows, n))
		return;
	for (size_t i = 0; i < n; i++)
		settle(r, t, first + t->open[i], t->codes[i], t->scores[i], t->others[i]);
}

static void
reassign_task(void *arg, size_t index, int thread)
{
	const reassignment *r = arg;
	part *t = &r->parts[thread];
	size_t first = index * TASK_ROWS;
	size_t n = r->n - first < TASK_ROWS ? r->n - first : TASK_ROWS;
	bool most = r->moved.size > r->km->size / 4 * 3;
	size_t open = 0;

	if (t->status != STK_OK)
		return;
	if (!most && !score(r, t, &r->moved, r->x + first * r->km->dim, n))
		return;
	for (size_t i = 0; i < n; i++)
	{
		if (most || !settle_by_moved(r, t, first + i, i))
			t->open[open++] = (uint32_t) i;
	}
	settle_open(r, t, first, open, open == n);
}

/* Pack the centroids that moved, of which there are some. */
static stk_status
pack_moved(reassignment *r)
{
	const stk_kmeans *km = r->km;
	const stk_exec *exec = &r->w->exec;
	uint32_t moved = 0;
	stk_status status;

	for (uint32_t k = 0; k < km->size; k++)
		moved += r->w->moved[k];
	status =
		stk_pack_init(&r->moved, exec, STK_FILTER_BEST, true, moved, km->dim, km->inner_product);
	if (status != STK_OK)
		return status;
	r->codewords = stk_alloc_array(&exec->a, moved, km->dim * sizeof(float));
	r->number = stk_alloc_array(&exec->a, moved, sizeof(uint16_t));
	if (!r->codewords || !r->number)
		return STK_ENOMEM;
	moved = 0;
	for (uint32_t k = 0; k < km->size; k++)
	{
		if (!r->w->moved[k])
			continue;
		memcpy(r->codewords + moved * km->dim, km->centroids + k * km->dim,
			   km->dim * sizeof(float));
		r->number[moved++] = (uint16_t) k;
	}
	return stk_pack_fill(&r->moved, r->codewords, exec->monitor);
}

/* Room for the threads' parts: one piece of memory each. */
static stk_status
make_parts(reassignment *r)
{
	const stk_allocator *a = &r->w->exec.a;
	size_t dim = r->km->dim;
	size_t threads = (size_t) stk_threads(r->w->exec.pool);
	size_t all = stk_nearest_scratch(&r->w->pack, TASK_ROWS);
	size_t some = stk_nearest_scratch(&r->moved, TASK_ROWS);
	bool whole;

	r->parts = stk_alloc_array(a, threads, sizeof(part));
	whole = r->parts != NULL;
	if (whole)
		memset(r->parts, 0, threads * sizeof(part));
	for (size_t t = 0; t < threads && whole; t++)
	{
		part *p = &r->parts[t];

		p->rows = stk_alloc_array(a, TASK_ROWS, dim * sizeof(float));
		p->scratch = stk_alloc_array(a, all > some ? all : some, 1);
		p->open = stk_alloc_array(a, TASK_ROWS, sizeof(uint32_t));
		p->codes = stk_alloc_array(a, TASK_ROWS, sizeof(uint16_t));
		p->scores = stk_alloc_array(a, TASK_ROWS, sizeof(double));
		p->others = stk_alloc_array(a, TASK_ROWS, sizeof(double));
		p->stale = stk_alloc_array(a, r->km->size, 1);
		whole = p->rows && p->scratch && p->open && p->codes && p->scores && p->others && p->stale;
		if (p->stale)
			memset(p->stale, 0, r->km->size);
	}
	return whole ? STK_OK : STK_ENOMEM;
}

static void
release(reassignment *r)
{
	const stk_allocator *a = &r->w->exec.a;
	int threads = stk_threads(r->w->exec.pool);

	for (int t = 0; t < threads && r->parts; t++)
	{
		stk_free(a, r->parts[t].rows);
		stk_free(a, r->parts[t].scratch);
		stk_free(a, r->parts[t].open);
		stk_free(a, r->parts[t].codes);
		stk_free(a, r->parts[t].scores);
		stk_free(a, r->parts[t].others);
		stk_free(a, r->parts[t].stale);
	}
	stk_free(a, r->parts);
	stk_free(a, r->codewords);
	stk_free(a, r->number);
	stk_pack_free(&r->moved);
}

/* Run the tasks and bring together what the threads met. */
static stk_status
run(reassignment *r)
{
	stk_kmeans_work *w = r->w;
	int threads = stk_threads(w->exec.pool);

	stk_run(w->exec.pool, reassign_task, r, (r->n + TASK_ROWS - 1) / TASK_ROWS);
	for (int t = 0; t < threads; t++)
	{
		if (r->parts[t].status != STK_OK)
			return r->parts[t].status;
		for (uint32_t k = 0; k < r->km->size; k++)
			w->stale[k] |= r->parts[t].stale[k];
	}
	memset(w->moved, 0, r->km->size);
	return STK_OK;
}

stk_status
stk_kmeans_reassign(const stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n,
					uint16_t *codes, double *error)
{
	reassignment r = {.km = km, .w = w, .x = x, .n = n, .codes = codes};
	stk_status status;

	/* It takes all rows at once, whatever moved. */
	if (w->rows)
		return stk_kmeans_assign(km, w, x, n, codes, error);
	status = pack_moved(&r);
	if (status == STK_OK)
		status = stk_pack_fill(&w->pack, km->centroids, w->exec.monitor);
	if (status == STK_OK)
		status = make_parts(&r);
	if (status == STK_OK)
		status = run(&r);
	release(&r);
	if (status == STK_OK)
		*error = stk_kmeans_error(km, w, n, codes);
	return status;
}
