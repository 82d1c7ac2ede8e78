/*
 * Beam encoding by the reference alone: every child of every kept prefix is scored in binary64.
 */
#include <string.h>

#include "dot.h"
#include "fpenv.h"
#include "rq_impl.h"

size_t
stk_rq_beam_width(const stk_codebook *cb, int beam)
{
	size_t prefixes = 1;

	/* No more than there are prefixes of the levels that hand a residual on. */
	for (int l = 0; l + 1 < cb->levels && prefixes < (size_t) beam; l++)
		prefixes *= cb->sizes[l];
	return prefixes < (size_t) beam ? prefixes : (size_t) beam;
}

/* Is candidate p better than q? By key, s, then code sequence; level is theirs. */
static bool
better(const stk_beam_candidate *p, const stk_beam_candidate *q, const stk_beam_codes *parents,
	   int level)
{
	if (p->key != q->key)
		return p->key < q->key;
	if (p->s != q->s)
		return p->s < q->s;
	for (int l = 0; l < level; l++)
	{
		uint16_t a = parents[p->parent][l];
		uint16_t b = parents[q->parent][l];

		if (a != b)
			return a < b;
	}
	return p->code < q->code;
}

/* Let the top of a heap of n sink to its place. */
static void
sift_down(stk_beam_candidate *heap, size_t n, const stk_beam_codes *parents, int level)
{
	stk_beam_candidate c = heap[0];
	size_t at = 0;

	for (;;)
	{
		size_t child = 2 * at + 1;

		if (child >= n)
			break;
		if (child + 1 < n && better(&heap[child], &heap[child + 1], parents, level))
			child++;
		if (!better(&c, &heap[child], parents, level))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = c;
}

static void
sift_up(stk_beam_candidate *heap, size_t at, const stk_beam_codes *parents, int level)
{
	stk_beam_candidate c = heap[at];

	while (at > 0 && better(&heap[(at - 1) / 2], &c, parents, level))
	{
		heap[at] = heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	heap[at] = c;
}

void
stk_beam_offer(stk_beam_candidate *heap, size_t *n, size_t keep, stk_beam_candidate c,
			   const stk_beam_codes *parents, int level)
{
	if (*n < keep)
	{
		heap[*n] = c;
		sift_up(heap, (*n)++, parents, level);
	}
	else if (better(&c, &heap[0], parents, level))
	{
		heap[0] = c;
		sift_down(heap, *n, parents, level);
	}
}

/* What a row needs, once for each thread; the previous level's and this level's in turns. */
typedef struct beam_work
{
	double *keys[2];          /* [width] */
	stk_beam_codes *codes[2]; /* [width] */
	float *residuals[2];      /* [width][dim] */
	stk_beam_candidate *heap; /* [width, or as many ids as are wanted] */
	double *scores;           /* [STK_NEAREST_ROWS][largest size] */
	double *wide;             /* [STK_NEAREST_ROWS + 1][wide dim] */
	stk_rq_failure failure;
} beam_work;

static void
work_free(beam_work *work, size_t threads, const stk_allocator *a)
{
	for (size_t t = 0; t < threads && work; t++)
	{
		for (int i = 0; i < 2; i++)
		{
			stk_free(a, work[t].keys[i]);
			stk_free(a, work[t].codes[i]);
			stk_free(a, work[t].residuals[i]);
		}
		stk_free(a, work[t].heap);
		stk_free(a, work[t].scores);
		stk_free(a, work[t].wide);
	}
	stk_free(a, work);
}

static beam_work *
work_create(const stk_rq *rq, size_t width, size_t keep, size_t threads, const stk_allocator *a)
{
	size_t dim = (size_t) rq->cb.dim;
	beam_work *work = stk_alloc_array(a, threads, sizeof(beam_work));
	bool whole = work != NULL;

	if (work)
		memset(work, 0, threads * sizeof(beam_work));
	for (size_t t = 0; t < threads && whole; t++)
	{
		beam_work *b = &work[t];

		for (int i = 0; i < 2; i++)
		{
			b->keys[i] = stk_alloc_array(a, width, sizeof(double));
			b->codes[i] = stk_alloc_array(a, width, sizeof(stk_beam_codes));
			b->residuals[i] = stk_alloc_array(a, width, dim * sizeof(float));
			whole = whole && b->keys[i] && b->codes[i] && b->residuals[i];
		}
		b->heap = stk_alloc_array(a, keep > width ? keep : width, sizeof(stk_beam_candidate));
		b->scores = stk_alloc_array(a, STK_NEAREST_ROWS * (size_t) rq->largest, sizeof(double));
		b->wide = stk_alloc_array(a, (STK_NEAREST_ROWS + 1) * stk_wide_dim(dim), sizeof(double));
		whole = whole && b->heap && b->scores && b->wide;
	}
	if (whole)
		return work;
	work_free(work, threads, a);
	return NULL;
}

/* Fill b->heap with the best `keep` prefixes of this level; *kept says how many there are. */
static stk_status
select_best(const stk_rq *rq, beam_work *b, int side, size_t parents, int level, size_t keep,
			size_t *kept, const stk_monitor *monitor)
{
	const stk_pack *t = &rq->packs[level];

	*kept = 0;
	for (size_t first = 0; first < parents; first += STK_NEAREST_ROWS)
	{
		size_t rows = parents - first < STK_NEAREST_ROWS ? parents - first : STK_NEAREST_ROWS;
		stk_status status = stk_all_scores(t, b->wide, b->residuals[side] + first * t->dim, rows,
										   b->scores, monitor);

		if (status != STK_OK)
			return status;
		for (size_t r = 0; r < rows; r++)
		{
			const double *s = b->scores + r * t->size;
			double d = b->keys[side][first + r];

			for (uint32_t k = 0; k < t->size; k++)
			{
				stk_beam_candidate c = {d + 2 * s[k], s[k], (uint32_t) (first + r), (uint16_t) k,
										0};

				stk_beam_offer(b->heap, kept, keep, c, b->codes[side], level);
			}
		}
	}
	return STK_OK;
}

/*
 * Search for the best `keep` ids of a row. *found of them are then in b->heap, the worst on top,
 * and the prefixes that they extend in b->codes[*side].
 */
static stk_status
search_row(const stk_rq *rq, beam_work *b, size_t width, size_t keep, const float *x, size_t row,
		   int *side, size_t *found, const stk_monitor *monitor, stk_error *err)
{
	const stk_reference *reference = rq->packs[0].cpu->reference;
	size_t dim = (size_t) rq->cb.dim;
	int last = rq->cb.levels - 1;
	size_t parents = 1;
	stk_status status = stk_rq_prepare(&rq->cb, reference, x, b->residuals[0], row, err);

	*side = 0;
	if (status != STK_OK)
		return status;
	b->keys[0][0] = stk_dot(b->residuals[0], b->residuals[0], dim);
	for (int l = 0; l < last; l++)
	{
		size_t kept;

		status = select_best(rq, b, *side, parents, l, width, &kept, monitor);
		if (status != STK_OK)
			return status;
		for (size_t i = 0; i < kept; i++)
		{
			const stk_beam_candidate *c = &b->heap[i];
			const float *codeword = rq->cb.codewords[l] + (size_t) c->code * dim;

			b->keys[!*side][i] = c->key;
			memcpy(b->codes[!*side][i], b->codes[*side][c->parent], (size_t) l * sizeof(uint16_t));
			b->codes[!*side][i][l] = c->code;
			if (!reference->subtract(b->residuals[*side] + c->parent * dim, codeword, dim,
									 b->residuals[!*side] + i * dim))
				return stk_rq_out_of_range(err, row, l + 1);
		}
		parents = kept;
		*side = !*side;
	}
	return select_best(rq, b, *side, parents, last, keep, found, monitor);
}

/* Codes of an id that search_row found. */
static void
copy_codes(const beam_work *b, int side, int last, const stk_beam_candidate *c, uint16_t *codes)
{
	memcpy(codes, b->codes[side][c->parent], (size_t) last * sizeof(uint16_t));
	codes[last] = c->code;
}

stk_status
stk_rq_encode_best(const stk_rq *rq, const stk_exec *exec, const float *x, int beam, size_t keep,
				   uint16_t *codes, double *keys, size_t *found, stk_error *err)
{
	size_t width = stk_rq_beam_width(&rq->cb, beam);
	int last = rq->cb.levels - 1;
	float *latent;
	stk_status status;
	beam_work *b;
	stk_fpenv env;
	int side;

	*found = 0;
	if (beam < 1 || keep < 1)
		return stk_fail(err, STK_EINVAL, "beam width and number of ids must be at least 1");
	b = work_create(rq, width, keep, 1, &exec->a);
	if (!b)
		return STK_ENOMEM;
	env = stk_fpenv_enter();
	status = stk_rq_latent(&rq->cb, exec, &x, &latent, err);
	if (status == STK_OK)
		status = search_row(rq, b, width, keep, x, 0, &side, found, exec->monitor, err);
	stk_free(&exec->a, latent);
	/* The worst of the heap is the last of those that are left. */
	for (size_t n = status == STK_OK ? *found : 0; n > 0; n--)
	{
		stk_beam_candidate worst = b->heap[0];

		copy_codes(b, side, last, &worst, codes + (n - 1) * (size_t) rq->cb.levels);
		keys[n - 1] = worst.key;
		b->heap[0] = b->heap[n - 1];
		sift_down(b->heap, n - 1, (const stk_beam_codes *) b->codes[side], last);
	}
	stk_fpenv_leave(env);
	work_free(b, 1, &exec->a);
	return status;
}

/* One call, shared by its tasks of one row each. */
typedef struct job
{
	const stk_rq *rq;
	const stk_exec *exec;
	const float *x;
	const size_t *rows;
	size_t width;
	uint16_t *codes;
	beam_work *work; /* [threads] */
} job;

static void
encode_task(void *arg, size_t index, int thread)
{
	job *j = arg;
	beam_work *b = &j->work[thread];
	const stk_codebook *cb = &j->rq->cb;
	size_t row = j->rows ? j->rows[index] : index;
	stk_error err = {.level = -1};
	stk_status status;
	size_t found;
	int side;

	if (stk_rq_failed_before(&b->failure, row))
		return;
	status = search_row(j->rq, b, j->width, 1, j->x + row * (size_t) cb->dim, row, &side, &found,
						j->exec->monitor, &err);
	if (status == STK_OK)
		copy_codes(b, side, cb->levels - 1, &b->heap[0], j->codes + row * (size_t) cb->levels);
	else
		b->failure = (stk_rq_failure){status, err};
}

stk_status
stk_rq_encode_beam_plain(const stk_rq *rq, const stk_exec *exec, const float *x, const size_t *rows,
						 size_t count, int beam, uint16_t *codes, stk_nearest_stats *stats,
						 stk_error *err)
{
	size_t threads = (size_t) stk_threads(exec->pool);
	job j = {rq, exec, x, rows, stk_rq_beam_width(&rq->cb, beam), codes, NULL};
	stk_rq_failure failure = {STK_OK, {.level = -1}};

	j.work = work_create(rq, j.width, 1, threads, &exec->a);
	if (!j.work)
		return STK_ENOMEM;
	stk_run(exec->pool, encode_task, &j, count);
	if (stats)
	{
		stats->rows += count * (uint64_t) rq->cb.levels;
		stats->reference += count * (uint64_t) rq->cb.levels;
	}
	for (size_t t = 0; t < threads; t++)
		stk_rq_merge_failure(&failure, &j.work[t].failure);
	if (failure.status != STK_OK && err)
		*err = failure.err;
	work_free(j.work, threads, &exec->a);
	return failure.status;
}
