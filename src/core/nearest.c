#include "nearest.h"

#include <math.h>
#include <string.h>

#include "dot.h"

/* Rows of a task on a pool. */
#define TASK_ROWS 240

/*
 * A candidate: a codeword that may still win. There is room for two blocks' worth; a row that
 * needs more is the reference's.
 */
typedef struct candidate
{
	uint32_t code;
	float score;
} candidate;

#define ROOM (2 * STK_NEAREST_CODES)
/* Margins below the limit that are collected to bound the others. */
#define SPARE 2

/* Scratch, carved out of what the caller gives. */
typedef struct scratch
{
	void *tile;              /* kernel->tile_bytes */
	float *scores;           /* [tile][STK_NEAREST_CODES] */
	candidate *candidates;   /* [tile][ROOM] */
	uint32_t *places;        /* [STK_NEAREST_CODES] */
	const float **codewords; /* [ROOM] */
	double *dots;            /* [ROOM] */
} scratch;

/* What is known of a row so far. */
typedef struct row_state
{
	double margin; /* not finite: the reference decides */
	double spare;  /* how much further below the best scores are collected */
	float best;    /* the filter's */
	uint32_t candidates;
} row_state;

void
stk_nearest_stats_add(stk_nearest_stats *to, const stk_nearest_stats *from)
{
	to->rows += from->rows;
	to->undecided += from->undecided;
	to->candidates += from->candidates;
	to->reference += from->reference;
}

/* Lay out scratch for up to n rows from base on; returns its bytes. */
static size_t
carve(const stk_pack *p, size_t n, uint8_t *base, scratch *s)
{
	size_t tile = !p->kernel ? 0 : n < p->kernel->tile ? n : p->kernel->tile;
	size_t at = 0;

#define CARVE(field, size) (s->field = (void *) (base + at), at += stk_aligned_bytes(size))
	CARVE(tile, p->kernel ? p->kernel->tile_bytes(p->dim) : 0);
	CARVE(scores, tile * STK_NEAREST_CODES * sizeof(float));
	CARVE(candidates, tile * ROOM * sizeof(candidate));
	CARVE(places, STK_NEAREST_CODES * sizeof(uint32_t));
	CARVE(codewords, ROOM * sizeof(float *));
	CARVE(dots, ROOM * sizeof(double));
#undef CARVE
	return at;
}

size_t
stk_nearest_scratch(const stk_pack *p, size_t n)
{
	static uint8_t nowhere[1];
	scratch s;

	return carve(p, n, nowhere, &s) + STK_ALIGN;
}

/*
 * Scores below best - margin cannot win. Rounding keeps order and scores are binary32: none that
 * reaches this difference, or one with more to spare, falls below it rounded.
 */
static float
limit_of(const row_state *row, double spare)
{
	return (float) ((double) row->best - row->margin - spare);
}

/* Drop the candidates that a better one has ruled out since, or that were collected to spare. */
static void
prune(row_state *row, double spare, candidate *candidates)
{
	float limit = limit_of(row, spare);
	uint32_t kept = 0;

	for (uint32_t i = 0; i < row->candidates; i++)
	{
		if (candidates[i].score < limit)
			continue;
		candidates[kept++] = candidates[i];
	}
	row->candidates = kept;
}

/* Take in one block of n scores, codewords first .. first + n - 1. */
static void
take_block(const stk_pack *p, row_state *row, const float *scores, uint32_t first, uint32_t n,
		   float best, const scratch *s, candidate *candidates)
{
	float limit;
	uint32_t found;

	if (!isfinite(row->margin))
		return;
	if (best > row->best)
		row->best = best;
	limit = limit_of(row, row->spare);
	if (best < limit)
		return;
	found = p->kernel->collect(scores, n, limit, s->places);
	if (row->candidates + found > ROOM)
		prune(row, row->spare, candidates);
	if (row->candidates + found > ROOM && row->spare > 0)
	{
		row->spare = 0;
		prune(row, 0, candidates);
		found = p->kernel->collect(scores, n, limit_of(row, 0), s->places);
	}
	if (row->candidates + found > ROOM)
	{
		row->margin = INFINITY;
		return;
	}
	for (uint32_t i = 0; i < found; i++)
		candidates[row->candidates++] = (candidate){first + s->places[i], scores[s->places[i]]};
}

/* Let the reference choose among n codewords, in ascending order; best is the lowest so far. */
static void
choose(const stk_pack *p, const scratch *s, const float *x, const uint32_t *codes, uint32_t n,
	   uint16_t *code, double *best)
{
	for (uint32_t i = 0; i < n; i++)
		s->codewords[i] = p->codewords + codes[i] * p->dim;
	p->cpu->reference->dots(x, s->codewords, n, p->dim, s->dots);
	for (uint32_t i = 0; i < n; i++)
	{
		double score = stk_pack_half(p, codes[i]) - s->dots[i];

		if (score < *best)
		{
			*best = score;
			*code = (uint16_t) codes[i];
		}
	}
}

/* Let the reference choose among all codewords. */
static stk_status
choose_of_all(const stk_pack *p, const scratch *s, const float *x, uint16_t *code, double *best,
			  const stk_monitor *monitor)
{
	for (uint32_t first = 0; first < p->size; first += STK_NEAREST_CODES)
	{
		uint32_t n = p->size - first < STK_NEAREST_CODES ? p->size - first : STK_NEAREST_CODES;

		if (stk_should_stop(monitor))
			return STK_ECANCELED;
		for (uint32_t i = 0; i < n; i++)
			s->places[i] = first + i;
		choose(p, s, x, s->places, n, code, best);
	}
	return STK_OK;
}

/* Let the reference choose among the candidates left, a block of them at a time. */
static stk_status
choose_candidate(const stk_pack *p, const scratch *s, const float *x, const row_state *row,
				 const candidate *candidates, uint16_t *code, double *best,
				 const stk_monitor *monitor)
{
	for (uint32_t first = 0; first < row->candidates; first += STK_NEAREST_CODES)
	{
		uint32_t n = row->candidates - first < STK_NEAREST_CODES ? row->candidates - first
																 : STK_NEAREST_CODES;

		if (n == STK_NEAREST_CODES && stk_should_stop(monitor))
			return STK_ECANCELED;
		for (uint32_t i = 0; i < n; i++)
			s->places[i] = candidates[first + i].code;
		choose(p, s, x, s->places, n, code, best);
	}
	return STK_OK;
}

/* The best two of a row by the filter: what bounds the others than the winner. */
typedef struct leaders
{
	uint32_t first; /* a codeword */
	float score[2]; /* its own, and the largest of all others or more */
} leaders;

static leaders
find_leaders(const row_state *row, const candidate *candidates)
{
	/* What was not collected is below the limit. */
	float limit = limit_of(row, row->spare);
	leaders l = {0, {limit, limit}};

	for (uint32_t i = 0; i < row->candidates; i++)
	{
		if (candidates[i].score >= l.score[0])
		{
			l.score[1] = l.score[0];
			l.score[0] = candidates[i].score;
			l.first = candidates[i].code;
		}
		else if (candidates[i].score > l.score[1])
			l.score[1] = candidates[i].score;
	}
	return l;
}

/*
 * A lower bound of the reference scores of all codewords but the winner, whose own is `score`: that
 * very score, and more where the filter's leader has won. Filter scores differ from each other as
 * the reference's do, to within the margin. The last term covers the rounding here.
 */
static double
bound_others(const row_state *row, const leaders *l, uint16_t winner, double score)
{
	double lead = (double) l->score[0] - (double) l->score[1] - row->margin;

	if (winner != l->first)
		return score;
	return fmax(score, score + lead - 0x1p-50 * (fabs(score) + fabs(l->score[0]) + row->margin));
}

static stk_status
decide(const stk_pack *p, const scratch *s, const float *x, row_state *row, candidate *candidates,
	   uint16_t *code, double *score, double *others, stk_nearest_stats *stats,
	   const stk_monitor *monitor)
{
	double best = INFINITY;
	leaders l = {0, {0, 0}};
	stk_status status = STK_OK;

	stats->rows++;
	if (!isfinite(row->margin))
	{
		stats->reference++;
		status = choose_of_all(p, s, x, code, &best, monitor);
	}
	else
	{
		if (others)
			l = find_leaders(row, candidates);
		if (row->candidates > 1)
			prune(row, 0, candidates);
		if (row->candidates > 1)
		{
			stats->undecided++;
			stats->candidates += row->candidates;
		}
		if (row->candidates > 1 || score)
			status = choose_candidate(p, s, x, row, candidates, code, &best, monitor);
		else
			*code = (uint16_t) candidates[0].code;
	}
	if (score)
		*score = best;
	if (others)
		*others = isfinite(row->margin) ? bound_others(row, &l, *code, best) : -INFINITY;
	return status;
}

/* Up to a tile of rows. */
static stk_status
nearest_tile(const stk_pack *p, const scratch *s, const float *x, uint32_t n, uint16_t *codes,
			 double *scores, double *others, stk_nearest_stats *stats, const stk_monitor *monitor)
{
	const stk_kernel *kernel = p->kernel;
	stk_bound_row bounds[STK_MAX_TILE];
	row_state rows[STK_MAX_TILE];
	float best[STK_MAX_TILE];
	uint32_t step = STK_NEAREST_CODES / kernel->panel;
	stk_status status = STK_OK;

	kernel->pack_rows(p, x, n, s->tile, bounds);
	for (uint32_t r = 0; r < n; r++)
		rows[r] = (row_state){.margin = stk_bound_margin(kernel->arithmetic, &p->bound, &bounds[r]),
							  .best = -INFINITY};
	for (uint32_t r = 0; r < n && others; r++)
		rows[r].spare = SPARE * rows[r].margin;
	for (uint32_t first = 0; first < p->panels; first += step)
	{
		uint32_t panels = p->panels - first < step ? p->panels - first : step;
		uint32_t code = first * kernel->panel;
		uint32_t block = panels * kernel->panel;

		if (stk_should_stop(monitor))
			return STK_ECANCELED;
		kernel->score(p, s->tile, n, first, panels, s->scores, STK_NEAREST_CODES, best);
		if (block > p->size - code)
			block = p->size - code;
		for (uint32_t r = 0; r < n; r++)
			take_block(p, &rows[r], s->scores + r * STK_NEAREST_CODES, code, block, best[r], s,
					   s->candidates + r * ROOM);
	}
	for (uint32_t r = 0; r < n && status == STK_OK; r++)
		status = decide(p, s, x + r * p->dim, &rows[r], s->candidates + r * ROOM, &codes[r],
						scores ? &scores[r] : NULL, others ? &others[r] : NULL, stats, monitor);
	return status;
}

static void
prefetch(const float *x, size_t n)
{
	for (size_t i = 0; i < n; i += STK_ALIGN / sizeof(float))
		__builtin_prefetch(x + i, 0, 1);
}

stk_status
stk_nearest_and_others(const stk_pack *p, void *scratch_bytes, const float *x, size_t n,
					   uint16_t *codes, double *scores, double *others, stk_nearest_stats *stats,
					   const stk_monitor *monitor)
{
	/* The caller's may share a cache line with another thread's. */
	stk_nearest_stats mine = {0};
	stk_status status = STK_OK;
	size_t tile = p->kernel ? p->kernel->tile : 1;
	scratch s;

	carve(p, n, stk_align(scratch_bytes), &s);
	for (size_t first = 0; first < n && status == STK_OK; first += tile)
	{
		uint32_t rows = (uint32_t) (n - first < tile ? n - first : tile);
		const float *from = x + first * p->dim;
		double *to = scores ? scores + first : NULL;
		double *bounds = others ? others + first : NULL;

		/* The next rows come from memory while these are scored. */
		if (n - first > tile)
			prefetch(from + tile * p->dim,
					 (n - first < 2 * tile ? n - first - tile : tile) * p->dim);

		if (p->kernel)
			status = nearest_tile(p, &s, from, rows, codes + first, to, bounds, &mine, monitor);
		else
		{
			row_state row = {.margin = INFINITY};

			status =
				decide(p, &s, from, &row, s.candidates, codes + first, to, bounds, &mine, monitor);
		}
	}
	if (stats)
		stk_nearest_stats_add(stats, &mine);
	return status;
}

stk_status
stk_nearest(const stk_pack *p, void *scratch_bytes, const float *x, size_t n, uint16_t *codes,
			double *scores, stk_nearest_stats *stats, const stk_monitor *monitor)
{
	return stk_nearest_and_others(p, scratch_bytes, x, n, codes, scores, NULL, stats, monitor);
}

/* stk_nearest_rows, shared by its tasks. */
typedef struct job
{
	const stk_exec *exec;
	const stk_pack *pack;
	const float *x;
	size_t n;
	uint16_t *codes;
	double *scores;
	size_t bytes;             /* of scratch for each thread */
	uint8_t *scratch;         /* [threads] */
	stk_nearest_stats *stats; /* [threads] */
	stk_status *status;       /* [threads] */
} job;

static void
nearest_task(void *arg, size_t index, int thread)
{
	job *j = arg;
	size_t first = index * TASK_ROWS;
	size_t n = j->n - first < TASK_ROWS ? j->n - first : TASK_ROWS;

	if (j->status[thread] != STK_OK)
		return;
	j->status[thread] = stk_nearest(
		j->pack, j->scratch + thread * j->bytes, j->x + first * j->pack->dim, n, j->codes + first,
		j->scores ? j->scores + first : NULL, &j->stats[thread], j->exec->monitor);
}

stk_status
stk_nearest_rows(const stk_exec *exec, const stk_pack *p, const float *x, size_t n, uint16_t *codes,
				 double *scores, stk_nearest_stats *stats)
{
	size_t threads = (size_t) stk_threads(exec->pool);
	job j = {
		exec, p,    x,   n, codes, scores, stk_nearest_scratch(p, n < TASK_ROWS ? n : TASK_ROWS),
		NULL, NULL, NULL};
	stk_status status = STK_ENOMEM;

	j.scratch = stk_alloc_array(&exec->a, threads, j.bytes);
	j.stats = stk_alloc_array(&exec->a, threads, sizeof(stk_nearest_stats));
	j.status = stk_alloc_array(&exec->a, threads, sizeof(stk_status));
	if (j.scratch && j.stats && j.status)
	{
		memset(j.stats, 0, threads * sizeof(stk_nearest_stats));
		memset(j.status, 0, threads * sizeof(stk_status));
		stk_run(exec->pool, nearest_task, &j, (n + TASK_ROWS - 1) / TASK_ROWS);
		status = STK_OK;
		for (size_t t = 0; t < threads; t++)
		{
			if (j.status[t] != STK_OK)
				status = j.status[t];
			if (stats)
				stk_nearest_stats_add(stats, &j.stats[t]);
		}
	}
	stk_free(&exec->a, j.scratch);
	stk_free(&exec->a, j.stats);
	stk_free(&exec->a, j.status);
	return status;
}

stk_status
stk_all_scores(const stk_pack *p, double *wide_rows, const float *x, size_t n, double *scores,
			   const stk_monitor *monitor)
{
	size_t wide = stk_wide_dim(p->dim);
	double *codeword = wide_rows + n * wide;

	for (size_t r = 0; r < n; r++)
		stk_widen(x + r * p->dim, p->dim, wide_rows + r * wide);
	for (uint32_t k = 0; k < p->size; k++)
	{
		double dots[STK_NEAREST_ROWS];

		if (k % STK_NEAREST_CODES == 0 && stk_should_stop(monitor))
			return STK_ECANCELED;
		stk_widen(p->codewords + (size_t) k * p->dim, p->dim, codeword);
		stk_dot_wide(wide_rows, n, codeword, wide, dots);
		for (size_t r = 0; r < n; r++)
			scores[r * p->size + k] = stk_pack_half(p, k) - dots[r];
	}
	return STK_OK;
}
