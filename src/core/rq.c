#include "rq.h"

#include <math.h>
#include <string.h>

#include "fpenv.h"
#include "nearest.h"

struct stk_rq
{
	stk_codebook cb;
	stk_allocator a;
	stk_nearest_table tables[STK_MAX_LEVELS];
	double *half;     /* [ΣK], behind the tables */
	uint32_t largest; /* size of the largest level */
};

/* Note where an error happened; returns err, which may be NULL. */
static stk_error *
place(stk_error *err, size_t row, int level)
{
	if (err)
	{
		err->row = row;
		err->level = level;
	}
	return err;
}

static stk_status
residual_out_of_range(stk_error *err, size_t row, int level)
{
	return stk_fail(place(err, row, level), STK_ERANGE,
					"residual of level %d is out of range for type real", level);
}

bool
stk_rq_subtract(const float *x, const float *c, size_t dim, float *r)
{
	bool finite = true;

	for (size_t i = 0; i < dim; i++)
	{
		r[i] = x[i] - c[i];
		finite &= isfinite(r[i]) != 0;
	}
	return finite;
}

static stk_status
prepare_row(const stk_codebook *cb, const float *x, float *out, size_t row, stk_error *err)
{
	size_t dim = (size_t) cb->dim;
	double norm;

	for (size_t i = 0; i < dim; i++)
	{
		if (!isfinite(x[i]))
			return stk_fail(place(err, row, -1), STK_EINVAL, "embedding holds NaN or infinity");
	}
	if (cb->metric != STK_COSINE)
	{
		memmove(out, x, dim * sizeof(float));
		return STK_OK;
	}
	norm = sqrt(stk_dot(x, x, dim));
	if (norm == 0)
		return stk_fail(place(err, row, -1), STK_EINVAL,
						"a zero vector has no direction for the cosine metric");
	for (size_t i = 0; i < dim; i++)
		out[i] = (float) ((double) x[i] / norm);
	return STK_OK;
}

stk_status
stk_rq_create(const stk_codebook *cb, const stk_allocator *a, stk_rq **out, stk_error *err)
{
	stk_status status = stk_codebook_check_finite(cb, err);
	size_t codes = 0;
	stk_rq *rq;
	double *half;
	stk_fpenv env;

	*out = NULL;
	if (status != STK_OK)
		return status;
	for (int l = 0; l < cb->levels; l++)
		codes += cb->sizes[l];
	rq = stk_alloc_array(a, 1, sizeof(stk_rq));
	half = stk_alloc_array(a, codes, sizeof(double));
	if (!rq || !half)
	{
		stk_free(a, rq);
		stk_free(a, half);
		return STK_ENOMEM;
	}

	rq->cb = *cb;
	rq->a = *a;
	rq->half = half;
	rq->largest = 0;
	env = stk_fpenv_enter();
	for (int l = 0; l < cb->levels; l++)
	{
		stk_nearest_table *t = &rq->tables[l];

		t->codewords = cb->codewords[l];
		t->half = half;
		t->size = cb->sizes[l];
		t->dim = (size_t) cb->dim;
		t->inner_product = cb->metric == STK_IP;
		stk_half_norms(t->codewords, t->size, t->dim, half);
		t->norm = stk_largest_norm(half, t->size);
		half += t->size;
		rq->largest = t->size > rq->largest ? t->size : rq->largest;
	}
	stk_fpenv_leave(env);
	*out = rq;
	return STK_OK;
}

void
stk_rq_free(stk_rq *rq)
{
	stk_allocator a;

	if (!rq)
		return;
	a = rq->a;
	stk_free(&a, rq->half);
	stk_free(&a, rq);
}

const stk_codebook *
stk_rq_codebook(const stk_rq *rq)
{
	return &rq->cb;
}

/*
 * Greedy encoding of up to STK_NEAREST_ROWS rows; residual [n][dim] and scratch [n][largest
 * size] are scratch, first is the
 * first row's number.
 */
static stk_status
encode_greedy(const stk_rq *rq, const float *x, size_t n, size_t first, float *residual,
			  float *scratch, uint16_t *codes, const stk_monitor *monitor, stk_error *err)
{
	size_t dim = (size_t) rq->cb.dim;
	int levels = rq->cb.levels;
	uint16_t level_codes[STK_NEAREST_ROWS];

	for (size_t r = 0; r < n; r++)
	{
		stk_status status = prepare_row(&rq->cb, x + r * dim, residual + r * dim, first + r, err);

		if (status != STK_OK)
			return status;
	}
	for (int l = 0; l < levels; l++)
	{
		const stk_nearest_table *t = &rq->tables[l];
		stk_status status = stk_nearest(t, scratch, residual, n, level_codes, NULL, monitor);

		if (status != STK_OK)
			return status;
		for (size_t r = 0; r < n; r++)
		{
			float *row = residual + r * dim;

			codes[r * levels + l] = level_codes[r];
			if (l + 1 < levels &&
				!stk_rq_subtract(row, t->codewords + level_codes[r] * dim, dim, row))
				return residual_out_of_range(err, first + r, l + 1);
		}
	}
	return STK_OK;
}

/* A prefix kept by the beam. */
typedef struct beam_entry
{
	double key; /* d_parent + 2 s */
	uint16_t codes[STK_MAX_LEVELS];
} beam_entry;

/* A prefix on offer, ordered like the entry it would become. */
typedef struct beam_candidate
{
	double key;
	double s;
	uint32_t parent; /* index into the level above's entries */
	uint16_t code;
} beam_candidate;

typedef struct beam_work
{
	size_t width;           /* entries that the arrays below hold */
	beam_entry *entries[2]; /* [width] previous level's and this level's, in turns */
	float *residuals[2];    /* [width][dim] of the same */
	beam_candidate *heap;   /* [width], the worst on top */
	double *scores;         /* [STK_NEAREST_ROWS][largest size] */
	double *wide;           /* [STK_NEAREST_ROWS + 1][wide dim] */
} beam_work;

static void
beam_work_free(beam_work *b, const stk_allocator *a)
{
	for (int i = 0; i < 2; i++)
	{
		stk_free(a, b->entries[i]);
		stk_free(a, b->residuals[i]);
	}
	stk_free(a, b->heap);
	stk_free(a, b->scores);
	stk_free(a, b->wide);
}

static stk_status
beam_work_init(beam_work *b, const stk_rq *rq, int beam)
{
	const stk_codebook *cb = &rq->cb;
	const stk_allocator *a = &rq->a;
	size_t dim = (size_t) cb->dim;
	size_t prefixes = 1;

	/* No more than there are prefixes of the levels that hand a residual on. */
	for (int l = 0; l + 1 < cb->levels && prefixes < (size_t) beam; l++)
		prefixes *= cb->sizes[l];

	b->width = prefixes < (size_t) beam ? prefixes : (size_t) beam;
	for (int i = 0; i < 2; i++)
	{
		b->entries[i] = stk_alloc_array(a, b->width, sizeof(beam_entry));
		b->residuals[i] = stk_alloc_array(a, b->width, dim * sizeof(float));
	}
	b->heap = stk_alloc_array(a, b->width, sizeof(beam_candidate));
	b->scores = stk_alloc_array(a, STK_NEAREST_ROWS * (size_t) rq->largest, sizeof(double));
	b->wide = stk_alloc_array(a, (STK_NEAREST_ROWS + 1) * stk_wide_dim(dim), sizeof(double));
	if (b->entries[0] && b->entries[1] && b->residuals[0] && b->residuals[1] && b->heap &&
		b->scores && b->wide)
		return STK_OK;
	beam_work_free(b, a);
	return STK_ENOMEM;
}

/* Is candidate p better than q? By key, s, then code sequence; level is theirs. */
static bool
better(const beam_candidate *p, const beam_candidate *q, const beam_entry *parents, int level)
{
	if (p->key != q->key)
		return p->key < q->key;
	if (p->s != q->s)
		return p->s < q->s;
	for (int l = 0; l < level; l++)
	{
		uint16_t a = parents[p->parent].codes[l];
		uint16_t b = parents[q->parent].codes[l];

		if (a != b)
			return a < b;
	}
	return p->code < q->code;
}

/* Let heap[at] sink to its place in a heap of n whose top is the worst. */
static void
sift_down(beam_candidate *heap, size_t at, size_t n, const beam_entry *parents, int level)
{
	beam_candidate c = heap[at];

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
sift_up(beam_candidate *heap, size_t at, const beam_entry *parents, int level)
{
	beam_candidate c = heap[at];

	while (at > 0 && better(&heap[(at - 1) / 2], &c, parents, level))
	{
		heap[at] = heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	heap[at] = c;
}

/*
 * Fill b->heap with the best `keep` prefixes of this level; returns how many there are in *kept.
 */
static stk_status
beam_select(const stk_rq *rq, beam_work *b, int side, size_t parents, int level, size_t keep,
			size_t *kept, const stk_monitor *monitor)
{
	const stk_nearest_table *t = &rq->tables[level];
	const beam_entry *entries = b->entries[side];
	size_t n = 0;

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
			double d = entries[first + r].key;

			for (uint32_t k = 0; k < t->size; k++)
			{
				beam_candidate c = {d + 2 * s[k], s[k], (uint32_t) (first + r), (uint16_t) k};

				if (n < keep)
				{
					b->heap[n] = c;
					sift_up(b->heap, n++, entries, level);
				}
				else if (better(&c, &b->heap[0], entries, level))
				{
					b->heap[0] = c;
					sift_down(b->heap, 0, n, entries, level);
				}
			}
		}
	}
	*kept = n;
	return STK_OK;
}

/* Beam encoding of one row. */
static stk_status
encode_beam(const stk_rq *rq, beam_work *b, const float *x, size_t row, uint16_t *codes,
			const stk_monitor *monitor, stk_error *err)
{
	size_t dim = (size_t) rq->cb.dim;
	int levels = rq->cb.levels;
	int side = 0;
	size_t parents = 1;
	stk_status status = prepare_row(&rq->cb, x, b->residuals[0], row, err);

	if (status != STK_OK)
		return status;
	b->entries[0][0].key = stk_dot(b->residuals[0], b->residuals[0], dim);
	for (int l = 0; l < levels; l++)
	{
		bool last = l + 1 == levels;
		size_t kept;

		status = beam_select(rq, b, side, parents, l, last ? 1 : b->width, &kept, monitor);
		if (status != STK_OK)
			return status;
		if (last)
		{
			memcpy(codes, b->entries[side][b->heap[0].parent].codes, l * sizeof(uint16_t));
			codes[l] = b->heap[0].code;
			break;
		}
		for (size_t i = 0; i < kept; i++)
		{
			const beam_candidate *c = &b->heap[i];
			const float *codeword = rq->cb.codewords[l] + (size_t) c->code * dim;
			beam_entry *e = &b->entries[!side][i];

			*e = b->entries[side][c->parent];
			e->key = c->key;
			e->codes[l] = c->code;
			if (!stk_rq_subtract(b->residuals[side] + c->parent * dim, codeword, dim,
								 b->residuals[!side] + i * dim))
				return residual_out_of_range(err, row, l + 1);
		}
		parents = kept;
		side = !side;
	}
	return STK_OK;
}

static stk_status
encode_rows_beam(const stk_rq *rq, const float *x, size_t n, int beam, uint16_t *codes,
				 const stk_monitor *monitor, stk_error *err)
{
	beam_work b;
	stk_status status = beam_work_init(&b, rq, beam);

	if (status != STK_OK)
		return status;
	for (size_t row = 0; row < n && status == STK_OK; row++)
		status = encode_beam(rq, &b, x + row * rq->cb.dim, row, codes + row * rq->cb.levels,
							 monitor, err);
	beam_work_free(&b, &rq->a);
	return status;
}

static stk_status
encode_rows_greedy(const stk_rq *rq, const float *x, size_t n, uint16_t *codes,
				   const stk_monitor *monitor, stk_error *err)
{
	size_t dim = (size_t) rq->cb.dim;
	size_t block = n < STK_NEAREST_ROWS ? n : STK_NEAREST_ROWS;
	float *residual = stk_alloc_array(&rq->a, block * dim, sizeof(float));
	float *scratch = stk_alloc_array(&rq->a, block * rq->largest, sizeof(float));
	stk_status status = residual && scratch ? STK_OK : STK_ENOMEM;

	for (size_t row = 0; row < n && status == STK_OK; row += block)
		status = encode_greedy(rq, x + row * dim, n - row < block ? n - row : block, row, residual,
							   scratch, codes + row * rq->cb.levels, monitor, err);
	stk_free(&rq->a, residual);
	stk_free(&rq->a, scratch);
	return status;
}

stk_status
stk_rq_encode(const stk_rq *rq, const float *x, size_t n, int beam, uint16_t *codes,
			  const stk_monitor *monitor, stk_error *err)
{
	stk_status status;
	stk_fpenv env;

	if (beam < 1)
		return stk_fail(err, STK_EINVAL, "beam width must be at least 1");
	if (n == 0)
		return STK_OK;
	env = stk_fpenv_enter();
	if (beam > 1)
		status = encode_rows_beam(rq, x, n, beam, codes, monitor, err);
	else
		status = encode_rows_greedy(rq, x, n, codes, monitor, err);
	stk_fpenv_leave(env);
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
			return stk_fail(place(err, 0, l), STK_EINVAL,
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
			place(err, 0, l);
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
	stk_status status = prepare_row(cb, x, out, 0, err);

	stk_fpenv_leave(env);
	return status;
}
