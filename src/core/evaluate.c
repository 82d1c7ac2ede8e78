#include "evaluate.h"

#include <math.h>
#include <string.h>

#include "dot.h"
#include "explog.h"
#include "fpenv.h"
#include "member_sums.h"
#include "rq_impl.h"
#include "sort.h"

/* Rows of a task, and those that are measured before they are summed. */
#define TASK_ROWS 64
#define PIECE 8192
/* Numbers of a piece where there is a network. */
#define NETWORK_FLOATS ((size_t) 1 << 21)

typedef double lanes __attribute__((vector_size(STK_LANES * sizeof(double))));
typedef float narrow_lanes __attribute__((vector_size(STK_LANES * sizeof(float))));

struct stk_evaluator
{
	stk_codebook cb;
	stk_allocator a;
	uint64_t rows;
	/* Of squared norms, then of squared distances after each level: */
	double sums[STK_MAX_LEVELS + 1];             /* of the chunks that are full */
	double lanes[STK_MAX_LEVELS + 1][STK_LANES]; /* of the one being filled */
	uint64_t *counts[STK_MAX_LEVELS];            /* [K_l], level 0 owns the memory */
	uint8_t *ids;                                /* [capacity][2 * levels], big-endian codes */
	size_t capacity;
};

stk_status
stk_evaluator_create(const stk_codebook *cb, const stk_allocator *a, stk_evaluator **out)
{
	stk_evaluator *ev = stk_alloc_array(a, 1, sizeof(stk_evaluator));
	size_t codes = 0;

	*out = NULL;
	if (!ev)
		return STK_ENOMEM;
	memset(ev, 0, sizeof(*ev));
	ev->cb = *cb;
	ev->a = *a;
	for (int l = 0; l < cb->levels; l++)
		codes += cb->sizes[l];
	ev->counts[0] = stk_alloc_array(a, codes, sizeof(uint64_t));
	if (!ev->counts[0])
	{
		stk_evaluator_free(ev);
		return STK_ENOMEM;
	}
	memset(ev->counts[0], 0, codes * sizeof(uint64_t));
	for (int l = 1; l < cb->levels; l++)
		ev->counts[l] = ev->counts[l - 1] + cb->sizes[l - 1];
	*out = ev;
	return STK_OK;
}

void
stk_evaluator_free(stk_evaluator *ev)
{
	stk_allocator a;

	if (!ev)
		return;
	a = ev->a;
	stk_free(&a, ev->counts[0]);
	stk_free(&a, ev->ids);
	stk_free(&a, ev);
}

/* One call's rows, shared by its tasks. */
typedef struct addition
{
	stk_evaluator *ev;
	const stk_exec *exec;
	const float *x;        /* [n][dim] */
	const uint16_t *codes; /* [n][levels] */
	size_t n;
	size_t first;             /* row of the call that the piece begins with */
	double *values;           /* [PIECE][levels + 1] squared norm and distances of its rows */
	float *scratch;           /* [threads][2][wide dim] */
	stk_rq_failure *failures; /* [threads] */
	float *latent;            /* [PIECE of a network][dim] sums of codewords so far */
	float *decoded;           /* [PIECE of a network][inputs] what they stand for */
} addition;

/* Eight columns of add_codeword. */
static inline void
add_columns(const float *x, const float *c, float *sum, lanes *lane)
{
	narrow_lanes y, s, d;
	lanes e;

	memcpy(&y, x, sizeof(y));
	memcpy(&d, c, sizeof(d));
	memcpy(&s, sum, sizeof(s));
	s += d;
	memcpy(sum, &s, sizeof(s));
	e = __builtin_convertvector(y, lanes) - __builtin_convertvector(s, lanes);
	*lane += e * e;
}

/*
 * sum += c; returns |x - sum|^2 in binary64, where a difference of two binary32 numbers cannot
 * overflow: it is finite unless the sum left binary32's range. x and sum are [wide_dim] and alike
 * behind dim, c is [dim].
 */
static double
add_codeword(const float *x, const float *c, float *sum, size_t dim)
{
	size_t whole = dim / STK_LANES * STK_LANES;
	lanes lane = {0};
	double added[STK_LANES];

	for (size_t i = 0; i < whole; i += STK_LANES)
		add_columns(x + i, c + i, sum + i, &lane);
	if (whole < dim)
	{
		float rest[STK_LANES] = {0};

		memcpy(rest, c + whole, (dim - whole) * sizeof(float));
		add_columns(x + whole, rest, sum + whole, &lane);
	}
	memcpy(added, &lane, sizeof(added));
	return stk_add_lanes(added);
}

/* Measure row `row` of the call: values [levels + 1] out, and its id. */
static stk_status
measure_row(const addition *ad, size_t row, float *scratch, double *values, stk_error *err)
{
	const stk_codebook *cb = &ad->ev->cb;
	size_t dim = (size_t) cb->dim;
	size_t wide = stk_wide_dim(dim);
	const uint16_t *codes = ad->codes + row * (size_t) cb->levels;
	uint8_t *id = ad->ev->ids + (ad->ev->rows + row - ad->first) * 2 * (size_t) cb->levels;
	float *x = scratch;
	float *sum = scratch + wide;
	stk_status status =
		stk_rq_prepare(cb, ad->exec->cpu->reference, ad->x + row * dim, x, row, err);

	if (status != STK_OK)
		return status;
	memset(x + dim, 0, (wide - dim) * sizeof(float));
	/* Minus zeros: the first codeword's own zeros keep their sign. */
	for (size_t i = 0; i < wide; i++)
		sum[i] = -0.0f;
	values[0] = stk_dot(x, x, dim);
	for (int l = 0; l < cb->levels; l++)
	{
		if (codes[l] >= cb->sizes[l])
			return stk_fail(stk_rq_place(err, row, l), STK_EINVAL,
							"code %d of level %d is not in the codebook", codes[l], l);
		values[l + 1] = add_codeword(x, cb->codewords[l] + codes[l] * dim, sum, dim);
		if (!isfinite(values[l + 1]))
			return stk_fail(stk_rq_place(err, row, l), STK_ERANGE,
							"sum of the codewords is out of range for type real");
		id[2 * l] = (uint8_t) (codes[l] >> 8);
		id[2 * l + 1] = (uint8_t) codes[l];
	}
	return STK_OK;
}

static void
measure_task(void *arg, size_t index, int thread)
{
	const addition *ad = arg;
	stk_rq_failure *failure = &ad->failures[thread];
	size_t columns = (size_t) ad->ev->cb.levels + 1;
	size_t first = ad->first + index * TASK_ROWS;
	size_t end = ad->n - first < TASK_ROWS ? ad->n : first + TASK_ROWS;
	float *scratch = ad->scratch + (size_t) thread * 2 * stk_wide_dim((size_t) ad->ev->cb.dim);

	if (stk_should_stop(ad->exec->monitor))
		failure->status = STK_ECANCELED;
	for (size_t row = first; row < end && !stk_rq_failed_before(failure, row); row++)
	{
		stk_rq_failure one = {.status = STK_OK, .err = {.level = -1}};

		one.status =
			measure_row(ad, row, scratch, ad->values + (row - ad->first) * columns, &one.err);
		if (one.status != STK_OK)
			*failure = one;
	}
}

/* Add the chunk that is being filled to the sums, and begin the next. */
static void
close_chunk(stk_evaluator *ev)
{
	for (int c = 0; c <= ev->cb.levels; c++)
	{
		ev->sums[c] += stk_add_lanes(ev->lanes[c]);
		memset(ev->lanes[c], 0, sizeof(ev->lanes[c]));
	}
}

/* Take in a piece of n rows that the tasks have measured. */
static void
take_piece(const addition *ad, size_t n)
{
	stk_evaluator *ev = ad->ev;
	int levels = ev->cb.levels;
	const double *values = ad->values;
	const uint16_t *codes = ad->codes + ad->first * (size_t) levels;

	for (size_t i = 0; i < n; i++, values += levels + 1, codes += levels)
	{
		for (int c = 0; c <= levels; c++)
			ev->lanes[c][ev->rows % STK_LANES] += values[c];
		for (int l = 0; l < levels; l++)
			ev->counts[l][codes[l]]++;
		ev->rows++;
		if (ev->rows % STK_SUM_CHUNK == 0)
			close_chunk(ev);
	}
}

/* Measure and take in piece after piece; the failures of all threads as one. */
static stk_rq_failure
add_pieces(addition *ad)
{
	int threads = stk_threads(ad->exec->pool);
	stk_rq_failure failure = {.status = STK_OK};

	for (int t = 0; t < threads; t++)
		ad->failures[t] = failure;
	for (; ad->first < ad->n && failure.status == STK_OK; ad->first += PIECE)
	{
		size_t n = ad->n - ad->first < PIECE ? ad->n - ad->first : PIECE;

		stk_run(ad->exec->pool, measure_task, ad, (n + TASK_ROWS - 1) / TASK_ROWS);
		for (int t = 0; t < threads; t++)
			stk_rq_merge_failure(&failure, &ad->failures[t]);
		if (failure.status == STK_OK)
			take_piece(ad, n);
	}
	return failure;
}

/*
 * Rows of embeddings with a network are measured level by level: what the sums of codewords so far
 * stand for is decoded for many rows at once.
 */

/* Rows of a piece: a few megabytes of numbers. */
static size_t
network_piece(const stk_codebook *cb)
{
	size_t rows = NETWORK_FLOATS / ((size_t) cb->dim + cb->network.inputs) + 1;

	return rows < PIECE ? rows : PIECE;
}

/* |x - y|^2 in binary64, by the reference's lanes. */
static double
squared_distance(const float *x, const float *y, size_t dim)
{
	double lane[STK_LANES] = {0};

	for (size_t i = 0; i < dim; i++)
	{
		double e = (double) x[i] - (double) y[i];

		lane[i % STK_LANES] += e * e;
	}
	return stk_add_lanes(lane);
}

/* Add the codewords of level l to the sums, and their codes to the ids. */
static stk_status
add_level(const addition *ad, size_t n, int l, stk_error *err)
{
	const stk_codebook *cb = &ad->ev->cb;
	size_t dim = (size_t) cb->dim;
	size_t width = 2 * (size_t) cb->levels;

	for (size_t r = 0; r < n; r++)
	{
		uint16_t code = ad->codes[(ad->first + r) * (size_t) cb->levels + (size_t) l];
		uint8_t *id = ad->ev->ids + (ad->ev->rows + r) * width + 2 * l;
		float *sum = ad->latent + r * dim;

		if (code >= cb->sizes[l])
			return stk_fail(stk_rq_place(err, ad->first + r, l), STK_EINVAL,
							"code %d of level %d is not in the codebook", code, l);
		for (size_t i = 0; i < dim; i++)
			sum[i] += cb->codewords[l][code * dim + i];
		if (!ad->exec->cpu->reference->finite(sum, dim))
			return stk_fail(stk_rq_place(err, ad->first + r, l), STK_ERANGE,
							"sum of the codewords is out of range for type real");
		id[0] = (uint8_t) (code >> 8);
		id[1] = (uint8_t) code;
	}
	return STK_OK;
}

static stk_status
measure_network_piece(const addition *ad, size_t n, stk_error *err)
{
	const stk_codebook *cb = &ad->ev->cb;
	size_t inputs = cb->network.inputs;
	size_t columns = (size_t) cb->levels + 1;
	const float *x = ad->x + ad->first * inputs;
	stk_status status = STK_OK;

	for (size_t r = 0; r < n; r++)
	{
		if (!ad->exec->cpu->reference->finite(x + r * inputs, inputs))
			return stk_fail(stk_rq_place(err, ad->first + r, -1), STK_EINVAL,
							"embedding holds NaN or infinity");
		ad->values[r * columns] = stk_dot(x + r * inputs, x + r * inputs, inputs);
	}
	/* Minus zeros: the first codeword's own zeros keep their sign. */
	for (size_t i = 0; i < n * (size_t) cb->dim; i++)
		ad->latent[i] = -0.0f;
	for (int l = 0; l < cb->levels && status == STK_OK; l++)
	{
		status = add_level(ad, n, l, err);
		if (status != STK_OK)
			return status;
		status = stk_network_decode(&cb->network, ad->exec, ad->latent, n, ad->decoded, err);
		for (size_t r = 0; r < n && status == STK_OK; r++)
			ad->values[r * columns + (size_t) l + 1] =
				squared_distance(x + r * inputs, ad->decoded + r * inputs, inputs);
		if (status == STK_EINVAL || status == STK_ERANGE)
			stk_rq_place(err, ad->first + err->row, l);
	}
	return status;
}

/* Measure and take in piece after piece. */
static stk_rq_failure
add_network_pieces(addition *ad)
{
	size_t piece = network_piece(&ad->ev->cb);
	stk_rq_failure failure = {.status = STK_OK, .err = {.level = -1}};

	for (; ad->first < ad->n && failure.status == STK_OK; ad->first += piece)
	{
		size_t n = ad->n - ad->first < piece ? ad->n - ad->first : piece;

		failure.status = measure_network_piece(ad, n, &failure.err);
		if (failure.status == STK_OK)
			take_piece(ad, n);
	}
	return failure;
}

/* Room for the ids of n more rows. */
static stk_status
grow_ids(stk_evaluator *ev, size_t n)
{
	size_t needed = ev->rows + n;
	size_t capacity = needed + needed / 2;
	uint8_t *ids;

	if (needed <= ev->capacity)
		return STK_OK;
	ids = stk_realloc_array(&ev->a, ev->ids, capacity, 2 * (size_t) ev->cb.levels);
	if (!ids)
		return STK_ENOMEM;
	ev->ids = ids;
	ev->capacity = capacity;
	return STK_OK;
}

stk_status
stk_evaluator_add(stk_evaluator *ev, const stk_exec *exec, const float *x, const uint16_t *codes,
				  size_t n, stk_error *err)
{
	const stk_allocator *a = &exec->a;
	size_t threads = (size_t) stk_threads(exec->pool);
	size_t columns = (size_t) ev->cb.levels + 1;
	size_t wide = stk_wide_dim((size_t) ev->cb.dim);
	bool network = ev->cb.network.inputs > 0;
	size_t decoded = network ? network_piece(&ev->cb) : 0;
	addition ad = {.ev = ev,
				   .exec = exec,
				   .x = x,
				   .codes = codes,
				   .n = n,
				   .values =
					   stk_alloc_array(a, n < PIECE ? n + 1 : PIECE, columns * sizeof(double)),
				   .scratch = stk_alloc_array(a, threads, 2 * wide * sizeof(float)),
				   .failures = stk_alloc_array(a, threads, sizeof(stk_rq_failure))};
	stk_status status = STK_ENOMEM;

	decoded = decoded < n ? decoded : n;
	if (decoded > 0)
	{
		ad.latent = stk_alloc_array(a, decoded, (size_t) ev->cb.dim * sizeof(float));
		ad.decoded = stk_alloc_array(a, decoded, ev->cb.network.inputs * sizeof(float));
	}
	if (ad.values && ad.scratch && ad.failures && (decoded == 0 || (ad.latent && ad.decoded)))
		status = grow_ids(ev, n);
	if (status == STK_OK)
	{
		stk_fpenv env = stk_fpenv_enter();
		stk_rq_failure failure = network ? add_network_pieces(&ad) : add_pieces(&ad);

		stk_fpenv_leave(env);
		status = failure.status;
		if (err && (status == STK_EINVAL || status == STK_ERANGE))
			*err = failure.err;
	}
	stk_free(a, ad.latent);
	stk_free(a, ad.decoded);
	stk_free(a, ad.values);
	stk_free(a, ad.scratch);
	stk_free(a, ad.failures);
	return status;
}

/* Take in what run says of its rows; no chunk is being filled. */
static void
take_run(stk_evaluator *ev, const stk_accelerator_evaluation *run)
{
	int levels = ev->cb.levels;
	const uint16_t *codes = run->codes;
	const double *sums = run->sums;
	uint8_t *id = ev->ids + ev->rows * 2 * (size_t) levels;

	for (size_t i = 0; i < run->n; i++, codes += levels)
	{
		for (int l = 0; l < levels; l++, id += 2)
		{
			ev->counts[l][codes[l]]++;
			id[0] = (uint8_t) (codes[l] >> 8);
			id[1] = (uint8_t) codes[l];
		}
	}
	for (size_t i = 0; i < run->n; i += STK_SUM_CHUNK, sums += levels + 1)
	{
		for (int c = 0; c <= levels; c++)
			ev->sums[c] += sums[c];
	}
	ev->rows += run->n;
}

stk_status
stk_evaluator_encode_there(stk_evaluator *ev, const stk_exec *exec, stk_attached *there,
						   const float *x, size_t n, uint16_t *codes, size_t *done)
{
	const stk_allocator *a = &exec->a;
	size_t columns = (size_t) ev->cb.levels + 1;
	stk_accelerator_evaluation run = {
		.x = x, .n = n / STK_SUM_CHUNK * STK_SUM_CHUNK, .codes = codes};
	stk_status status = STK_OK;
	stk_status said;

	*done = 0;
	/* A device measures in the space of the codewords. */
	if (!there->codebook || ev->cb.network.inputs || run.n == 0 || ev->rows % STK_SUM_CHUNK != 0)
		return STK_OK;
	run.sums = stk_alloc_array(a, run.n / STK_SUM_CHUNK, columns * sizeof(double));
	status = run.sums ? grow_ids(ev, run.n) : STK_ENOMEM;
	/* What it cannot do is no failure. */
	if (status == STK_OK && stk_attached_evaluate(there, &run, &said))
		status = said;
	else
		run.n = 0;
	if (status == STK_OK && run.n > 0)
	{
		stk_fpenv env = stk_fpenv_enter();

		take_run(ev, &run);
		stk_fpenv_leave(env);
		*done = run.n;
	}
	stk_free(a, run.sums);
	return status;
}

/* Rows between two looks at the monitor. */
#define LOOK ((size_t) 1 << 18)

/*
 * Move ids to `to` in the order of their codes of level l, those with the same code in the order that
 * they have. first [size] is scratch.
 */
static stk_status
sort_by_level(const stk_evaluator *ev, int l, size_t *first, uint8_t *to,
			  const stk_monitor *monitor)
{
	size_t width = 2 * (size_t) ev->cb.levels;
	size_t so_far = 0;

	for (uint32_t k = 0; k < ev->cb.sizes[l]; k++)
	{
		first[k] = so_far;
		so_far += ev->counts[l][k];
	}
	for (size_t i = 0; i < ev->rows; i++)
	{
		const uint8_t *id = ev->ids + i * width;
		size_t code = (size_t) id[2 * l] << 8 | id[2 * l + 1];

		if (i % LOOK == 0 && stk_should_stop(monitor))
			return STK_ECANCELED;
		memcpy(to + first[code]++ * width, id, width);
	}
	return STK_OK;
}

/* Put the ids in order, by the codes of one level after the other, the last one first. */
static stk_status
sort_ids(stk_evaluator *ev, const stk_monitor *monitor)
{
	uint32_t largest = 0;
	uint8_t *other = stk_alloc_array(&ev->a, ev->rows, 2 * (size_t) ev->cb.levels);
	size_t *first;
	stk_status status;

	for (int l = 0; l < ev->cb.levels; l++)
		largest = ev->cb.sizes[l] > largest ? ev->cb.sizes[l] : largest;
	first = stk_alloc_array(&ev->a, largest, sizeof(size_t));
	status = other && first ? STK_OK : STK_ENOMEM;
	for (int l = ev->cb.levels - 1; l >= 0 && status == STK_OK; l--)
	{
		uint8_t *sorted = other;

		status = sort_by_level(ev, l, first, sorted, monitor);
		other = ev->ids;
		ev->ids = sorted;
	}
	stk_free(&ev->a, other);
	stk_free(&ev->a, first);
	return status;
}

static int
compare_counts(const void *a, const void *b, const void *ctx)
{
	uint64_t p = *(const uint64_t *) a;
	uint64_t q = *(const uint64_t *) b;

	(void) ctx;
	return (p > q) - (p < q);
}

/* What `count` of `rows` rows add to the entropy. */
static double
surprise(uint64_t count, uint64_t rows)
{
	double p = (double) count / (double) rows;

	return -p * stk_log(p);
}

static stk_status
finish_ids(stk_evaluator *ev, const stk_monitor *monitor, stk_evaluation *result)
{
	size_t width = 2 * (size_t) ev->cb.levels;
	uint64_t shared = 0;
	stk_status status = sort_ids(ev, monitor);

	if (status != STK_OK)
		return status;
	for (size_t i = 0; i < ev->rows;)
	{
		size_t end = i + 1;
		uint64_t count;

		while (end < ev->rows && memcmp(ev->ids + i * width, ev->ids + end * width, width) == 0)
			end++;
		count = end - i;
		result->ids++;
		result->entropy += surprise(count, ev->rows);
		if (count > 1)
			shared += count;
		if (count > result->largest)
			result->largest = count;
		i = end;
	}
	result->unique_fraction = (double) result->ids / (double) ev->rows;
	result->collision_rate = (double) shared / (double) ev->rows;
	result->perplexity = stk_exp(result->entropy);
	return STK_OK;
}

/* counts [size] is sorted here, and so of no more use. */
static stk_status
finish_level(stk_evaluator *ev, int l, const stk_monitor *monitor, stk_level_evaluation *r)
{
	uint64_t *counts = ev->counts[l];
	double ranked = 0; /* sum of rank * count, ranks from 1 in ascending order */
	stk_status status;

	r->mse = ev->sums[l + 1] / (double) ev->rows;
	r->relative_error = ev->sums[0] > 0 ? ev->sums[l + 1] / ev->sums[0] : 0;
	for (uint32_t k = 0; k < r->size; k++)
	{
		if (counts[k] == 0)
			continue;
		r->used++;
		r->entropy += surprise(counts[k], ev->rows);
	}
	r->dead = r->size - r->used;
	r->usage = (double) r->used / r->size;
	r->perplexity = stk_exp(r->entropy);

	status = stk_sort(counts, r->size, sizeof(uint64_t), compare_counts, NULL, &ev->a, monitor);
	if (status != STK_OK)
		return status;
	for (uint32_t k = 0; k < r->size; k++)
		ranked += (double) (k + 1) * (double) counts[k];
	r->gini = 2 * ranked / ((double) r->size * (double) ev->rows) -
			  ((double) r->size + 1) / (double) r->size;
	return STK_OK;
}

stk_status
stk_evaluator_finish(stk_evaluator *ev, const stk_monitor *monitor, stk_evaluation *result)
{
	stk_status status;
	stk_fpenv env;

	memset(result, 0, sizeof(*result));
	result->rows = ev->rows;
	result->levels = ev->cb.levels;
	for (int l = 0; l < ev->cb.levels; l++)
		result->level[l].size = ev->cb.sizes[l];
	if (ev->rows == 0)
		return STK_OK;

	env = stk_fpenv_enter();
	if (ev->rows % STK_SUM_CHUNK != 0)
		close_chunk(ev);
	status = finish_ids(ev, monitor, result);
	for (int l = 0; l < ev->cb.levels && status == STK_OK; l++)
		status = finish_level(ev, l, monitor, &result->level[l]);
	result->mse = result->level[ev->cb.levels - 1].mse;
	result->relative_error = result->level[ev->cb.levels - 1].relative_error;
	stk_fpenv_leave(env);
	return status;
}
