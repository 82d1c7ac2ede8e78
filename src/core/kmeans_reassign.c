/*
 * Assign the same rows again after an update that left some centroids where they were.
 *
 * A row whose own centroid stayed can only go over to one that moved: all others lost to its own
 * before, by scores that are what they were. Its own score is known, so the row is scored against
 * the centroids that moved and nothing else. A row whose own centroid moved is scored against all.
 * Nothing here is an estimate: codes and scores are those of stk_kmeans_assign.
 */
#include <string.h>

#include "kmeans_impl.h"

/* Rows of a task: copies of them stay in a core's cache. */
#define TASK_ROWS 240

/* One thread's part. */
typedef struct part
{
	float *rows;       /* [TASK_ROWS][dim] copies of rows of one kind */
	uint8_t *scratch;  /* stk_nearest's */
	uint32_t *places;  /* [TASK_ROWS] of a task's rows: those that stayed, then the others */
	uint16_t *codes;   /* [TASK_ROWS] */
	double *scores;    /* [TASK_ROWS] */
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

/*
 * List the rows of [first, first + n) whose centroid has, or has not, moved: t->places and *found.
 * Returns them side by side, in place where all n are.
 */
static const float *
gather(const reassignment *r, part *t, size_t first, size_t n, bool moved, size_t *found)
{
	size_t dim = r->km->dim;
	const float *x = r->x + first * dim;

	*found = 0;
	for (size_t i = 0; i < n; i++)
	{
		if ((r->w->moved[r->codes[first + i]] != 0) == moved)
			t->places[(*found)++] = (uint32_t) i;
	}
	if (*found == n)
		return x;
	for (size_t i = 0; i < *found; i++)
		memcpy(t->rows + i * dim, x + t->places[i] * dim, dim * sizeof(float));
	return t->rows;
}

static void
settle(const reassignment *r, part *t, size_t row, uint16_t code, double score)
{
	uint16_t old = r->codes[row];

	r->w->scores[row] = score;
	if (code == old)
		return;
	t->stale[old] = 1;
	t->stale[code] = 1;
	r->codes[row] = code;
}

/* Score n rows against the pack; t->codes and t->scores. False when told to stop. */
static bool
score(const reassignment *r, part *t, const stk_pack *p, const float *rows, size_t n)
{
	t->status = stk_nearest(p, t->scratch, rows, n, t->codes, t->scores, NULL, r->w->exec.monitor);
	return t->status == STK_OK;
}

static void
reassign_task(void *arg, size_t index, int thread)
{
	const reassignment *r = arg;
	part *t = &r->parts[thread];
	size_t first = index * TASK_ROWS;
	size_t n = r->n - first < TASK_ROWS ? r->n - first : TASK_ROWS;
	size_t found;
	const float *rows;

	if (t->status != STK_OK)
		return;
	rows = gather(r, t, first, n, false, &found);
	if (!score(r, t, &r->moved, rows, found))
		return;
	for (size_t i = 0; i < found; i++)
	{
		size_t row = first + t->places[i];
		uint16_t code = r->number[t->codes[i]];
		double own = r->w->scores[row];

		if (t->scores[i] < own || (t->scores[i] == own && code < r->codes[row]))
			settle(r, t, row, code, t->scores[i]);
	}

	/* Among them, once more, those that just went over: to the same end. */
	rows = gather(r, t, first, n, true, &found);
	if (!score(r, t, &r->w->pack, rows, found))
		return;
	for (size_t i = 0; i < found; i++)
		settle(r, t, first + t->places[i], t->codes[i], t->scores[i]);
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
	stk_pack_fill(&r->moved, r->codewords);
	return STK_OK;
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
		p->places = stk_alloc_array(a, TASK_ROWS, sizeof(uint32_t));
		p->codes = stk_alloc_array(a, TASK_ROWS, sizeof(uint16_t));
		p->scores = stk_alloc_array(a, TASK_ROWS, sizeof(double));
		p->stale = stk_alloc_array(a, r->km->size, 1);
		whole = p->rows && p->scratch && p->places && p->codes && p->scores && p->stale;
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
		stk_free(a, r->parts[t].places);
		stk_free(a, r->parts[t].codes);
		stk_free(a, r->parts[t].scores);
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
	stk_status status = pack_moved(&r);

	if (status == STK_OK)
	{
		stk_pack_fill(&w->pack, km->centroids);
		status = make_parts(&r);
	}
	if (status == STK_OK)
		status = run(&r);
	release(&r);
	if (status == STK_OK)
		*error = stk_kmeans_error(km, w, n, codes);
	return status;
}
