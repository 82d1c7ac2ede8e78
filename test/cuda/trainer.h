/*
 * What the tests and measurements of training on a device share: its accelerator, watched, all of
 * this machine's cores, and what a training gives.
 */
#ifndef TEST_CUDA_TRAINER_H
#define TEST_CUDA_TRAINER_H

#include "core/train_rows.h"
#include "device.h"
#include "train_cuda.h"

#define MOST_REPORTS 512

/* The device's accelerator, each function of which is to succeed. */
typedef struct spy
{
	const stk_accelerator *of;
	stk_accelerator accelerator;
	unsigned long lloyds;
	unsigned long nearests;
	unsigned long batches;
	unsigned long encodings;
	unsigned long evaluations;
	unsigned long normals;
	unsigned long failures;
} spy;

static inline stk_status
spied(spy *s, stk_status status)
{
	s->failures += status != STK_OK && status != STK_ECANCELED;
	return status;
}

static inline stk_status
spy_create(void *ctx, const float *x, size_t n, size_t dim, const stk_monitor *monitor,
		   stk_accelerator_rows **out)
{
	spy *s = ctx;

	return spied(s, s->of->ops->rows_create(s->of->ctx, x, n, dim, monitor, out));
}

static inline void
spy_free(void *ctx, stk_accelerator_rows *rows)
{
	spy *s = ctx;

	s->of->ops->rows_free(s->of->ctx, rows);
}

static inline stk_status
spy_measure(void *ctx, stk_accelerator_rows *rows, double *norms, const stk_monitor *monitor)
{
	spy *s = ctx;

	return spied(s, s->of->ops->measure(s->of->ctx, rows, norms, monitor));
}

static inline stk_status
spy_nearest(void *ctx, stk_accelerator_rows *rows, const stk_accelerator_centroids *c,
			uint16_t *codes, double *scores, const stk_monitor *monitor)
{
	spy *s = ctx;

	s->nearests++;
	return spied(s, s->of->ops->nearest(s->of->ctx, rows, c, codes, scores, monitor));
}

static inline stk_status
spy_lloyd(void *ctx, stk_accelerator_rows *rows, stk_accelerator_lloyd *run,
		  const stk_monitor *monitor)
{
	spy *s = ctx;

	s->lloyds++;
	return spied(s, s->of->ops->lloyd(s->of->ctx, rows, run, monitor));
}

static inline stk_status
spy_subtract(void *ctx, stk_accelerator_rows *rows, const stk_accelerator_centroids *c,
			 const uint16_t *codes, const stk_monitor *monitor)
{
	spy *s = ctx;

	return spied(s, s->of->ops->subtract(s->of->ctx, rows, c, codes, monitor));
}

static inline stk_status
spy_batches(void *ctx, stk_accelerator_rows *rows, stk_accelerator_batches *run,
			const stk_monitor *monitor)
{
	spy *s = ctx;
	stk_status status = s->of->ops->batches(s->of->ctx, rows, run, monitor);

	s->batches++;
	/* No failure of the device's. */
	return status == STK_ERANGE ? status : spied(s, status);
}

static inline stk_status
spy_codebook_create(void *ctx, const stk_codebook *cb, int beam, stk_accelerator_codebook **out)
{
	spy *s = ctx;

	return spied(s, s->of->ops->codebook_create(s->of->ctx, cb, beam, out));
}

static inline void
spy_codebook_free(void *ctx, stk_accelerator_codebook *cb)
{
	spy *s = ctx;

	s->of->ops->codebook_free(s->of->ctx, cb);
}

static inline stk_status
spy_encode(void *ctx, stk_accelerator_rows *rows, const stk_accelerator_codebook *cb,
		   uint16_t *codes, const stk_monitor *monitor)
{
	spy *s = ctx;
	stk_status status = s->of->ops->encode(s->of->ctx, rows, cb, codes, monitor);

	s->encodings++;
	return status == STK_ERANGE ? status : spied(s, status);
}

static inline stk_status
spy_evaluate(void *ctx, const stk_accelerator_codebook *cb, stk_accelerator_evaluation *run,
			 const stk_monitor *monitor)
{
	spy *s = ctx;
	stk_status status = s->of->ops->evaluate(s->of->ctx, cb, run, monitor);

	s->evaluations++;
	return status == STK_ERANGE ? status : spied(s, status);
}

static inline stk_status
spy_normal(void *ctx, stk_accelerator_rows *rows, stk_accelerator_normal *run,
		   const stk_monitor *monitor)
{
	spy *s = ctx;

	s->normals++;
	return spied(s, s->of->ops->normal(s->of->ctx, rows, run, monitor));
}

static const stk_accelerator_ops spy_ops = {.rows_create = spy_create,
											.rows_free = spy_free,
											.measure = spy_measure,
											.nearest = spy_nearest,
											.lloyd = spy_lloyd,
											.subtract = spy_subtract,
											.batches = spy_batches,
											.codebook_create = spy_codebook_create,
											.codebook_free = spy_codebook_free,
											.encode = spy_encode,
											.evaluate = spy_evaluate,
											.normal = spy_normal};

/* The first device; one spy for all. */
static inline spy *
the_spy(void)
{
	static stk_gpu gpus[STK_MAX_GPUS];
	static stk_trainer *trainer;
	static spy s;
	stk_error err = {.level = -1};
	int n;

	if (!trainer)
	{
		must(stk_gpus_open("all", gpus, &n, &err) == STK_OK, "device", err.message);
		must(stk_trainer_create(&gpus[0], &trainer, &err) == STK_OK, "trainer", err.message);
		s.of = stk_trainer_accelerator(trainer);
		s.accelerator = (stk_accelerator){&spy_ops, &s};
	}
	return &s;
}

/* All cores, and the accelerator or none. */
static inline stk_exec
exec_of(const stk_accelerator *a, size_t work)
{
	static stk_crew *crew;
	stk_exec exec = *plain_exec();

	if (!crew)
		must(stk_crew_start((int) sysconf(_SC_NPROCESSORS_ONLN), &crew) == STK_OK, "crew", "");
	if (work > 1000000)
		exec.pool = stk_crew_pool(crew, STK_URGENT);
	exec.accelerator = a;
	return exec;
}

/* What a training gives. */
typedef struct outcome
{
	stk_status status;
	stk_error err;
	size_t total;
	size_t dim;
	float *codewords;
	double *counts;
	stk_train_progress said[MOST_REPORTS];
	int reports;
} outcome;

static inline void
take_report(void *ctx, const stk_train_progress *p)
{
	outcome *o = ctx;

	must(o->reports < MOST_REPORTS, "reports", "too many");
	o->said[o->reports++] = *p;
}

/* Room for what a training of `total` codewords in all gives. */
static inline outcome *
outcome_create(size_t total, size_t dim)
{
	outcome *o = calloc(1, sizeof(*o));

	o->total = total;
	o->dim = dim;
	o->err.level = -1;
	o->codewords = calloc(total * dim, sizeof(float));
	o->counts = calloc(total, sizeof(double));
	return o;
}

static inline void
outcome_free(outcome *o)
{
	free(o->codewords);
	free(o->counts);
	free(o);
}

/* Numbers that differ between two trainings. */
static inline unsigned long
differ(const outcome *a, const outcome *b)
{
	unsigned long wrong = 0;

	if (a->status != b->status)
		return 1;
	if (a->status != STK_OK)
		return a->err.row != b->err.row || a->err.level != b->err.level;
	for (size_t i = 0; i < a->total * a->dim; i++)
		wrong += memcmp(&a->codewords[i], &b->codewords[i], sizeof(float)) != 0;
	for (size_t k = 0; k < a->total; k++)
		wrong += memcmp(&a->counts[k], &b->counts[k], sizeof(double)) != 0;
	if (a->reports != b->reports)
		return wrong + 1;
	for (int i = 0; i < a->reports; i++)
	{
		const stk_train_progress *p = &a->said[i];
		const stk_train_progress *q = &b->said[i];

		wrong += p->level != q->level || p->epoch != q->epoch || p->empty != q->empty ||
				 memcmp(&p->objective, &q->objective, sizeof(double)) != 0;
	}
	return wrong;
}

#endif
