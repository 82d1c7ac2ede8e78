#include "kmeans.h"

#include <math.h>
#include <string.h>

#include "dot.h"
#include "kmeans_impl.h"

/* Rows of a task. */
#define TASK_ROWS 1024
/* Codes of an update's task: empty ones have next to nothing to do. */
#define TASK_CODES 16

/* What one thread of an update or a measurement met. */
typedef struct stk_kmeans_thread
{
	stk_status status;
	bool changed;
} thread_state;

stk_status
stk_kmeans_work_init(stk_kmeans_work *w, size_t n, size_t dim, uint32_t size, const stk_exec *exec)
{
	const stk_allocator *a = &exec->a;
	size_t threads = (size_t) stk_threads(exec->pool);

	memset(w, 0, sizeof(*w));
	w->exec = *exec;
	w->norms = stk_alloc_array(a, n, sizeof(double));
	w->scores = stk_alloc_array(a, n, sizeof(double));
	w->others = stk_alloc_array(a, n, sizeof(double));
	w->moved = stk_alloc_array(a, size, 1);
	w->stale = stk_alloc_array(a, size, 1);
	w->threads = stk_alloc_array(a, threads, sizeof(thread_state));
	w->sums = stk_alloc_array(a, threads, dim * sizeof(double));
	w->means = stk_alloc_array(a, threads, dim * sizeof(float));
	w->errors = stk_alloc_array(a, n / STK_SUM_CHUNK + 1, sizeof(double));
	if (stk_members_init(&w->members, a, n, size) == STK_OK && w->norms && w->scores && w->others &&
		w->moved && w->stale && w->threads && w->sums && w->means && w->errors)
	{
		memset(w->stale, 1, size);
		return STK_OK;
	}
	stk_kmeans_work_free(w);
	return STK_ENOMEM;
}

static void
drop_pack(stk_kmeans_work *w)
{
	if (w->pack.size > 0)
		stk_pack_free(&w->pack);
	w->pack.size = 0;
}

void
stk_kmeans_work_free(stk_kmeans_work *w)
{
	const stk_allocator *a = &w->exec.a;

	stk_kmeans_detach(w);
	drop_pack(w);
	stk_free(a, w->norms);
	stk_free(a, w->scores);
	stk_free(a, w->others);
	stk_free(a, w->moved);
	stk_free(a, w->stale);
	stk_members_free(&w->members, a);
	stk_free(a, w->threads);
	stk_free(a, w->sums);
	stk_free(a, w->means);
	stk_free(a, w->errors);
}

/* Run n tasks; *changed (may be NULL) tells whether one of them changed anything. */
static stk_status
run_tasks(stk_kmeans_work *w, stk_task task, void *arg, size_t n, bool *changed)
{
	int threads = stk_threads(w->exec.pool);
	stk_status status = STK_OK;

	memset(w->threads, 0, (size_t) threads * sizeof(thread_state));
	stk_run(w->exec.pool, task, arg, n);
	for (int t = 0; t < threads; t++)
	{
		if (w->threads[t].status != STK_OK)
			status = w->threads[t].status;
		if (changed)
			*changed |= w->threads[t].changed;
	}
	return status;
}

/* Has this thread been told to stop? Looks at the monitor. */
static bool
stopped(const stk_kmeans_work *w, int thread)
{
	if (w->threads[thread].status == STK_OK && stk_should_stop(w->exec.monitor))
		w->threads[thread].status = STK_ECANCELED;
	return w->threads[thread].status != STK_OK;
}

typedef struct measurement
{
	stk_kmeans_work *w;
	const float *x;
	size_t n;
	size_t dim;
} measurement;

static void
measure_task(void *arg, size_t index, int thread)
{
	const measurement *m = arg;
	size_t first = index * TASK_ROWS;
	size_t end = m->n - first < TASK_ROWS ? m->n : first + TASK_ROWS;

	if (stopped(m->w, thread))
		return;
	for (size_t i = first; i < end; i++)
	{
		const float *row = m->x + i * m->dim;

		m->w->exec.cpu->reference->dots(row, &row, 1, m->dim, &m->w->norms[i]);
	}
}

stk_status
stk_kmeans_measure(stk_kmeans_work *w, const float *x, size_t n, size_t dim)
{
	measurement m = {w, x, n, dim};
	stk_status status;

	if (stk_kmeans_measured_there(w, &status))
		return status;
	return run_tasks(w, measure_task, &m, (n + TASK_ROWS - 1) / TASK_ROWS, NULL);
}

typedef struct error_sum
{
	const stk_kmeans *km;
	const stk_kmeans_work *w;
	size_t n;
	const uint16_t *codes;
} error_sum;

/* The chunks of TASK_ROWS rows. */
static void
error_task(void *arg, size_t index, int thread)
{
	const error_sum *e = arg;
	size_t end = e->n - index * TASK_ROWS < TASK_ROWS ? e->n : (index + 1) * TASK_ROWS;

	(void) thread;
	for (size_t first = index * TASK_ROWS; first < end; first += STK_SUM_CHUNK)
	{
		size_t rows = end - first < STK_SUM_CHUNK ? end - first : STK_SUM_CHUNK;
		double lane[STK_LANES] = {0};

		for (size_t i = 0; i < rows; i++)
			lane[i % STK_LANES] += stk_kmeans_distance(e->km, e->w, first + i, e->codes[first + i]);
		e->w->errors[first / STK_SUM_CHUNK] = stk_add_lanes(lane);
	}
}

double
stk_kmeans_error(const stk_kmeans *km, const stk_kmeans_work *w, size_t n, const uint16_t *codes)
{
	error_sum e = {km, w, n, codes};
	double sum = 0;

	stk_run(w->exec.pool, error_task, &e, (n + TASK_ROWS - 1) / TASK_ROWS);
	for (size_t i = 0; i < n; i += STK_SUM_CHUNK)
		sum += w->errors[i / STK_SUM_CHUNK];
	return sum;
}

stk_status
stk_kmeans_settle(const stk_kmeans *km, stk_kmeans_work *w, size_t n)
{
	stk_pack *p = &w->pack;
	stk_status status = STK_OK;

	/* Laid out anew for every assignment; room for it lasts while the shape does. */
	if (p->size != km->size || p->dim != km->dim || p->inner_product != km->inner_product)
	{
		drop_pack(w);
		status =
			stk_pack_init(p, &w->exec, STK_FILTER_BEST, true, km->size, km->dim, km->inner_product);
	}
	if (status != STK_OK)
	{
		p->size = 0;
		return status;
	}
	for (size_t i = 0; i < n; i++)
		w->others[i] = -INFINITY;
	memset(w->moved, 0, km->size);
	memset(w->stale, 1, km->size);
	return stk_pack_fill(p, km->centroids, w->exec.monitor);
}

stk_status
stk_kmeans_assign(const stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n,
				  uint16_t *codes, double *error)
{
	const stk_accelerator_centroids c = {km->centroids, km->size, km->inner_product};
	stk_status status = stk_kmeans_settle(km, w, n);

	if (status == STK_OK && !stk_kmeans_nearest_there(w, &c, codes, w->scores, &status))
		status = stk_nearest_rows(&w->exec, &w->pack, x, n, codes, w->scores, NULL);
	if (status == STK_OK)
		*error = stk_kmeans_error(km, w, n, codes);
	return status;
}

/* Both updates: what comes before in counts weighs in, or does not. */
typedef struct update
{
	stk_kmeans *km;
	stk_kmeans_work *w;
	const float *x;
	bool persistent;
} update;

bool
stk_kmeans_normalise(float *c, size_t dim)
{
	double norm = sqrt(stk_dot(c, c, dim));

	if (norm == 0)
		return false;
	for (size_t i = 0; i < dim; i++)
		c[i] = (float) ((double) c[i] / norm);
	return true;
}

static stk_status
update_code(const update *u, uint32_t k, int thread)
{
	stk_kmeans_work *w = u->w;
	stk_kmeans *km = u->km;
	size_t dim = km->dim;
	size_t rows = stk_members_count(&w->members, k);
	stk_status status;
	double count = u->persistent ? km->counts[k] : 0;
	float *c = km->centroids + k * dim;
	double *sum = w->sums + (size_t) thread * dim;
	float *mean = w->means + (size_t) thread * dim;

	km->counts[k] = count + (double) rows;
	/* The same rows as at the last update have the same mean. */
	if (rows == 0 || (!u->persistent && !w->stale[k]))
		return STK_OK;
	status =
		stk_members_sum(&w->members, k, u->x, dim, sum, w->exec.cpu->reference, w->exec.monitor);
	if (status != STK_OK)
		return status;
	for (size_t i = 0; i < dim; i++)
		mean[i] = (float) ((count * (double) c[i] + sum[i]) / km->counts[k]);
	/* Rows that cancel out have no direction: the centroid keeps its own. */
	if (km->unit && !stk_kmeans_normalise(mean, dim))
		return STK_OK;
	if (memcmp(c, mean, dim * sizeof(float)) == 0)
		return STK_OK;
	memcpy(c, mean, dim * sizeof(float));
	w->moved[k] = 1;
	w->threads[thread].changed = true;
	return STK_OK;
}

static void
update_task(void *arg, size_t index, int thread)
{
	const update *u = arg;
	uint32_t size = u->km->size;
	uint32_t first = (uint32_t) index * TASK_CODES;
	uint32_t end = size - first < TASK_CODES ? size : first + TASK_CODES;
	stk_status *status = &u->w->threads[thread].status;

	if (stopped(u->w, thread))
		return;
	for (uint32_t k = first; k < end && *status == STK_OK; k++)
		*status = update_code(u, k, thread);
}

/* Update all centroids; *changed (may be NULL) tells whether one has moved. */
static stk_status
update_codes(update *u, bool *changed)
{
	size_t tasks = ((size_t) u->km->size + TASK_CODES - 1) / TASK_CODES;

	return run_tasks(u->w, update_task, u, tasks, changed);
}

stk_status
stk_kmeans_update(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n,
				  const uint16_t *codes, bool *changed)
{
	update u = {km, w, x, false};
	stk_status status;

	*changed = false;
	stk_members_group(&w->members, codes, n, km->size);
	status = update_codes(&u, changed);
	memset(w->stale, status != STK_OK, km->size);
	return status;
}

stk_status
stk_kmeans_add_batch(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n,
					 const uint16_t *codes)
{
	update u = {km, w, x, true};

	stk_members_group(&w->members, codes, n, km->size);
	return update_codes(&u, NULL);
}
