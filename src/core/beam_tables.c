#include "beam_tables.h"

#include <math.h>
#include <string.h>

static uint32_t
round_up(uint32_t n, uint32_t to)
{
	return (n + to - 1) / to * to;
}

/*
 * Lay out t's levels for this shape; returns the floats of all products, or SIZE_MAX when they
 * are too many.
 */
static size_t
lay_out(stk_beam_tables *t, const stk_codebook *cb)
{
	size_t products = 0;
	size_t above = 0;

	t->levels = cb->levels;
	t->total = 0;
	for (int l = 0; l < cb->levels; l++)
	{
		stk_beam_level *level = &t->level[l];
		uint32_t panel = level->pack.kernel->panel;

		level->stride = round_up(round_up(cb->sizes[l], panel), STK_BEAM_LANES);
		level->first = t->total;
		level->above = above;
		t->total += level->stride;
		products += above * level->stride;
		if (products > STK_BEAM_TABLE_BYTES / sizeof(float))
			return SIZE_MAX;
		above += cb->sizes[l];
	}
	return products;
}

/* The making of one level's table, shared by tasks of one row each. */
typedef struct job
{
	const stk_codebook *cb;
	const stk_exec *exec;
	const stk_beam_level *level;
	const float **codewords; /* [largest] of this level */
	const float **above;     /* [above] of the levels above */
	double *dots;            /* [threads][largest] */
	size_t largest;
	bool *stopped; /* [threads] */
} job;

static void
fill_row(void *arg, size_t index, int thread)
{
	job *j = arg;
	const stk_beam_level *level = j->level;
	double *dots = j->dots + (size_t) thread * j->largest;
	float *row = level->products + index * level->stride;
	uint32_t size = level->pack.size;

	if (j->stopped[thread] || stk_should_stop(j->exec->monitor))
	{
		j->stopped[thread] = true;
		return;
	}
	j->exec->cpu->reference->dots(j->above[index], j->codewords, size, level->pack.dim, dots);
	for (uint32_t k = 0; k < level->stride; k++)
		row[k] = k < size ? (float) dots[k] : 0;
}

static stk_status
fill_products(stk_beam_tables *t, const stk_codebook *cb, const stk_exec *exec)
{
	size_t threads = (size_t) stk_threads(exec->pool);
	size_t all = t->level[t->levels - 1].above;
	job j = {.cb = cb, .exec = exec};
	bool stopped = false;

	for (int l = 0; l < cb->levels; l++)
		j.largest = cb->sizes[l] > j.largest ? cb->sizes[l] : j.largest;
	j.codewords = stk_alloc_array(&exec->a, j.largest, sizeof(float *));
	j.above = stk_alloc_array(&exec->a, all, sizeof(float *));
	j.dots = stk_alloc_array(&exec->a, threads * j.largest, sizeof(double));
	j.stopped = stk_alloc_array(&exec->a, threads, sizeof(bool));
	if (j.codewords && j.above && j.dots && j.stopped)
	{
		memset(j.stopped, 0, threads * sizeof(bool));
		for (int l = 0; l < cb->levels; l++)
		{
			j.level = &t->level[l];
			for (uint32_t k = 0; k < cb->sizes[l]; k++)
				j.codewords[k] = cb->codewords[l] + k * (size_t) cb->dim;
			stk_run(exec->pool, fill_row, &j, j.level->above);
			for (uint32_t k = 0; k < cb->sizes[l] && l + 1 < cb->levels; k++)
				j.above[j.level->above + k] = j.codewords[k];
		}
		for (size_t i = 0; i < threads; i++)
			stopped |= j.stopped[i];
	}
	stk_free(&exec->a, j.codewords);
	stk_free(&exec->a, j.above);
	stk_free(&exec->a, j.dots);
	stk_free(&exec->a, j.stopped);
	if (stopped)
		return STK_ECANCELED;
	return j.codewords && j.above && j.dots && j.stopped ? STK_OK : STK_ENOMEM;
}

stk_status
stk_beam_tables_create(const stk_codebook *cb, const stk_exec *exec, const stk_allocator *a,
					   stk_beam_tables **out)
{
	stk_exec owner = *exec;
	stk_beam_tables *t;
	stk_status status = STK_OK;
	size_t products;
	float *place;

	*out = NULL;
	if (!exec->cpu->binary32)
		return STK_OK;
	t = stk_alloc_array(a, 1, sizeof(stk_beam_tables));
	if (!t)
		return STK_ENOMEM;
	memset(t, 0, sizeof(*t));
	t->a = owner.a = *a;
	t->bytes = sizeof(*t);
	for (int l = 0; l < cb->levels && status == STK_OK; l++)
	{
		t->levels = l + 1;
		status = stk_pack_init(&t->level[l].pack, &owner, STK_FILTER_BINARY32, false, cb->sizes[l],
							   (size_t) cb->dim, cb->metric == STK_IP);
		t->bytes += t->level[l].pack.bytes;
	}
	products = status == STK_OK ? lay_out(t, cb) : SIZE_MAX;
	if (products == SIZE_MAX)
	{
		stk_beam_tables_free(t);
		return status;
	}
	t->bytes += products * sizeof(float) + STK_ALIGN;
	t->memory = stk_alloc_array(a, products * sizeof(float) + STK_ALIGN, 1);
	if (!t->memory)
	{
		stk_beam_tables_free(t);
		return STK_ENOMEM;
	}
	place = stk_align(t->memory);
	for (int l = 0; l < cb->levels && status == STK_OK; l++)
	{
		status = stk_pack_fill(&t->level[l].pack, cb->codewords[l], exec->monitor);
		t->level[l].products = place;
		place += t->level[l].above * t->level[l].stride;
	}
	if (status == STK_OK)
		status = fill_products(t, cb, exec);
	if (status == STK_OK)
		*out = t;
	else
		stk_beam_tables_free(t);
	return status;
}

void
stk_beam_tables_free(stk_beam_tables *t)
{
	stk_allocator a;

	if (!t)
		return;
	a = t->a;
	for (int l = 0; l < t->levels; l++)
		stk_pack_free(&t->level[l].pack);
	stk_free(&a, t->memory);
	stk_free(&a, t);
}

/*
 * Let a prefix p of l codes have residual r_p, as the reference forms it in binary32, and key K_p.
 * Its value here is u_p; a child by codeword k of level l has
 *
 *    u = u_p + (v_k - T_{a_0 k} - ... - T_{a_{l-1} k}),    v_k ~ x.c_k - h_k,  T_{ak} ~ c_a.c_k
 *
 * In exact numbers this is minus the sum of scores, (|x|^2 - K) / 2. It is off by, for each level
 * on the way, with C the largest |c| of the level, H the largest h, and R = |x| + the sum of all
 * levels' C, which no residual's norm exceeds:
 *
 *    (D + 3) 2^-24 |x| C + (D + 2) 2^-149 + 2^-23 H    the filter's score (bound.c: nothing is
 *                                                      given away, rows and codewords go in as
 *                                                      they are)
 *    2^-24 C_j C + 2^-149        each T, computed in binary64, rounded to binary32
 *    2^-24 G                     each of l + 1 additions, none at the first level: no partial
 *                                result exceeds G, the sum of R C + H down to this level; sums
 *                                lose nothing to underflow
 *
 * The reference's key is off by
 *
 *    2^-24 l R C                 the residual was rounded l times (subtraction loses nothing to
 *                                underflow either), each time by 2^-24 R at most
 *    (D / 8 + 9) 2^-53 4 R^2     its dot product (bound.c), the score, the key: binary64 numbers
 *                                of at most 4 R^2
 *
 * Twice the sum separates two prefixes of a level: where u_i > u_j + 2 error, K_i < K_j. Norms are
 * rounded up here by the last factor, which also covers products of these small terms.
 */
bool
stk_beam_errors(const stk_beam_tables *t, double norm, double *error)
{
	double d = (double) t->level[0].pack.dim;
	double all = norm;  /* R */
	double above = 0;   /* the sum of C over the levels above */
	double largest = 0; /* G */
	double sum = 0;

	for (int l = 0; l < t->levels; l++)
		all += 1.001 * t->level[l].pack.bound.norm;
	/* Written so that NaN says no. */
	if (!(all < 1e18))
		return false;
	for (int l = 0; l < t->levels; l++)
	{
		const stk_bound_codes *codes = &t->level[l].pack.bound;
		double score, table, adding, residual, reference;

		largest += all * codes->norm + codes->half;
		score = (d + 3) * 0x1p-24 * norm * codes->norm + (d + 2) * 0x1p-149 + 0x1p-23 * codes->half;
		table = 0x1p-24 * above * codes->norm + l * 0x1p-149;
		adding = (l > 0 ? l + 1 : 0) * 0x1p-24 * largest;
		residual = l * 0x1p-24 * all * codes->norm;
		reference = (ceil(d / 8) + 9) * 0x1p-53 * 4 * all * all;
		sum += score + table + adding + residual + reference;
		error[l] = 1.01 * sum;
		above += codes->norm;
	}
	return true;
}
