/*
 * How much memory a training takes, before it begins. Each function speaks of one part of the work,
 * and says what that part holds at once; where the number depends on the rows it is what the worst
 * rows bring about.
 */
#include "beam_tables.h"
#include "forecast.h"
#include "method.h"
#include "train_impl.h"

/* Rows that a thread works on at a time, at most, in any of core's tasks. */
#define TASK_ROWS 1024

/* Binary32 or less, whole panels, an offset and a norm each. */
size_t
stk_forecast_pack(const stk_forecast *f, size_t size)
{
	size_t rows = stk_plus(size, 2 * STK_MAX_PANEL);

	return stk_plus(stk_times(rows, stk_plus(stk_times(f->dim, sizeof(float)), 16)),
					STK_FORECAST_SPARE);
}

size_t
stk_forecast_tasks(const stk_forecast *f)
{
	size_t row = stk_plus(stk_times(f->dim, 4 * sizeof(float)), 512);

	return stk_times(f->threads,
					 stk_plus(stk_times(TASK_ROWS / 4, row), stk_times(4, STK_FORECAST_SPARE)));
}

/* Rows that pieces are read into, and their codes. */
static size_t
piece_bytes(const stk_forecast *f, size_t n)
{
	size_t rows = stk_train_piece(f->dim, n, (int) f->threads);

	return stk_times(
		rows, stk_plus(stk_times(f->dim, sizeof(float)), stk_times(f->levels, sizeof(uint16_t))));
}

/* Encoding: the codebook made ready and each thread's scratch. */
static size_t
encode_bytes(const stk_forecast *f)
{
	size_t bytes =
		stk_plus(stk_forecast_pack(f, f->total), stk_times(f->levels, stk_forecast_pack(f, 0)));
	size_t width = stk_smaller((size_t) f->plan->beam, stk_times(f->total, f->total));
	size_t beam;

	bytes = stk_plus(bytes, stk_forecast_tasks(f));
	if (f->plan->beam == 1)
		return bytes;
	beam = stk_plus(stk_forecast_pack(f, f->total), stk_times(f->levels, stk_forecast_pack(f, 0)));
	beam = stk_plus(beam, stk_smaller(stk_times(stk_times(f->total, f->total), sizeof(float)),
									  STK_BEAM_TABLE_BYTES));
	/* A prefix: its residual, codes and keys, twice; a row's scores with all codewords. */
	width =
		stk_times(width, stk_plus(stk_times(f->dim, 2 * sizeof(float)), 4 * STK_MAX_LEVELS + 128));
	beam = stk_plus(
		beam, stk_times(f->threads, stk_plus(width, stk_times(f->total, 64 * sizeof(float)))));
	return stk_plus(bytes, beam);
}

/* Measuring on n rows: their ids, which grow by half, and a copy of them to sort. */
static size_t
measure_bytes(const stk_forecast *f, size_t n)
{
	/* Two bytes a level, two and a half times. */
	size_t bytes = stk_plus(stk_times(n, 5 * f->levels), stk_times(f->total, 2 * sizeof(uint64_t)));

	return n == 0 ? 0 : stk_plus(stk_plus(bytes, piece_bytes(f, n)), encode_bytes(f));
}

/* Sorting n rows by content. */
static size_t
sort_bytes(size_t n)
{
	return stk_times(n, sizeof(size_t) + 32);
}

size_t
stk_forecast_start(const stk_forecast *f, size_t n)
{
	size_t point = stk_times(f->dim, sizeof(float));
	size_t bytes = stk_plus(stk_times(n, 26), stk_plus(stk_forecast_pack(f, TASK_ROWS),
													   stk_times(16, STK_FORECAST_SPARE)));
	size_t candidates;

	if (f->plan->init == STK_INIT_RANDOM)
		return 0;
	if (f->plan->init == STK_INIT_KMEANSPP)
		return bytes;
	/* k-means||: about ten candidates a centroid, with their distances from 16 trials. */
	candidates = stk_smaller(n, stk_plus(stk_times(f->largest, 11), TASK_ROWS));
	bytes = stk_plus(bytes, stk_plus(stk_times(n, 4), stk_times(TASK_ROWS, point)));
	bytes = stk_plus(bytes, stk_times(candidates, stk_plus(point, 2 * 8 + 26 + 24 + 16 * 8)));
	return stk_plus(bytes, stk_plus(stk_forecast_pack(f, candidates),
									stk_times(f->threads, STK_FORECAST_SPARE)));
}

size_t
stk_forecast_assign(const stk_forecast *f)
{
	size_t bytes =
		stk_plus(stk_times(f->n, sizeof(size_t)), stk_times(f->batch, 33 + sizeof(uint16_t)));

	bytes = stk_plus(bytes, stk_times(f->total, 32));
	return stk_plus(bytes, stk_plus(stk_forecast_pack(f, f->largest), stk_forecast_tasks(f)));
}

size_t
stk_forecast_batches(const stk_forecast *f)
{
	size_t row = stk_times(f->dim, sizeof(float));

	return stk_plus(stk_times(f->n, sizeof(size_t)), stk_times(f->batch, stk_plus(row, 8)));
}

/* Refinement, beside the rows: a copy of them, codes, and a system of equations. */
static size_t
refine_bytes(const stk_forecast *f)
{
	size_t row = stk_plus(stk_times(f->dim, sizeof(float)), stk_times(f->levels, sizeof(uint16_t)));
	size_t system = stk_times(f->total, stk_plus(f->total, f->dim) + 64);
	size_t bytes =
		stk_plus(stk_times(f->n, stk_plus(row, sizeof(size_t))), stk_times(system, sizeof(double)));

	bytes =
		stk_plus(bytes, stk_times(f->total, stk_plus(stk_times(f->dim, 2 * sizeof(float)), 16)));
	bytes = stk_plus(bytes, stk_times(f->dim, sizeof(double)));
	return stk_plus(bytes,
					stk_larger(sort_bytes(f->n), stk_plus(encode_bytes(f), stk_times(f->n, 9))));
}

size_t
stk_train_bytes(const stk_train_plan *plan, size_t n, size_t heldout_n, int threads)
{
	stk_forecast f = {.plan = plan,
					  .n = n,
					  .heldout_n = heldout_n,
					  .dim = (size_t) plan->dim,
					  .levels = (size_t) plan->levels,
					  .threads = (size_t) threads};
	size_t rows = stk_times(n, f.dim * sizeof(float));
	size_t learning;

	for (int l = 0; l < plan->levels; l++)
	{
		f.total += plan->sizes[l];
		f.largest = stk_larger(f.largest, plan->sizes[l]);
	}
	f.batch = n;
	if (plan->batch_size > 0 && plan->batch_size < n)
		f.batch = (size_t) plan->batch_size;
	learning = stk_larger(stk_method_of(plan->method)->bytes(&f), sort_bytes(n));
	if (plan->refine > 0)
		learning = stk_larger(learning, refine_bytes(&f));
	if (plan->eval_every > 0)
		learning = stk_plus(learning, measure_bytes(&f, heldout_n));
	learning = stk_plus(rows, learning);
	return stk_larger(learning, stk_larger(measure_bytes(&f, n), measure_bytes(&f, heldout_n)));
}
