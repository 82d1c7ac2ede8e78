/*
 * Making queries: from logits, from an embedding.
 */
#include <math.h>
#include <string.h>

#include "dot.h"
#include "explog.h"
#include "fpenv.h"
#include "query.h"
#include "query_form.h"
#include "rq.h"

static stk_error *
place(stk_error *err, int level, size_t row)
{
	if (err)
	{
		err->level = level;
		err->row = row;
	}
	return err;
}

static stk_status
check_shape(int levels, const uint32_t *sizes, uint32_t tokenizer, stk_error *err)
{
	if (levels < 1 || levels > STK_MAX_LEVELS)
		return stk_fail(place(err, -1, 0), STK_EINVAL, "expected 1 to %d levels, not %d",
						STK_MAX_LEVELS, levels);
	for (int l = 0; l < levels; l++)
		if (sizes[l] < 1 || sizes[l] > STK_MAX_CODES)
			return stk_fail(place(err, l, 0), STK_EINVAL,
							"expected 1 to %d codes in level %d, not %u", STK_MAX_CODES, l,
							sizes[l]);
	if (tokenizer > STK_MAX_TOKENIZER)
		return stk_fail(place(err, -1, 0), STK_EINVAL, "tokenizer %u is out of range", tokenizer);
	return STK_OK;
}

static stk_status
check_logits(const float *logits, int levels, const uint32_t *sizes, stk_error *err)
{
	for (int l = 0; l < levels; l++)
	{
		for (size_t i = 0; i < sizes[l]; i++)
			if (!(logits[i] < INFINITY))
				return stk_fail(place(err, l, i), STK_EINVAL,
								"logit of level %d, code %zu is %s, expected a number", l, i,
								isnan(logits[i]) ? "NaN" : "infinity");
		logits += sizes[l];
	}
	return STK_OK;
}

/* Allocate a stored form, write its header and zero the rest. */
static stk_status
create(stk_query_kind kind, stk_norm norm, int levels, const uint32_t *sizes, uint32_t tokenizer,
	   size_t set_bytes, uint32_t set_nodes, stk_query_layout *layout, const stk_allocator *a,
	   uint8_t **out, stk_error *err)
{
	uint8_t *datum;
	uint32_t *words;

	if (set_bytes > STK_QUERY_MAX_BYTES)
		return stk_fail(place(err, -1, 0), STK_ERANGE, "semquery would be too large");
	stk_query_lay_out(kind, levels, sizes, (uint32_t) set_bytes, set_nodes, layout);
	if (layout->end > STK_QUERY_MAX_BYTES)
		return stk_fail(place(err, -1, 0), STK_ERANGE,
						"semquery would have %llu bytes, expected at most %d",
						(unsigned long long) layout->end, STK_QUERY_MAX_BYTES);
	datum = stk_alloc_array(a, (size_t) layout->end, 1);
	if (!datum)
		return STK_ENOMEM;
	memset(datum, 0, (size_t) layout->end);
	datum[4] = STK_QUERY_VERSION;
	datum[5] = (uint8_t) kind;
	datum[6] = (uint8_t) norm;
	datum[7] = (uint8_t) levels;
	words = (uint32_t *) datum;
	words[2] = tokenizer;
	words[3] = (uint32_t) set_bytes;
	memcpy(words + 4, sizes, sizeof(uint32_t) * (size_t) levels);
	*out = datum;
	return STK_OK;
}

/* Costs of all codes, level by level, for norm full or none. */
static stk_status
level_costs(const float *logits, int levels, const uint32_t *sizes, stk_norm norm, double *cost,
			stk_error *err)
{
	for (int l = 0; l < levels; l++)
	{
		if (norm == STK_NORM_NONE)
		{
			/* From zero, so that a logit of 0 costs 0 and not -0. */
			for (size_t i = 0; i < sizes[l]; i++)
				cost[i] = 0.0 - (double) logits[i];
		}
		else if (stk_softmax_costs(logits, sizes[l], cost) != STK_OK)
			return stk_fail(place(err, l, 0), STK_EINVAL, "level %d has no finite logit", l);
		logits += sizes[l];
		cost += sizes[l];
	}
	return STK_OK;
}

/*
 * Costs of one node's children by the softmax over those that the level has codes for; the
 * others, and all when no logit is finite, cost infinity.
 *
 *   logits  [size]        the children's level
 *   code    [n]           ascending
 *   z       [size]        scratch
 *   cost    [n]           out
 */
static void
masked_costs(const float *logits, uint32_t size, const uint16_t *code, uint32_t n, float *z,
			 double *cost)
{
	uint32_t known = 0;

	while (known < n && code[known] < size)
	{
		z[known] = logits[code[known]];
		known++;
	}
	if (stk_softmax_costs(z, known, cost) != STK_OK)
		known = 0;
	for (uint32_t i = known; i < n; i++)
		cost[i] = INFINITY;
}

/* Fill node_cost of the set's first q->levels levels; deeper ones stay 0. */
static void
masked_node_costs(const stk_query *q, float *z, double *node_cost)
{
	const stk_semset *set = &q->within;

	for (int l = 0; l < q->levels && l < set->depth; l++)
	{
		uint32_t parents = l == 0 ? set->roots : set->nodes[l];

		for (uint32_t p = 0; p < parents; p++)
		{
			uint32_t from, to;

			stk_semset_children(set, l, p, &from, &to);
			masked_costs(q->logits[l], q->sizes[l], set->code[l + 1] + from, to - from, z,
						 node_cost + set->base[l + 1] + from);
		}
	}
}

static void
plain_node_costs(const stk_query *q, const double *cost, double *node_cost)
{
	const stk_semset *set = &q->within;

	for (int l = 0; l < q->levels && l < set->depth; l++)
	{
		double *out = node_cost + set->base[l + 1];

		for (uint32_t i = 0; i < set->nodes[l + 1]; i++)
		{
			uint16_t code = set->code[l + 1][i];

			out[i] = code < q->sizes[l] ? cost[code] : INFINITY;
		}
		cost += q->sizes[l];
	}
}

/* Write node_cost of a WITHIN query whose logits and set are in place. */
static stk_status
within_costs(uint8_t *datum, const stk_query_layout *layout, const stk_allocator *a, stk_error *err)
{
	stk_query q;
	stk_status status = stk_query_view(datum, (size_t) layout->end, &q, err);
	double *node_cost = (double *) (datum + layout->node_cost);
	size_t codes = 0;
	void *scratch;

	if (status != STK_OK)
		return status;
	for (int l = 0; l < q.levels; l++)
		codes += q.sizes[l];
	scratch = stk_alloc_array(a, codes, sizeof(double));
	if (!scratch)
		return STK_ENOMEM;
	if (q.norm == STK_NORM_MASKED)
		masked_node_costs(&q, scratch, node_cost);
	else
	{
		status = level_costs(q.logits[0], q.levels, q.sizes, q.norm, scratch, err);
		if (status == STK_OK)
			plain_node_costs(&q, scratch, node_cost);
	}
	stk_free(a, scratch);
	return status;
}

static stk_status
from_logits(const float *logits, int levels, const uint32_t *sizes, uint32_t tokenizer,
			stk_norm norm, const uint8_t *within, size_t within_len, const stk_allocator *a,
			uint8_t **out, size_t *out_len, stk_error *err)
{
	stk_query_kind kind = within                    ? STK_QUERY_WITHIN
						  : norm == STK_NORM_MASKED ? STK_QUERY_MASKED
													: STK_QUERY_LEVELS;
	stk_query_layout layout;
	stk_semset set = {0};
	uint8_t *datum;
	size_t codes = 0;
	stk_status status = check_shape(levels, sizes, tokenizer, err);

	if (status == STK_OK)
		status = check_logits(logits, levels, sizes, err);
	if (status == STK_OK && within)
		status = stk_semset_view(within, within_len, &set, err);
	if (status == STK_OK)
		status = create(kind, norm, levels, sizes, tokenizer, within ? within_len : 0,
						set.total_nodes, &layout, a, &datum, err);
	if (status != STK_OK)
		return status;

	for (int l = 0; l < levels; l++)
		codes += sizes[l];
	memcpy(datum + layout.logits, logits, codes * sizeof(float));
	if (kind == STK_QUERY_LEVELS)
		status = level_costs(logits, levels, sizes, norm, (double *) (datum + layout.cost), err);
	else if (kind == STK_QUERY_WITHIN)
	{
		memcpy(datum + layout.set, within, within_len);
		status = within_costs(datum, &layout, a, err);
	}
	if (status != STK_OK)
	{
		stk_free(a, datum);
		return status;
	}
	*out = datum;
	*out_len = (size_t) layout.end;
	return STK_OK;
}

stk_status
stk_query_from_logits(const float *logits, int levels, const uint32_t *sizes, uint32_t tokenizer,
					  stk_norm norm, const uint8_t *within, size_t within_len,
					  const stk_allocator *a, uint8_t **out, size_t *out_len, stk_error *err)
{
	stk_fpenv env = stk_fpenv_enter();
	stk_status status = from_logits(logits, levels, sizes, tokenizer, norm, within, within_len, a,
									out, out_len, err);

	stk_fpenv_leave(env);
	return status;
}

size_t
stk_query_gram_count(const stk_codebook *cb)
{
	return (size_t) stk_query_pairs(cb->levels, cb->sizes);
}

/*
 * Dot products of one pair of levels, [K_l][K_m].
 *
 *   rows, row, dots  scratch: level m widened, one widened codeword, its dot products
 */
static stk_status
fill_pair(const stk_codebook *cb, int l, int m, double *rows, double *row, double *dots, float *out,
		  const stk_monitor *monitor)
{
	size_t dim = (size_t) cb->dim;
	size_t wide = stk_wide_dim(dim);

	for (size_t j = 0; j < cb->sizes[m]; j++)
		stk_widen(cb->codewords[m] + j * dim, dim, rows + j * wide);
	for (size_t i = 0; i < cb->sizes[l]; i++)
	{
		if (stk_should_stop(monitor))
			return STK_ECANCELED;
		stk_widen(cb->codewords[l] + i * dim, dim, row);
		stk_dot_wide(rows, cb->sizes[m], row, wide, dots);
		for (size_t j = 0; j < cb->sizes[m]; j++)
		{
			*out = (float) dots[j];
			if (!isfinite(*out++))
				return STK_ERANGE;
		}
	}
	return STK_OK;
}

static stk_status
fill_gram(const stk_codebook *cb, const stk_allocator *a, float *gram, const stk_monitor *monitor)
{
	size_t wide = stk_wide_dim((size_t) cb->dim);
	size_t most = 0;
	double *rows;
	stk_status status = STK_OK;

	for (int l = 1; l < cb->levels; l++)
		most = cb->sizes[l] > most ? cb->sizes[l] : most;
	rows = stk_alloc_array(a, most * wide + wide + most, sizeof(double));
	if (!rows)
		return STK_ENOMEM;
	for (int l = 0; l < cb->levels && status == STK_OK; l++)
	{
		for (int m = l + 1; m < cb->levels && status == STK_OK; m++)
		{
			status = fill_pair(cb, l, m, rows, rows + most * wide, rows + most * wide + wide, gram,
							   monitor);
			gram += (size_t) cb->sizes[l] * cb->sizes[m];
		}
	}
	stk_free(a, rows);
	return status;
}

stk_status
stk_query_gram(const stk_codebook *cb, const stk_allocator *a, float **gram,
			   const stk_monitor *monitor)
{
	uint64_t count = stk_query_pairs(cb->levels, cb->sizes);
	float *table;

	if (count * sizeof(float) > STK_QUERY_MAX_BYTES)
		return STK_ERANGE;
	table = stk_alloc_array(a, (size_t) count, sizeof(float));
	if (!table)
		return STK_ENOMEM;

	stk_fpenv env = stk_fpenv_enter();
	stk_status status = fill_gram(cb, a, table, monitor);

	stk_fpenv_leave(env);
	if (status != STK_OK)
	{
		stk_free(a, table);
		return status;
	}
	*gram = table;
	return STK_OK;
}

/* Inner product: a sum over the levels, like logits. */
static stk_status
fill_products(const stk_codebook *cb, const float *x, float *logits, double *cost, stk_error *err)
{
	size_t dim = (size_t) cb->dim;

	for (int l = 0; l < cb->levels; l++)
	{
		for (size_t i = 0; i < cb->sizes[l]; i++)
		{
			double dot = stk_dot(x, cb->codewords[l] + i * dim, dim);

			*cost++ = 0.0 - dot;
			*logits = (float) dot;
			if (!isfinite(*logits++))
				return stk_fail(place(err, l, i), STK_ERANGE,
								"inner product with level %d, code %zu is out of range for type "
								"real",
								l, i);
		}
	}
	return STK_OK;
}

/* |x - c_0 - c_1 ...|^2 less the cross products: |x|^2 and |c|^2 - 2 x.c of each codeword. */
static void
fill_distances(const stk_codebook *cb, const float *x, double *xx, double *own)
{
	size_t dim = (size_t) cb->dim;

	*xx = stk_dot(x, x, dim);
	for (int l = 0; l < cb->levels; l++)
	{
		for (size_t i = 0; i < cb->sizes[l]; i++)
		{
			const float *c = cb->codewords[l] + i * dim;

			*own++ = stk_dot(c, c, dim) - 2 * stk_dot(x, c, dim);
		}
	}
}

/* x is as the codebook's metric measures it. */
static stk_status
neighbors(const stk_codebook *cb, uint32_t tokenizer, const float *x, const float *gram,
		  const stk_allocator *a, uint8_t **out, size_t *out_len, stk_error *err)
{
	bool product = cb->metric == STK_IP;
	stk_query_layout layout;
	uint8_t *datum;
	stk_status status = create(product ? STK_QUERY_LEVELS : STK_QUERY_NEIGHBORS,
							   product ? STK_NORM_NONE : STK_NORM_FULL, cb->levels, cb->sizes,
							   tokenizer, 0, 0, &layout, a, &datum, err);

	if (status != STK_OK)
		return status;
	if (product)
		status = fill_products(cb, x, (float *) (datum + layout.logits),
							   (double *) (datum + layout.cost), err);
	else
	{
		fill_distances(cb, x, (double *) (datum + layout.xx), (double *) (datum + layout.cost));
		memcpy(datum + layout.gram, gram, stk_query_gram_count(cb) * sizeof(float));
	}
	if (status != STK_OK)
	{
		stk_free(a, datum);
		return status;
	}
	*out = datum;
	*out_len = (size_t) layout.end;
	return STK_OK;
}

stk_status
stk_query_neighbors(const stk_codebook *cb, uint32_t tokenizer, const float *x, const float *gram,
					const stk_allocator *a, uint8_t **out, size_t *out_len, stk_error *err)
{
	float *row;
	stk_status status = check_shape(cb->levels, cb->sizes, tokenizer, err);

	if (status != STK_OK)
		return status;
	row = stk_alloc_array(a, (size_t) cb->dim, sizeof(float));
	if (!row)
		return STK_ENOMEM;

	stk_fpenv env = stk_fpenv_enter();

	status = stk_rq_prepare_row(cb, x, row, err);
	if (status == STK_OK)
		status = neighbors(cb, tokenizer, row, gram, a, out, out_len, err);
	stk_fpenv_leave(env);
	stk_free(a, row);
	return status;
}
