/*
 * An accelerator that is none: it computes with core's own functions, on a copy of the rows, counts
 * what it is asked, and fails when told to.
 */
#ifndef TEST_FAKE_ACCELERATOR_H
#define TEST_FAKE_ACCELERATOR_H

#include "core/ema.h"
#include "core/kmeans.h"
#include "core/rq.h"
#include "core/train_rows.h"
#include "rows.h"

/* Its functions, as numbers for what follows. */
enum
{
	FAKE_ROWS,
	FAKE_MEASURE,
	FAKE_NEAREST,
	FAKE_LLOYD,
	FAKE_SUBTRACT,
	FAKE_BATCHES,
	FAKE_CODEBOOK,
	FAKE_ENCODE,
	FAKE_EVALUATE,
	FAKE_NORMAL,
	FAKE_OPS
};

typedef struct fake_accelerator
{
	long calls[FAKE_OPS];    /* of each function */
	long fail_at[FAKE_OPS];  /* the call of each that fails, and all that follow; 0: none */
	stk_status fail_with;    /* STK_ENOMEM, or STK_EIO: then everything fails */
	int lloyd_fails_after;   /* reports of a run that fails */
	bool lost;               /* it has said STK_EIO */
	long live;               /* copies of rows, and codebooks, not freed */
	long after_loss;         /* calls after it said STK_EIO */
	stk_accelerator_ops ops; /* a test may take some away */
	stk_accelerator accelerator;
} fake_accelerator;

struct stk_accelerator_rows
{
	float *x; /* [n][dim] */
	size_t n;
	size_t dim;
};

/* Does this call fail? */
static inline bool
fake_fails(fake_accelerator *f, int op)
{
	f->calls[op]++;
	f->after_loss += f->lost;
	if (f->fail_at[op] == 0 || f->calls[op] < f->fail_at[op])
		return false;
	f->lost |= f->fail_with == STK_EIO;
	return true;
}

static inline stk_status
fake_rows_create(void *ctx, const float *x, size_t n, size_t dim, const stk_monitor *monitor,
				 stk_accelerator_rows **out)
{
	fake_accelerator *f = ctx;
	stk_accelerator_rows *r;

	(void) monitor;
	if (fake_fails(f, FAKE_ROWS))
		return f->fail_with;
	r = malloc(sizeof(*r));
	*r = (stk_accelerator_rows){malloc(n * dim * sizeof(float)), n, dim};
	memcpy(r->x, x, n * dim * sizeof(float));
	f->live++;
	*out = r;
	return STK_OK;
}

static inline void
fake_rows_free(void *ctx, stk_accelerator_rows *r)
{
	((fake_accelerator *) ctx)->live--;
	free(r->x);
	free(r);
}

static inline stk_status
fake_measure(void *ctx, stk_accelerator_rows *r, double *norms, const stk_monitor *monitor)
{
	fake_accelerator *f = ctx;

	if (stk_should_stop(monitor))
		return STK_ECANCELED;
	if (fake_fails(f, FAKE_MEASURE))
		return f->fail_with;
	for (size_t i = 0; i < r->n; i++)
		norms[i] = plain_dot(r->x + i * r->dim, r->x + i * r->dim, r->dim);
	return STK_OK;
}

static inline stk_status
fake_nearest(void *ctx, stk_accelerator_rows *r, const stk_accelerator_centroids *c,
			 uint16_t *codes, double *scores, const stk_monitor *monitor)
{
	fake_accelerator *f = ctx;

	if (stk_should_stop(monitor))
		return STK_ECANCELED;
	if (fake_fails(f, FAKE_NEAREST))
		return f->fail_with;
	for (size_t i = 0; i < r->n; i++)
	{
		const float *x = r->x + i * r->dim;

		codes[i] = plain_nearest(x, c->centroids, c->size, r->dim, c->inner_product);
		scores[i] = plain_score(x, c->centroids + codes[i] * r->dim, r->dim, c->inner_product);
	}
	return STK_OK;
}

static inline uint32_t
fake_empty(const uint16_t *codes, size_t n, uint32_t size)
{
	uint8_t *used = calloc(size, 1);
	uint32_t empty = size;

	for (size_t i = 0; i < n; i++)
	{
		empty -= !used[codes[i]];
		used[codes[i]] = 1;
	}
	free(used);
	return empty;
}

/* stk_accelerator_lloyd, by the processor. */
static inline stk_status
fake_lloyd(void *ctx, stk_accelerator_rows *r, stk_accelerator_lloyd *run,
		   const stk_monitor *monitor)
{
	fake_accelerator *f = ctx;
	size_t floats = run->size * r->dim;
	bool fails = fake_fails(f, FAKE_LLOYD);
	stk_kmeans km = {.dim = r->dim,
					 .size = run->size,
					 .centroids = malloc(floats * sizeof(float)),
					 .counts = calloc(run->size, sizeof(double)),
					 .inner_product = run->inner_product,
					 .unit = run->unit};
	uint16_t *codes = malloc(r->n * sizeof(uint16_t));
	stk_kmeans_work w;
	stk_status status = stk_kmeans_work_init(&w, r->n, r->dim, run->size, plain_exec());
	bool changed = true;
	double error = 0;
	uint32_t empty = 0;
	int updates = 0;

	memcpy(km.centroids, run->centroids, floats * sizeof(float));
	if (status == STK_OK)
		status = stk_kmeans_measure(&w, r->x, r->n, r->dim);
	for (;; updates++)
	{
		if (status == STK_OK && changed)
			status = stk_kmeans_assign(&km, &w, r->x, r->n, codes, &error);
		if (status == STK_OK && stk_should_stop(monitor))
			status = STK_ECANCELED;
		if (status == STK_OK && fails && updates == f->lloyd_fails_after)
			status = f->fail_with;
		if (status != STK_OK)
			break;
		empty = fake_empty(codes, r->n, run->size);
		if (updates == run->epochs || !changed || (run->until_empty && empty > 0))
			break;
		run->report(run->report_ctx, updates, error, empty);
		status = stk_kmeans_update(&km, &w, r->x, r->n, codes, &changed);
	}
	/* A run too short for it fails at its end. */
	if (status == STK_OK && fails)
		status = f->fail_with;
	if (status != STK_OK)
		memset(run->codes, 0, r->n * sizeof(uint16_t));
	if (status == STK_OK)
	{
		memcpy(run->centroids, km.centroids, floats * sizeof(float));
		memcpy(run->codes, codes, r->n * sizeof(uint16_t));
		memcpy(run->scores, w.scores, r->n * sizeof(double));
		run->updates = updates;
		run->changed = changed;
		run->error = error;
		run->empty = empty;
	}
	stk_kmeans_work_free(&w);
	free(codes);
	free(km.centroids);
	free(km.counts);
	return status;
}

static inline stk_status
fake_subtract(void *ctx, stk_accelerator_rows *r, const stk_accelerator_centroids *c,
			  const uint16_t *codes, const stk_monitor *monitor)
{
	fake_accelerator *f = ctx;

	(void) monitor;
	if (fake_fails(f, FAKE_SUBTRACT))
		return f->fail_with;
	return stk_train_rows_subtract(plain_exec(), r->x, r->n, r->dim, c->centroids, codes, 0, r->x,
								   NULL);
}

/* One batch x [n][dim] through a level; x becomes its residuals. */
static inline stk_status
fake_level(const stk_accelerator_batches *run, int number, stk_accelerator_level *l,
		   stk_kmeans_work *w, uint32_t step, float *x, size_t n, size_t dim)
{
	stk_kmeans km = {.dim = dim,
					 .size = l->size,
					 .centroids = l->codewords,
					 .counts = l->counts,
					 .inner_product = run->inner_product,
					 .unit = run->unit && number == 0};
	stk_ema ema = {l->size, dim, l->codewords, l->counts, l->sums, l->idle, stk_malloc};
	stk_ema_rule rule = {run->decay, run->restart_after, km.unit, run->seed, number, step};
	uint16_t *codes = malloc(n * sizeof(uint16_t));
	float *residuals = malloc(n * dim * sizeof(float));
	double error;
	stk_status status = stk_kmeans_measure(w, x, n, dim);

	for (int turn = run->averages; turn < 2 && status == STK_OK; turn++)
	{
		status = stk_kmeans_assign(&km, w, x, n, codes, &error);
		if (status == STK_OK && turn == 0)
			status = stk_kmeans_add_batch(&km, w, x, n, codes);
	}
	if (status == STK_OK && number + 1 < run->nlevels)
		status = stk_train_rows_subtract(plain_exec(), x, n, dim, l->codewords, codes, number,
										 residuals, NULL);
	if (status == STK_OK && run->averages)
		status = stk_ema_update(&ema, &rule, plain_exec(), x, n, codes, NULL);
	for (size_t i = 0; i < n && status == STK_OK; i++)
		l->used[codes[i]] = 1;
	if (status == STK_OK)
		l->error += error;
	memcpy(x, residuals, n * dim * sizeof(float));
	free(codes);
	free(residuals);
	return status;
}

static inline void *
fake_copy(const void *from, size_t bytes)
{
	return from ? memcpy(malloc(bytes), from, bytes) : NULL;
}

static inline void
fake_give_back(void *to, void *from, size_t bytes, bool good)
{
	if (from && good)
		memcpy(to, from, bytes);
	free(from);
}

/* stk_accelerator_batches, by the processor, on copies. */
static inline stk_status
fake_batches(void *ctx, stk_accelerator_rows *r, stk_accelerator_batches *run,
			 const stk_monitor *monitor)
{
	fake_accelerator *f = ctx;
	bool fails = fake_fails(f, FAKE_BATCHES);
	stk_accelerator_level levels[STK_MAX_LEVELS];
	float *x = malloc(run->size * r->dim * sizeof(float));
	stk_kmeans_work w;
	uint32_t largest = 0;
	stk_status status;

	for (int i = 0; i < run->nlevels; i++)
	{
		const stk_accelerator_level *l = &run->levels[i];

		levels[i] =
			(stk_accelerator_level){l->size,
									fake_copy(l->codewords, l->size * r->dim * sizeof(float)),
									fake_copy(l->counts, l->size * sizeof(double)),
									fake_copy(l->sums, l->size * r->dim * sizeof(double)),
									fake_copy(l->idle, l->size * sizeof(uint32_t)),
									fake_copy(l->used, l->size),
									l->error};
		largest = l->size > largest ? l->size : largest;
	}
	status = stk_kmeans_work_init(&w, run->size, r->dim, largest, plain_exec());
	for (size_t first = 0, batch = 0; first < run->n && status == STK_OK;
		 first += run->size, batch++)
	{
		size_t n = run->n - first < run->size ? run->n - first : run->size;

		if (stk_should_stop(monitor))
			status = STK_ECANCELED;
		for (size_t i = 0; i < n; i++)
			memcpy(x + i * r->dim, r->x + run->places[first + i] * r->dim, r->dim * sizeof(float));
		for (int i = 0; i < run->nlevels && status == STK_OK; i++)
			status = fake_level(run, i, &levels[i], &w, run->step + (uint32_t) batch, x, n, r->dim);
	}
	stk_kmeans_work_free(&w);
	if (status == STK_OK && fails)
		status = f->fail_with;
	for (int i = 0; i < run->nlevels; i++)
	{
		stk_accelerator_level *l = &run->levels[i];
		bool good = status == STK_OK;

		fake_give_back(l->codewords, levels[i].codewords, l->size * r->dim * sizeof(float), good);
		fake_give_back(l->counts, levels[i].counts, l->size * sizeof(double), good);
		fake_give_back(l->sums, levels[i].sums, l->size * r->dim * sizeof(double), good);
		fake_give_back(l->idle, levels[i].idle, l->size * sizeof(uint32_t), good);
		fake_give_back(l->used, levels[i].used, l->size, good);
		if (good)
			l->error = levels[i].error;
	}
	free(x);
	return status;
}

struct stk_accelerator_codebook
{
	stk_rq *rq;
	int beam;
};

static inline stk_status
fake_codebook_create(void *ctx, const stk_codebook *cb, int beam, stk_accelerator_codebook **out)
{
	fake_accelerator *f = ctx;
	stk_accelerator_codebook *c;

	if (fake_fails(f, FAKE_CODEBOOK))
		return f->fail_with;
	c = calloc(1, sizeof(*c));
	c->beam = beam;
	if (stk_rq_create(cb, plain_exec(), STK_FILTER_NONE, &c->rq, NULL) != STK_OK)
		abort();
	f->live++;
	*out = c;
	return STK_OK;
}

static inline void
fake_codebook_free(void *ctx, stk_accelerator_codebook *c)
{
	((fake_accelerator *) ctx)->live--;
	stk_rq_free(c->rq);
	free(c);
}

static inline stk_status
fake_encode(void *ctx, stk_accelerator_rows *r, const stk_accelerator_codebook *c, uint16_t *codes,
			const stk_monitor *monitor)
{
	fake_accelerator *f = ctx;

	if (stk_should_stop(monitor))
		return STK_ECANCELED;
	if (fake_fails(f, FAKE_ENCODE))
		return f->fail_with;
	return stk_rq_encode(c->rq, plain_exec(), r->x, r->n, c->beam, codes, NULL, NULL);
}

/* A row's squared norm and distances, added to their lanes of a chunk. */
static inline bool
fake_measure_row(const stk_codebook *cb, const float *x, const uint16_t *codes, size_t row,
				 double (*lanes)[8])
{
	size_t dim = (size_t) cb->dim;
	float *prepared = malloc(2 * dim * sizeof(float));
	float *sum = prepared + dim;
	bool finite = true;

	plain_prepare(cb, x, prepared);
	for (int l = -1; l < cb->levels; l++)
	{
		double lane[8] = {0}, all;

		for (size_t i = 0; i < dim; i++)
		{
			double e;

			sum[i] = l < 0 ? -0.0f : sum[i] + cb->codewords[l][codes[l] * dim + i];
			e = (double) prepared[i] - (double) sum[i];
			lane[i % 8] += e * e;
		}
		all = ((lane[0] + lane[4]) + (lane[2] + lane[6])) +
			  ((lane[1] + lane[5]) + (lane[3] + lane[7]));
		lanes[l + 1][row % 8] += all;
		finite &= isfinite(all) != 0;
	}
	free(prepared);
	return finite;
}

static inline stk_status
fake_evaluate(void *ctx, const stk_accelerator_codebook *c, stk_accelerator_evaluation *run,
			  const stk_monitor *monitor)
{
	fake_accelerator *f = ctx;
	const stk_codebook *cb = stk_rq_codebook(c->rq);
	size_t levels = (size_t) cb->levels, dim = (size_t) cb->dim;
	double(*lanes)[8] = malloc((levels + 1) * sizeof(*lanes));
	bool fine = run->n % STK_SUM_CHUNK == 0;

	if (stk_should_stop(monitor) || fake_fails(f, FAKE_EVALUATE))
	{
		free(lanes);
		return stk_should_stop(monitor) ? STK_ECANCELED : f->fail_with;
	}
	fine = fine && stk_rq_encode(c->rq, plain_exec(), run->x, run->n, c->beam, run->codes, NULL,
								 NULL) == STK_OK;
	for (size_t first = 0; first < run->n && fine; first += STK_SUM_CHUNK)
	{
		memset(lanes, 0, (levels + 1) * sizeof(*lanes));
		for (size_t i = first; i < first + STK_SUM_CHUNK; i++)
			fine &= fake_measure_row(cb, run->x + i * dim, run->codes + i * levels, i, lanes);
		for (size_t l = 0; l <= levels; l++)
			run->sums[first / STK_SUM_CHUNK * (levels + 1) + l] = stk_add_lanes(lanes[l]);
	}
	free(lanes);
	return fine ? STK_OK : STK_ERANGE;
}

static inline stk_status
fake_normal(void *ctx, stk_accelerator_rows *r, stk_accelerator_normal *run,
			const stk_monitor *monitor)
{
	fake_accelerator *f = ctx;
	bool fails = fake_fails(f, FAKE_NORMAL);
	size_t total = 0, dim = r->dim, firsts[STK_MAX_LEVELS];
	double *chunk = calloc(dim, sizeof(double));

	for (int l = 0; l < run->levels; total += run->sizes[l++])
		firsts[l] = total;
	for (size_t k = 0; k < total; k++)
	{
		memset(run->right + k * run->right_stride, 0, dim * sizeof(double));
		memset(run->pairs + k * run->pairs_stride, 0, total * sizeof(uint32_t));
	}
	memset(run->squares, 0, dim * sizeof(double));
	for (size_t row = 0; row < r->n; row++)
	{
		const uint16_t *codes = run->codes + row * (size_t) run->levels;
		bool last = (row + 1) % STK_SUM_CHUNK == 0 || row + 1 == r->n;

		for (size_t i = 0; i < dim; i++)
		{
			double e = r->x[row * dim + i];

			for (int l = 0; l < run->levels; l++)
				e -= (double) run->codewords[(firsts[l] + codes[l]) * dim + i];
			for (int l = 0; l < run->levels; l++)
				run->right[(firsts[l] + codes[l]) * run->right_stride + i] += e;
			chunk[i] += e * e;
			if (last)
				run->squares[i] += chunk[i];
			if (last)
				chunk[i] = 0;
		}
		for (int l = 0; l < run->levels; l++)
			for (int m = l; m < run->levels; m++)
				run->pairs[(firsts[l] + codes[l]) * run->pairs_stride + firsts[m] + codes[m]]++;
	}
	free(chunk);
	return stk_should_stop(monitor) ? STK_ECANCELED : fails ? f->fail_with : STK_OK;
}

static inline const stk_accelerator *
fake_init(fake_accelerator *f)
{
	*f = (fake_accelerator){.fail_with = STK_ENOMEM,
							.ops = {.rows_create = fake_rows_create,
									.rows_free = fake_rows_free,
									.measure = fake_measure,
									.nearest = fake_nearest,
									.lloyd = fake_lloyd,
									.subtract = fake_subtract,
									.batches = fake_batches,
									.codebook_create = fake_codebook_create,
									.codebook_free = fake_codebook_free,
									.encode = fake_encode,
									.evaluate = fake_evaluate,
									.normal = fake_normal}};
	f->accelerator = (stk_accelerator){&f->ops, f};
	return &f->accelerator;
}

#endif
