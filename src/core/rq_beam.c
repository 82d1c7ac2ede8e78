#include <string.h>

#include "dot.h"
#include "rq_impl.h"

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
	const stk_pack *t = &rq->packs[level];
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
	const stk_reference *reference = rq->packs[0].cpu->reference;
	size_t dim = (size_t) rq->cb.dim;
	int levels = rq->cb.levels;
	int side = 0;
	size_t parents = 1;
	stk_status status = stk_rq_prepare(&rq->cb, reference, x, b->residuals[0], row, err);

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
			if (!reference->subtract(b->residuals[side] + c->parent * dim, codeword, dim,
									 b->residuals[!side] + i * dim))
				return stk_rq_out_of_range(err, row, l + 1);
		}
		parents = kept;
		side = !side;
	}
	return STK_OK;
}

stk_status
stk_rq_encode_beam(const stk_rq *rq, const stk_exec *exec, const float *x, size_t n, int beam,
				   uint16_t *codes, stk_error *err)
{
	beam_work b;
	stk_status status = beam_work_init(&b, rq, beam);

	if (status != STK_OK)
		return status;
	for (size_t row = 0; row < n && status == STK_OK; row++)
		status = encode_beam(rq, &b, x + row * rq->cb.dim, row, codes + row * rq->cb.levels,
							 exec->monitor, err);
	beam_work_free(&b, &rq->a);
	return status;
}
