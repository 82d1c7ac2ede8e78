#include <math.h>
#include <string.h>

#include "dot.h"
#include "fpenv.h"
#include "rq_impl.h"

/* Rows of a task on a pool. */
#define TASK_ROWS 240
/* Numbers of the latent vectors of a piece, about. */
#define LATENT_FLOATS ((size_t) 1 << 21)

stk_error *
stk_rq_place(stk_error *err, size_t row, int level)
{
	if (err)
	{
		err->row = row;
		err->level = level;
	}
	return err;
}

stk_status
stk_rq_out_of_range(stk_error *err, size_t row, int level)
{
	return stk_fail(stk_rq_place(err, row, level), STK_ERANGE,
					"residual of level %d is out of range for type real", level);
}

stk_status
stk_rq_prepare(const stk_codebook *cb, const stk_reference *reference, const float *x, float *out,
			   size_t row, stk_error *err)
{
	size_t dim = (size_t) cb->dim;
	double norm;

	if (!reference->finite(x, dim))
		return stk_fail(stk_rq_place(err, row, -1), STK_EINVAL, "embedding holds NaN or infinity");
	if (cb->metric != STK_COSINE)
	{
		memmove(out, x, dim * sizeof(float));
		return STK_OK;
	}
	norm = sqrt(stk_dot(x, x, dim));
	if (norm == 0)
		return stk_fail(stk_rq_place(err, row, -1), STK_EINVAL,
						"a zero vector has no direction for the cosine metric");
	for (size_t i = 0; i < dim; i++)
		out[i] = (float) ((double) x[i] / norm);
	return STK_OK;
}

/* STK_EINVAL when a codeword is not finite; STK_ECANCELED. */
static stk_status
check_codewords(const stk_codebook *cb, const stk_exec *exec, stk_error *err)
{
	size_t look = stk_rows_a_look((size_t) cb->dim);

	for (int l = 0; l < cb->levels; l++)
	{
		for (size_t k = 0; k < cb->sizes[l]; k += look)
		{
			size_t n = cb->sizes[l] - k < look ? cb->sizes[l] - k : look;

			if (stk_should_stop(exec->monitor))
				return STK_ECANCELED;
			/* Which one it is takes longer to say. */
			if (!exec->cpu->reference->finite(cb->codewords[l] + k * (size_t) cb->dim,
											  n * (size_t) cb->dim))
				return stk_codebook_check_finite(cb, err);
		}
	}
	return cb->network.inputs ? stk_network_check_values(&cb->network, err) : STK_OK;
}

stk_status
stk_rq_create(const stk_codebook *cb, const stk_exec *exec, stk_filter filter, stk_rq **out,
			  stk_error *err)
{
	stk_status status = check_codewords(cb, exec, err);
	stk_rq *rq;
	stk_fpenv env;

	*out = NULL;
	if (status != STK_OK)
		return status;
	rq = stk_alloc_array(&exec->a, 1, sizeof(stk_rq));
	if (!rq)
		return STK_ENOMEM;
	memset(rq, 0, sizeof(*rq));
	rq->cb = *cb;
	rq->a = exec->a;
	env = stk_fpenv_enter();
	for (int l = 0; l < cb->levels && status == STK_OK; l++)
	{
		status = stk_pack_init(&rq->packs[l], exec, filter, true, cb->sizes[l], (size_t) cb->dim,
							   cb->metric == STK_IP);
		if (status == STK_OK)
			status = stk_pack_fill(&rq->packs[l], cb->codewords[l], exec->monitor);
		rq->largest = cb->sizes[l] > rq->largest ? cb->sizes[l] : rq->largest;
	}
	stk_fpenv_leave(env);
	if (status == STK_OK)
		*out = rq;
	else
		stk_rq_free(rq);
	return status;
}

stk_status
stk_rq_prepare_beam(stk_rq *rq, const stk_exec *exec)
{
	stk_status status;
	stk_fpenv env;

	if (rq->tables || !rq->packs[0].kernel)
		return STK_OK;
	env = stk_fpenv_enter();
	status = stk_beam_tables_create(&rq->cb, exec, &rq->a, &rq->tables);
	stk_fpenv_leave(env);
	return status;
}

void
stk_rq_free(stk_rq *rq)
{
	stk_allocator a;

	if (!rq)
		return;
	a = rq->a;
	for (int l = 0; l < rq->cb.levels; l++)
		stk_pack_free(&rq->packs[l]);
	stk_beam_tables_free(rq->tables);
	stk_free(&a, rq);
}

const stk_codebook *
stk_rq_codebook(const stk_rq *rq)
{
	return &rq->cb;
}

const stk_pack *
stk_rq_pack(const stk_rq *rq, int level)
{
	return &rq->packs[level];
}

size_t
stk_rq_bytes(const stk_rq *rq)
{
	size_t bytes = sizeof(*rq);

	for (int l = 0; l < rq->cb.levels; l++)
		bytes += rq->packs[l].bytes;
	if (rq->tables)
		bytes += rq->tables->bytes;
	return bytes;
}

/* What encoding a block of rows needs, once for each thread. */
typedef struct greedy_work
{
	float *residuals; /* [TASK_ROWS][dim] */
	uint8_t *nearest; /* stk_nearest's scratch */
	uint16_t *codes;  /* [TASK_ROWS] of one level */
	stk_nearest_stats stats;
	stk_status status;
	stk_error err; /* where, when status says so */
} greedy_work;

/* Greedy encoding of up to TASK_ROWS rows, of which the first has number `first`. */
static stk_status
encode_block(const stk_rq *rq, const float *x, size_t n, size_t first, greedy_work *w,
			 uint16_t *codes, const stk_monitor *monitor, stk_error *err)
{
	const stk_reference *reference = rq->packs[0].cpu->reference;
	size_t dim = (size_t) rq->cb.dim;
	int levels = rq->cb.levels;

	for (size_t r = 0; r < n; r++)
	{
		stk_status status =
			stk_rq_prepare(&rq->cb, reference, x + r * dim, w->residuals + r * dim, first + r, err);

		if (status != STK_OK)
			return status;
	}
	for (int l = 0; l < levels; l++)
	{
		const stk_pack *p = &rq->packs[l];
		stk_status status =
			stk_nearest(p, w->nearest, w->residuals, n, w->codes, NULL, &w->stats, monitor);

		if (status != STK_OK)
			return status;
		for (size_t r = 0; r < n; r++)
		{
			float *row = w->residuals + r * dim;

			codes[r * levels + l] = w->codes[r];
			if (l + 1 < levels &&
				!reference->subtract(row, p->codewords + w->codes[r] * dim, dim, row))
				return stk_rq_out_of_range(err, first + r, l + 1);
		}
	}
	return STK_OK;
}

/* stk_rq_encode's greedy way, shared by its tasks. */
typedef struct greedy_job
{
	const stk_rq *rq;
	const stk_exec *exec;
	const float *x;
	size_t n;
	uint16_t *codes;
	greedy_work *work; /* [threads] */
} greedy_job;

static void
encode_task(void *arg, size_t index, int thread)
{
	greedy_job *j = arg;
	greedy_work *w = &j->work[thread];
	size_t dim = (size_t) j->rq->cb.dim;
	size_t first = index * TASK_ROWS;
	size_t n = j->n - first < TASK_ROWS ? j->n - first : TASK_ROWS;
	const stk_monitor *monitor = j->exec->monitor;
	stk_error err = {.level = -1};
	stk_status status;

	if (w->status == STK_ECANCELED || (w->status != STK_OK && w->err.row < first))
		return;
	status = encode_block(j->rq, j->x + first * dim, n, first, w,
						  j->codes + first * j->rq->cb.levels, monitor, &err);
	/* Row by row, to name the first that fails. */
	for (size_t r = first; r < first + n && status != STK_OK && status != STK_ECANCELED; r++)
	{
		stk_status one = encode_block(j->rq, j->x + r * dim, 1, r, w,
									  j->codes + r * j->rq->cb.levels, monitor, &err);

		if (one != STK_OK)
		{
			status = one;
			break;
		}
	}
	if (status != STK_OK)
	{
		w->status = status;
		w->err = err;
	}
}

static void
greedy_work_free(greedy_work *work, size_t threads, const stk_allocator *a)
{
	for (size_t t = 0; t < threads && work; t++)
	{
		stk_free(a, work[t].residuals);
		stk_free(a, work[t].nearest);
		stk_free(a, work[t].codes);
	}
	stk_free(a, work);
}

static greedy_work *
greedy_work_create(const stk_rq *rq, size_t n, size_t threads, const stk_allocator *a)
{
	size_t rows = n < TASK_ROWS ? n : TASK_ROWS;
	greedy_work *work = stk_alloc_array(a, threads, sizeof(greedy_work));
	size_t scratch = 0;
	bool whole = work != NULL;

	for (int l = 0; l < rq->cb.levels; l++)
	{
		size_t bytes = stk_nearest_scratch(&rq->packs[l], rows);

		scratch = bytes > scratch ? bytes : scratch;
	}
	if (work)
		memset(work, 0, threads * sizeof(greedy_work));
	for (size_t t = 0; t < threads && whole; t++)
	{
		work[t].residuals = stk_alloc_array(a, rows, (size_t) rq->cb.dim * sizeof(float));
		work[t].nearest = stk_alloc_array(a, scratch, 1);
		work[t].codes = stk_alloc_array(a, rows, sizeof(uint16_t));
		whole = work[t].residuals && work[t].nearest && work[t].codes;
	}
	if (whole)
		return work;
	greedy_work_free(work, threads, a);
	return NULL;
}

/* The first row's error among the threads', or their being stopped. */
static stk_status
first_error(const greedy_work *work, size_t threads, stk_error *err)
{
	const greedy_work *first = NULL;

	for (size_t t = 0; t < threads; t++)
	{
		if (work[t].status == STK_ECANCELED)
			return STK_ECANCELED;
		if (work[t].status != STK_OK && (!first || work[t].err.row < first->err.row))
			first = &work[t];
	}
	if (!first)
		return STK_OK;
	if (err)
		*err = first->err;
	return first->status;
}

static stk_status
encode_greedy(const stk_rq *rq, const stk_exec *exec, const float *x, size_t n, uint16_t *codes,
			  stk_nearest_stats *stats, stk_error *err)
{
	size_t threads = (size_t) stk_threads(exec->pool);
	greedy_job job = {.rq = rq, .exec = exec, .x = x, .n = n, .codes = codes};
	stk_status status;

	job.work = greedy_work_create(rq, n, threads, &exec->a);
	if (!job.work)
		return STK_ENOMEM;
	stk_run(exec->pool, encode_task, &job, (n + TASK_ROWS - 1) / TASK_ROWS);
	status = first_error(job.work, threads, err);
	for (size_t t = 0; t < threads && stats; t++)
		stk_nearest_stats_add(stats, &job.work[t].stats);
	greedy_work_free(job.work, threads, &exec->a);
	return status;
}

/* x [n][dim] as the codewords have it. */
static stk_status
encode_vectors(const stk_rq *rq, const stk_exec *exec, const float *x, size_t n, int beam,
			   uint16_t *codes, stk_nearest_stats *stats, stk_error *err)
{
	return beam > 1 ? stk_rq_encode_beam(rq, exec, x, n, beam, codes, stats, err)
					: encode_greedy(rq, exec, x, n, codes, stats, err);
}

/*
 * Rows through the network, then its latent vectors z [n][dim]. Where a row fails on its way, one
 * before it may yet fail in the other half.
 */
static stk_status
encode_embeddings(const stk_rq *rq, const stk_exec *exec, const float *x, size_t n, float *z,
				  int beam, uint16_t *codes, stk_nearest_stats *stats, stk_error *err)
{
	stk_error why = {.level = -1};
	stk_status status = stk_network_encode(&rq->cb.network, exec, x, n, z, &why);
	stk_status second = STK_OK;

	if (status == STK_EINVAL || status == STK_ERANGE)
		n = why.row;
	else if (status != STK_OK)
		return status;
	if (n > 0)
		second = encode_vectors(rq, exec, z, n, beam, codes, stats, err);
	if (second != STK_OK)
		return second;
	if (status != STK_OK && err)
		*err = why;
	return status;
}

/* Piece by piece, so that latent vectors need no more than some megabytes. */
static stk_status
encode_pieces(const stk_rq *rq, const stk_exec *exec, const float *x, size_t n, int beam,
			  uint16_t *codes, stk_nearest_stats *stats, stk_error *err)
{
	size_t dim = (size_t) rq->cb.dim;
	size_t piece = LATENT_FLOATS / dim + TASK_ROWS;
	float *z = stk_alloc_array(&exec->a, n < piece ? n : piece, dim * sizeof(float));
	stk_status status = z ? STK_OK : STK_ENOMEM;

	for (size_t first = 0; first < n && status == STK_OK; first += piece)
	{
		status = encode_embeddings(rq, exec, x + first * rq->cb.network.inputs,
								   n - first < piece ? n - first : piece, z, beam,
								   codes + first * (size_t) rq->cb.levels, stats, err);
		if (err && (status == STK_EINVAL || status == STK_ERANGE))
			err->row += first;
	}
	stk_free(&exec->a, z);
	return status;
}

stk_status
stk_rq_encode(const stk_rq *rq, const stk_exec *exec, const float *x, size_t n, int beam,
			  uint16_t *codes, stk_nearest_stats *stats, stk_error *err)
{
	stk_status status;
	stk_fpenv env;

	if (beam < 1)
		return stk_fail(err, STK_EINVAL, "beam width must be at least 1");
	if (n == 0)
		return STK_OK;
	env = stk_fpenv_enter();
	if (rq->cb.network.inputs)
		status = encode_pieces(rq, exec, x, n, beam, codes, stats, err);
	else
		status = encode_vectors(rq, exec, x, n, beam, codes, stats, err);
	stk_fpenv_leave(env);
	return status;
}

stk_status
stk_rq_latent(const stk_codebook *cb, const stk_exec *exec, const float **x, float **made,
			  stk_error *err)
{
	stk_status status;

	*made = NULL;
	if (!cb->network.inputs)
		return STK_OK;
	*made = stk_alloc_array(&exec->a, (size_t) cb->dim, sizeof(float));
	if (!*made)
		return STK_ENOMEM;
	status = stk_network_encode(&cb->network, exec, *x, 1, *made, err);
	*x = *made;
	return status;
}

stk_status
stk_rq_decode(const stk_codebook *cb, const uint16_t *codes, int levels, float *x, stk_error *err)
{
	size_t dim = (size_t) cb->dim;
	bool finite = true;
	stk_fpenv env;

	if (levels < 1 || levels > cb->levels)
		return stk_fail(err, STK_EINVAL, "expected 1 to %d levels, not %d", cb->levels, levels);
	for (int l = 0; l < levels; l++)
	{
		if (codes[l] >= cb->sizes[l])
			return stk_fail(stk_rq_place(err, 0, l), STK_EINVAL,
							"code %d of level %d is not in the codebook", codes[l], l);
	}

	env = stk_fpenv_enter();
	memcpy(x, cb->codewords[0] + codes[0] * dim, dim * sizeof(float));
	for (int l = 1; l < levels && finite; l++)
	{
		const float *c = cb->codewords[l] + codes[l] * dim;

		for (size_t i = 0; i < dim; i++)
		{
			x[i] += c[i];
			finite &= isfinite(x[i]) != 0;
		}
		if (!finite)
			stk_rq_place(err, 0, l);
	}
	stk_fpenv_leave(env);
	if (!finite)
		return stk_fail(err, STK_ERANGE, "sum of the codewords is out of range for type real");
	return STK_OK;
}

stk_status
stk_rq_prepare_row(const stk_codebook *cb, const float *x, float *out, stk_error *err)
{
	stk_fpenv env = stk_fpenv_enter();
	stk_status status = stk_rq_prepare(cb, &stk_reference_scalar, x, out, 0, err);

	stk_fpenv_leave(env);
	return status;
}

stk_status
stk_rq_reconstruct(const stk_codebook *cb, const stk_exec *exec, const uint16_t *codes, int levels,
				   float *x, stk_error *err)
{
	float *z;
	stk_status status;

	if (!cb->network.inputs)
		return stk_rq_decode(cb, codes, levels, x, err);
	z = stk_alloc_array(&exec->a, (size_t) cb->dim, sizeof(float));
	if (!z)
		return STK_ENOMEM;
	status = stk_rq_decode(cb, codes, levels, z, err);
	if (status == STK_OK)
		status = stk_network_decode(&cb->network, exec, z, 1, x, err);
	stk_free(&exec->a, z);
	return status;
}
