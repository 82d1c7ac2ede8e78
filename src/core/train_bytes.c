/*
 * How much memory a training takes, before it begins. Each function speaks of one part of the work,
 * and says what that part holds at once; where the number depends on the rows it is what the worst
 * rows bring about.
 */
#include "beam_tables.h"
#include "train.h"
#include "train_impl.h"

/* Rows that a thread works on at a time, at most, in any of core's tasks. */
#define TASK_ROWS 1024
/* What allocations of no size to speak of come to, for each thread and for each level. */
#define SPARE 65536

static size_t
plus(size_t a, size_t b)
{
	return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

static size_t
times(size_t a, size_t b)
{
	return b > 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

static size_t
larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static size_t
smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* The plan's numbers in the form that is computed with. */
typedef struct forecast
{
	const stk_train_plan *plan;
	size_t n;
	size_t heldout_n;
	size_t dim;
	size_t levels;
	size_t threads;
	size_t total;   /* codewords */
	size_t largest; /* of a level */
} forecast;

/* Codewords packed for a filter: binary32 or less, whole panels, an offset and a norm each. */
static size_t
pack_bytes(const forecast *f, size_t size)
{
	size_t rows = plus(size, 2 * STK_MAX_PANEL);

	return plus(times(rows, plus(times(f->dim, sizeof(float)), 16)), SPARE);
}

/* A thread's scratch while rows are scored. */
static size_t
task_bytes(const forecast *f)
{
	size_t row = plus(times(f->dim, 4 * sizeof(float)), 512);

	return times(f->threads, plus(times(TASK_ROWS / 4, row), times(4, SPARE)));
}

/* Rows that pieces are read into, and their codes. */
static size_t
piece_bytes(const forecast *f, size_t n)
{
	size_t rows = stk_train_piece(f->dim, n, (int) f->threads);

	return times(rows, plus(times(f->dim, sizeof(float)), times(f->levels, sizeof(uint16_t))));
}

/* Encoding: the codebook made ready and each thread's scratch. */
static size_t
encode_bytes(const forecast *f)
{
	size_t bytes = plus(pack_bytes(f, f->total), times(f->levels, pack_bytes(f, 0)));
	size_t width = smaller((size_t) f->plan->beam, times(f->total, f->total));
	size_t beam;

	bytes = plus(bytes, task_bytes(f));
	if (f->plan->beam == 1)
		return bytes;
	beam = plus(pack_bytes(f, f->total), times(f->levels, pack_bytes(f, 0)));
	beam =
		plus(beam, smaller(times(times(f->total, f->total), sizeof(float)), STK_BEAM_TABLE_BYTES));
	/* A prefix: its residual, codes and keys, twice; a row's scores with all codewords. */
	width = times(width, plus(times(f->dim, 2 * sizeof(float)), 4 * STK_MAX_LEVELS + 128));
	beam = plus(beam, times(f->threads, plus(width, times(f->total, 64 * sizeof(float)))));
	return plus(bytes, beam);
}

/* Measuring on n rows: their ids, which grow by half, and a copy of them to sort. */
static size_t
measure_bytes(const forecast *f, size_t n)
{
	/* Two bytes a level, two and a half times. */
	size_t bytes = plus(times(n, 5 * f->levels), times(f->total, 2 * sizeof(uint64_t)));

	return n == 0 ? 0 : plus(plus(bytes, piece_bytes(f, n)), encode_bytes(f));
}

/* Sorting n rows by content. */
static size_t
sort_bytes(size_t n)
{
	return times(n, sizeof(size_t) + 32);
}

/* Choosing the initial centroids among n rows. */
static size_t
start_bytes(const forecast *f, size_t n)
{
	size_t point = times(f->dim, sizeof(float));
	size_t bytes = plus(times(n, 26), plus(pack_bytes(f, TASK_ROWS), times(16, SPARE)));
	size_t candidates;

	if (f->plan->init == STK_INIT_RANDOM)
		return 0;
	if (f->plan->init == STK_INIT_KMEANSPP)
		return bytes;
	/* k-means||: about ten candidates a centroid, with their distances from 16 trials. */
	candidates = smaller(n, plus(times(f->largest, 11), TASK_ROWS));
	bytes = plus(bytes, plus(times(n, 4), times(TASK_ROWS, point)));
	bytes = plus(bytes, times(candidates, plus(point, 2 * 8 + 26 + 24 + 16 * 8)));
	return plus(bytes, plus(pack_bytes(f, candidates), times(f->threads, SPARE)));
}

/* What Lloyd's iterations add: bounds for rows, the centroids that moved, policies. */
static size_t
lloyd_bytes(const forecast *f)
{
	size_t bytes = plus(pack_bytes(f, f->largest), times(f->largest, f->dim * sizeof(float)));

	bytes = plus(bytes, times(4, task_bytes(f)));
	/* All rows may have to move on. */
	if (f->plan->balance > 0)
		bytes = plus(bytes, times(f->n, 32 + 300));
	if (f->plan->empty == STK_EMPTY_FARTHEST)
		bytes = plus(bytes, times(f->n, 32));
	return bytes;
}

/* Learning, beside the rows. */
static size_t
learn_bytes(const forecast *f)
{
	const stk_train_plan *plan = f->plan;
	bool lloyd = plan->method == STK_TRAIN_RQKMEANS && plan->batch_size == 0;
	size_t batch =
		plan->batch_size > 0 && plan->batch_size < f->n ? (size_t) plan->batch_size : f->n;
	size_t row = times(f->dim, sizeof(float));
	size_t bytes = plus(times(f->n, sizeof(size_t)), times(batch, 33 + sizeof(uint16_t)));

	bytes = plus(bytes, times(f->total, 32));
	bytes = plus(bytes, plus(pack_bytes(f, f->largest), task_bytes(f)));
	if (!lloyd)
		bytes = plus(bytes, plus(times(f->n, sizeof(size_t)), times(batch, plus(row, 8))));
	if (plan->method == STK_TRAIN_EMA)
	{
		bytes = plus(bytes, times(batch, plus(row, 8)));
		bytes = plus(bytes, times(f->total, plus(times(f->dim, sizeof(double)), 32)));
	}
	bytes = plus(bytes, larger(start_bytes(f, batch), lloyd ? lloyd_bytes(f) : 0));
	return larger(bytes, sort_bytes(f->n));
}

/* Refinement, beside the rows: a copy of them, codes, and a system of equations. */
static size_t
refine_bytes(const forecast *f)
{
	size_t row = plus(times(f->dim, sizeof(float)), times(f->levels, sizeof(uint16_t)));
	size_t system = times(f->total, plus(f->total, f->dim) + 64);
	size_t bytes = plus(times(f->n, plus(row, sizeof(size_t))), times(system, sizeof(double)));

	bytes = plus(bytes, times(f->total, plus(times(f->dim, 2 * sizeof(float)), 16)));
	bytes = plus(bytes, times(f->dim, sizeof(double)));
	return plus(bytes, larger(sort_bytes(f->n), plus(encode_bytes(f), times(f->n, 9))));
}

size_t
stk_train_bytes(const stk_train_plan *plan, size_t n, size_t heldout_n, int threads)
{
	forecast f = {.plan = plan,
				  .n = n,
				  .heldout_n = heldout_n,
				  .dim = (size_t) plan->dim,
				  .levels = (size_t) plan->levels,
				  .threads = (size_t) threads};
	size_t rows = times(n, f.dim * sizeof(float));
	size_t learning;

	for (int l = 0; l < plan->levels; l++)
	{
		f.total += plan->sizes[l];
		f.largest = larger(f.largest, plan->sizes[l]);
	}
	learning = learn_bytes(&f);
	if (plan->refine > 0)
		learning = larger(learning, refine_bytes(&f));
	if (plan->eval_every > 0)
		learning = plus(learning, measure_bytes(&f, heldout_n));
	learning = plus(rows, learning);
	return larger(learning, larger(measure_bytes(&f, n), measure_bytes(&f, heldout_n)));
}
