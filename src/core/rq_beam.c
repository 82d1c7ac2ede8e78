/*
 * Beam encoding by a certified filter. One pass of the kernel gives a row's dot products with all
 * codewords; tables give what each prefix's residual takes off them (beam_tables.h). At each level
 * the bound says which prefixes are surely kept and which surely not; the reference, on residuals
 * formed for the purpose, decides between those left open. The codes are the reference's.
 *
 * Rows about which the bound proves nothing are left to rq_beam_plain.c.
 */
#include <math.h>
#include <string.h>

#include "rq_impl.h"

/* Bytes of rows, and of their scores, that a task works on. */
#define BLOCK_BYTES ((size_t) 192 << 10)
#define BLOCK_ROWS 96
/* Bytes of panels that pass over a block's rows together. */
#define PANEL_BYTES ((size_t) 256 << 10)
/* Children of one prefix that are looked at together, and pieces of so many in a group. */
#define PIECE 512
#define PIECES 16
/* Prefixes on the list beside twice as many as are kept. */
#define SPARE 4096

/* A prefix on offer by the filter's numbers. */
typedef struct offer
{
	float value; /* beam_tables.c's u; larger is better */
	uint32_t parent;
	uint16_t code;
} offer;

/* How much room a quantizer's work takes. */
typedef struct shape
{
	size_t rows;  /* of a block: whole tiles, or fewer than one */
	size_t width; /* prefixes kept */
	size_t room;  /* offers */
} shape;

/* One thread's scratch. */
typedef struct beam_work
{
	uint8_t *tiles;        /* [rows / tile] of kernel->tile_bytes */
	float *rows;           /* [rows][dim], prepared */
	float *scores;         /* [rows][total] */
	stk_bound_row *bounds; /* [rows] */
	float *children;       /* [PIECES][PIECE] */
	float *maxima;         /* [PIECES][STK_BEAM_LANES] */
	uint32_t *places;      /* [PIECE] */
	offer *offers;         /* [room] */
	float *sorted;         /* [room] */
	float *values[2];      /* [width] of the previous level's prefixes and this one's, in turns */
	stk_beam_codes *codes[2]; /* [width] */
	stk_beam_candidate *heap; /* [width] */
	float *residual;          /* [dim] */
	stk_nearest_stats stats;
	stk_rq_failure failure;
} beam_work;

/* One call, shared by its tasks of a block of rows each. */
typedef struct job
{
	const stk_rq *rq;
	const stk_exec *exec;
	const float *x;
	size_t n;
	uint16_t *codes;
	uint8_t *left; /* [n] rows that the filter did not decide */
	stk_beam_children children;
	shape shape;
	beam_work *work; /* [threads] */
} job;

/* What is being done for one row. */
typedef struct row_beam
{
	const job *j;
	beam_work *w;
	const float *x;      /* [dim] prepared */
	const float *scores; /* [total] */
	double error[STK_MAX_LEVELS];
	int side;       /* of values and codes: the level above's */
	size_t parents; /* prefixes there */
	size_t offers;
	double limit; /* an offer below this cannot be kept */
} row_beam;

static shape
shape_for(const stk_rq *rq, size_t n, int beam)
{
	const stk_beam_tables *t = rq->tables;
	size_t tile = t->level[0].pack.kernel->tile;
	size_t floats = (size_t) rq->cb.dim > t->total ? (size_t) rq->cb.dim : t->total;
	shape s = {.rows = BLOCK_BYTES / sizeof(float) / floats,
			   .width = stk_rq_beam_width(&rq->cb, beam)};

	s.rows = s.rows > BLOCK_ROWS ? BLOCK_ROWS : s.rows;
	s.rows = s.rows < tile ? tile : s.rows / tile * tile;
	s.rows = s.rows > n ? n : s.rows;
	s.room = 2 * s.width + SPARE;
	return s;
}

/* Lay out one thread's scratch from base on; returns its bytes. */
static size_t
carve(const stk_rq *rq, const shape *s, uint8_t *base, beam_work *w)
{
	const stk_beam_tables *t = rq->tables;
	const stk_kernel *kernel = t->level[0].pack.kernel;
	size_t dim = (size_t) rq->cb.dim;
	size_t tiles = (s->rows + kernel->tile - 1) / kernel->tile;
	size_t at = 0;

#define CARVE(field, size) (w->field = (void *) (base + at), at += stk_aligned_bytes(size))
	CARVE(tiles, tiles * kernel->tile_bytes(dim));
	CARVE(rows, s->rows * dim * sizeof(float));
	CARVE(scores, s->rows * t->total * sizeof(float));
	CARVE(bounds, s->rows * sizeof(stk_bound_row));
	CARVE(children, PIECES * PIECE * sizeof(float));
	CARVE(maxima, PIECES * STK_BEAM_LANES * sizeof(float));
	CARVE(places, PIECE * sizeof(uint32_t));
	CARVE(offers, s->room * sizeof(offer));
	CARVE(sorted, s->room * sizeof(float));
	for (int i = 0; i < 2; i++)
	{
		CARVE(values[i], s->width * sizeof(float));
		CARVE(codes[i], s->width * sizeof(stk_beam_codes));
	}
	CARVE(heap, s->width * sizeof(stk_beam_candidate));
	CARVE(residual, dim * sizeof(float));
#undef CARVE
	return at;
}

/* Put the k largest of a [n] first; returns the least of them, 1 <= k <= n. Wirth's selection. */
static float
select_largest(float *a, size_t n, size_t k)
{
	ptrdiff_t at = (ptrdiff_t) k - 1;
	ptrdiff_t low = 0;
	ptrdiff_t high = (ptrdiff_t) n - 1;

	while (low < high)
	{
		float pivot = a[at];
		ptrdiff_t i = low;
		ptrdiff_t j = high;

		while (i <= j)
		{
			while (a[i] > pivot)
				i++;
			while (a[j] < pivot)
				j--;
			if (i <= j)
			{
				float swap = a[i];

				a[i++] = a[j];
				a[j--] = swap;
			}
		}
		if (j < at)
			low = i;
		if (at < i)
			high = j;
	}
	return a[at];
}

/* The largest binary32 number that is not above. */
static float
round_down(double value)
{
	float rounded = (float) value;

	return (double) rounded > value ? nextafterf(rounded, -INFINITY) : rounded;
}

/* Raise the limit: `keep` prefixes are known with values of `least` or more. */
static void
raise_limit(row_beam *b, int level, float least)
{
	double limit = (double) least - 2 * b->error[level];

	if (limit > b->limit)
		b->limit = limit;
}

/* Drop the offers that cannot be kept any more. */
static void
prune(row_beam *b, int level, size_t keep)
{
	offer *offers = b->w->offers;
	size_t n = 0;

	for (size_t i = 0; i < b->offers; i++)
		b->w->sorted[i] = offers[i].value;
	raise_limit(b, level, select_largest(b->w->sorted, b->offers, keep));
	for (size_t i = 0; i < b->offers; i++)
	{
		if ((double) offers[i].value >= b->limit)
			offers[n++] = offers[i];
	}
	b->offers = n;
}

/* Table rows of a prefix's codes, from codeword `first` of the level on. */
static void
table_rows(const row_beam *b, int level, size_t parent, uint32_t first, const float **rows)
{
	const stk_beam_tables *t = b->j->rq->tables;
	const stk_beam_level *at = &t->level[level];
	const uint16_t *codes = b->w->codes[b->side][parent];

	for (int l = 0; l < level; l++)
		rows[l] = at->products + (t->level[l].above + codes[l]) * at->stride + first;
}

/* A part of one prefix's children. */
typedef struct piece
{
	uint32_t parent;
	uint32_t first;
	uint32_t n;
} piece;

/* Compute up to PIECES pieces from *next on, which moves on; returns how many. */
static size_t
compute_group(const row_beam *b, int level, piece *next, piece *pieces)
{
	const stk_beam_level *at = &b->j->rq->tables->level[level];
	const float *rows[STK_MAX_LEVELS];
	size_t n = 0;

	for (; n < PIECES && next->parent < b->parents; n++)
	{
		uint32_t left = at->pack.size - next->first;
		uint32_t padded = at->stride - next->first;

		next->n = left < PIECE ? left : PIECE;
		table_rows(b, level, next->parent, next->first, rows);
		b->j->children(b->w->values[b->side][next->parent], b->scores + at->first + next->first,
					   rows, level, padded < PIECE ? padded : PIECE, b->w->children + n * PIECE,
					   b->w->maxima + n * STK_BEAM_LANES);
		pieces[n] = *next;
		next->first += next->n;
		if (next->first == at->pack.size)
		{
			next->first = 0;
			next->parent++;
		}
	}
	return n;
}

/*
 * Fill the list with every child that may be among the best `keep` of this level. False when they
 * are too many; STK_ECANCELED in *status.
 */
static bool
gather(row_beam *b, int level, size_t keep, stk_status *status)
{
	const stk_kernel *kernel = b->j->rq->tables->level[level].pack.kernel;
	beam_work *w = b->w;
	piece next = {0, 0, 0};
	piece pieces[PIECES];

	b->offers = 0;
	b->limit = -INFINITY;
	while (next.parent < b->parents)
	{
		size_t n = compute_group(b, level, &next, pieces);

		if (stk_should_stop(b->j->exec->monitor))
		{
			*status = STK_ECANCELED;
			return false;
		}
		if (n * STK_BEAM_LANES >= keep)
			raise_limit(b, level, select_largest(w->maxima, n * STK_BEAM_LANES, keep));
		for (size_t i = 0; i < n; i++)
		{
			const float *values = w->children + i * PIECE;
			uint32_t found = kernel->collect(values, pieces[i].n, round_down(b->limit), w->places);

			if (b->offers + found > b->j->shape.room)
				prune(b, level, keep);
			if (b->offers + found > b->j->shape.room)
				return false;
			for (uint32_t k = 0; k < found; k++)
				w->offers[b->offers++] = (offer){values[w->places[k]], pieces[i].parent,
												 (uint16_t) (pieces[i].first + w->places[k])};
		}
	}
	return true;
}

/* Form a prefix's residual in w->residual; returns its key. */
static double
reference_residual(const row_beam *b, int level, size_t parent)
{
	const stk_rq *rq = b->j->rq;
	const stk_reference *reference = b->j->exec->cpu->reference;
	const uint16_t *codes = b->w->codes[b->side][parent];
	size_t dim = (size_t) rq->cb.dim;
	float *r = b->w->residual;
	const float *c = b->x;
	double dot;
	double key;

	reference->dots(b->x, &c, 1, dim, &key);
	memcpy(r, b->x, dim * sizeof(float));
	for (int l = 0; l < level; l++)
	{
		c = rq->cb.codewords[l] + codes[l] * dim;
		reference->dots(r, &c, 1, dim, &dot);
		key += 2 * (stk_pack_half(&rq->packs[l], codes[l]) - dot);
		reference->subtract(r, c, dim, r);
	}
	return key;
}

/* Let the reference choose the best `keep` of the first n offers into w->heap. */
static void
decide(row_beam *b, int level, size_t n, size_t keep)
{
	const stk_rq *rq = b->j->rq;
	const stk_pack *p = &rq->packs[level];
	size_t dim = (size_t) rq->cb.dim;
	size_t kept = 0;
	uint32_t parent = UINT32_MAX;
	double key = 0;

	for (size_t i = 0; i < n; i++)
	{
		const offer *o = &b->w->offers[i];
		const float *c = rq->cb.codewords[level] + o->code * dim;
		double s;

		if (o->parent != parent)
		{
			parent = o->parent;
			key = reference_residual(b, level, parent);
		}
		b->j->exec->cpu->reference->dots(b->w->residual, &c, 1, dim, &s);
		s = stk_pack_half(p, o->code) - s;
		stk_beam_offer(b->w->heap, &kept, keep,
					   (stk_beam_candidate){key + 2 * s, s, parent, o->code, o->value},
					   b->w->codes[b->side], level);
	}
}

/* Make a child the i-th prefix of this level. */
static void
keep_child(row_beam *b, int level, size_t i, uint32_t parent, uint16_t code, float value)
{
	uint16_t *codes = b->w->codes[!b->side][i];

	memcpy(codes, b->w->codes[b->side][parent], (size_t) level * sizeof(uint16_t));
	codes[level] = code;
	b->w->values[!b->side][i] = value;
}

/* Keep the best `keep` of the list, or all when there are no more. */
static void
settle(row_beam *b, int level, size_t keep)
{
	offer *offers = b->w->offers;
	float *sorted = b->w->sorted;
	double surely = -INFINITY; /* offers above this are kept */
	size_t kept = 0;
	size_t open = 0;

	if (b->offers > keep)
	{
		float next;

		for (size_t i = 0; i < b->offers; i++)
			sorted[i] = offers[i].value;
		raise_limit(b, level, select_largest(sorted, b->offers, keep));
		next = sorted[keep];
		for (size_t i = keep + 1; i < b->offers; i++)
			next = sorted[i] > next ? sorted[i] : next;
		surely = (double) next + 2 * b->error[level];
	}
	for (size_t i = 0; i < b->offers; i++)
	{
		if ((double) offers[i].value > surely)
			keep_child(b, level, kept++, offers[i].parent, offers[i].code, offers[i].value);
		else if ((double) offers[i].value >= b->limit)
			offers[open++] = offers[i];
	}
	if (open > 0)
	{
		size_t places = keep - kept < open ? keep - kept : open;

		b->w->stats.undecided++;
		b->w->stats.candidates += open;
		decide(b, level, open, places);
		for (size_t i = 0; i < places; i++)
		{
			const stk_beam_candidate *c = &b->w->heap[i];

			keep_child(b, level, kept++, c->parent, c->code, c->value);
		}
	}
	b->parents = kept;
	b->side = !b->side;
}

/*
 * Encode one row, prepared, from its scores; norm bounds its length. False when the filter cannot,
 * or when the monitor stops it: STK_ECANCELED in *status.
 */
static bool
encode_row(const job *j, beam_work *w, const float *x, const float *scores, double norm,
		   uint16_t *codes, stk_status *status)
{
	int levels = j->rq->cb.levels;
	row_beam b = {.j = j, .w = w, .x = x, .scores = scores, .parents = 1};

	if (!stk_beam_errors(j->rq->tables, norm, b.error))
		return false;
	w->values[0][0] = 0;
	for (int l = 0; l < levels; l++)
	{
		size_t keep = l + 1 < levels ? j->shape.width : 1;

		if (!gather(&b, l, keep, status))
			return false;
		settle(&b, l, keep);
	}
	memcpy(codes, w->codes[b.side][0], (size_t) levels * sizeof(uint16_t));
	w->stats.rows += (uint64_t) levels;
	return true;
}

/* Scores of n prepared rows with all codewords: panels that fit a cache pass over all rows. */
static stk_status
score_rows(const job *j, beam_work *w, size_t n)
{
	const stk_beam_tables *t = j->rq->tables;
	const stk_kernel *kernel = t->level[0].pack.kernel;
	size_t dim = (size_t) j->rq->cb.dim;
	size_t tile_bytes = kernel->tile_bytes(dim);
	/* An even number, to keep scores aligned. */
	uint32_t step = (uint32_t) (PANEL_BYTES / kernel->panel_bytes(dim)) / 2 * 2;

	step = step < 2 ? 2 : step;
	for (size_t r = 0; r < n; r += kernel->tile)
		kernel->pack_rows(&t->level[0].pack, w->rows + r * dim,
						  (uint32_t) (n - r < kernel->tile ? n - r : kernel->tile),
						  w->tiles + r / kernel->tile * tile_bytes, w->bounds + r);
	for (int l = 0; l < t->levels; l++)
	{
		const stk_beam_level *at = &t->level[l];
		uint32_t scored = at->pack.panels * kernel->panel;

		/* What the panels leave of a table row's lanes must win nothing. */
		for (size_t r = 0; r < n; r++)
			for (uint32_t k = scored; k < at->stride; k++)
				w->scores[r * t->total + at->first + k] = -INFINITY;
		for (uint32_t p = 0; p < at->pack.panels; p += step)
		{
			uint32_t panels = at->pack.panels - p < step ? at->pack.panels - p : step;

			if (stk_should_stop(j->exec->monitor))
				return STK_ECANCELED;
			for (size_t r = 0; r < n; r += kernel->tile)
			{
				float best[STK_MAX_TILE];

				kernel->score(&at->pack, w->tiles + r / kernel->tile * tile_bytes,
							  (uint32_t) (n - r < kernel->tile ? n - r : kernel->tile), p, panels,
							  w->scores + r * t->total + at->first + (size_t) p * kernel->panel,
							  t->total, best);
			}
		}
	}
	return STK_OK;
}

static void
encode_task(void *arg, size_t index, int thread)
{
	job *j = arg;
	beam_work *w = &j->work[thread];
	const stk_rq *rq = j->rq;
	size_t dim = (size_t) rq->cb.dim;
	size_t first = index * j->shape.rows;
	size_t n = j->n - first < j->shape.rows ? j->n - first : j->shape.rows;
	stk_rq_failure failure = {STK_OK, {.level = -1}};
	stk_status status = STK_OK;

	if (stk_rq_failed_before(&w->failure, first))
		return;
	for (size_t r = 0; r < n && failure.status == STK_OK; r++)
	{
		failure.status =
			stk_rq_prepare(&rq->cb, rq->packs[0].cpu->reference, j->x + (first + r) * dim,
						   w->rows + r * dim, first + r, &failure.err);
		/* The rows before it are encoded: one of them may yet fail. */
		if (failure.status != STK_OK)
			n = r;
	}
	if (n > 0)
		status = score_rows(j, w, n);
	for (size_t r = 0; r < n && status == STK_OK; r++)
		j->left[first + r] = !encode_row(j, w, w->rows + r * dim, w->scores + r * rq->tables->total,
										 w->bounds[r].norm + w->bounds[r].rounding,
										 j->codes + (first + r) * (size_t) rq->cb.levels, &status);
	if (status != STK_OK)
		failure.status = status;
	stk_rq_merge_failure(&w->failure, &failure);
}

/* Encode what the filter left of the first n rows. */
static stk_status
encode_left(const job *j, size_t n, int beam, stk_nearest_stats *stats, stk_error *err)
{
	size_t count = 0;
	size_t *rows;
	stk_status status;

	for (size_t i = 0; i < n; i++)
		count += j->left[i];
	if (count == 0)
		return STK_OK;
	rows = stk_alloc_array(&j->exec->a, count, sizeof(size_t));
	if (!rows)
		return STK_ENOMEM;
	count = 0;
	for (size_t i = 0; i < n; i++)
	{
		if (j->left[i])
			rows[count++] = i;
	}
	status =
		stk_rq_encode_beam_plain(j->rq, j->exec, j->x, rows, count, beam, j->codes, stats, err);
	stk_free(&j->exec->a, rows);
	return status;
}

/* Run the job by the filter; *failure is what stopped it. */
static stk_status
run(job *j, stk_nearest_stats *stats, stk_rq_failure *failure)
{
	const stk_allocator *a = &j->exec->a;
	size_t threads = (size_t) stk_threads(j->exec->pool);
	uint8_t nowhere[1];
	beam_work unused;
	size_t bytes = carve(j->rq, &j->shape, nowhere, &unused);
	uint8_t *scratch = stk_alloc_array(a, threads, bytes + STK_ALIGN);

	j->work = stk_alloc_array(a, threads, sizeof(beam_work));
	if (scratch && j->work)
	{
		memset(j->work, 0, threads * sizeof(beam_work));
		for (size_t t = 0; t < threads; t++)
			carve(j->rq, &j->shape, stk_align(scratch + t * (bytes + STK_ALIGN)), &j->work[t]);
		stk_run(j->exec->pool, encode_task, j, (j->n + j->shape.rows - 1) / j->shape.rows);
		for (size_t t = 0; t < threads; t++)
		{
			stk_rq_merge_failure(failure, &j->work[t].failure);
			if (stats)
				stk_nearest_stats_add(stats, &j->work[t].stats);
		}
	}
	stk_free(a, scratch);
	stk_free(a, j->work);
	return scratch && j->work ? STK_OK : STK_ENOMEM;
}

stk_status
stk_rq_encode_beam(const stk_rq *rq, const stk_exec *exec, const float *x, size_t n, int beam,
				   uint16_t *codes, stk_nearest_stats *stats, stk_error *err)
{
	job j = {.rq = rq, .exec = exec, .x = x, .n = n, .codes = codes};
	stk_rq_failure failure = {STK_OK, {.level = -1}};
	stk_status status;

	if (!rq->tables)
		return stk_rq_encode_beam_plain(rq, exec, x, NULL, n, beam, codes, stats, err);
	j.children = stk_beam_children_for(rq->tables->level[0].pack.cpu);
	j.shape = shape_for(rq, n, beam);
	j.left = stk_alloc_array(&exec->a, n, 1);
	if (!j.left)
		return STK_ENOMEM;
	memset(j.left, 0, n);
	status = run(&j, stats, &failure);
	if (status == STK_OK && failure.status != STK_ECANCELED)
		status = encode_left(&j, failure.status == STK_OK ? n : failure.err.row, beam, stats, err);
	stk_free(&exec->a, j.left);
	if (status == STK_OK && failure.status != STK_OK)
	{
		status = failure.status;
		if (err)
			*err = failure.err;
	}
	return status;
}
