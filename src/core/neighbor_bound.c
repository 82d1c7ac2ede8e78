/*
 * Lower bounds of the squared distances below a prefix.
 *
 * The distance to the reconstruction of codes c_0 .. c_{L-1} is
 *
 *    xx + sum_m own_m[c_m] + 2 sum_{l<m} g_lm[c_l][c_m].
 *
 * With the codes of levels < d fixed and the others free it is at least
 *
 *    P + sum_{m>=d} min_j (own_m[j] + 2 sum_{l<d} g_lm[c_l][j]) + 2 sum_{d<=l<m} min g_lm
 *
 * where P is the sum of the terms that hold fixed codes only. Norms alone would give a bound that
 * prunes next to nothing: residual codewords are small against the spread of the first level.
 *
 * The margin. A distance and a bound are computed sums of at most T = 1 + L + L(L-1)/2 terms,
 * added in different orders. Let S be the bound's sum with the id's own terms in place of the
 * minima: rounding is monotone, so the computed bound is at most the computed S. The computed S
 * and the computed distance are sums of the same T terms, whose absolute values add up to at most
 * A = xx + sum_m max |own_m| + 2 sum_{l<m} max |g_lm|, so each is within T u A (1 + T u) of the
 * real sum, u = 2^-53 (doubling a term is exact). Hence bound - distance <= 2 T u A (1 + T u).
 * Twice that, 4 T u A, also covers the rounding of A and of the subtraction.
 */
#include <math.h>
#include <string.h>

#include "search_impl.h"

/* Least and greatest of x [n], n >= 1. */
static void
range_of(const float *x, size_t n, float *least, float *greatest)
{
	float lo[4] = {x[0], x[0], x[0], x[0]};
	float hi[4] = {x[0], x[0], x[0], x[0]};
	size_t i = 0;

	for (; i + 4 <= n; i += 4)
	{
		for (int k = 0; k < 4; k++)
		{
			lo[k] = x[i + k] < lo[k] ? x[i + k] : lo[k];
			hi[k] = x[i + k] > hi[k] ? x[i + k] : hi[k];
		}
	}
	for (; i < n; i++)
	{
		lo[0] = x[i] < lo[0] ? x[i] : lo[0];
		hi[0] = x[i] > hi[0] ? x[i] : hi[0];
	}
	for (int k = 1; k < 4; k++)
	{
		lo[0] = lo[k] < lo[0] ? lo[k] : lo[0];
		hi[0] = hi[k] > hi[0] ? hi[k] : hi[0];
	}
	*least = lo[0];
	*greatest = hi[0];
}

stk_status
neighbor_bound_init(neighbor_bound *b, const stk_query *q, const stk_allocator *a)
{
	size_t rows = 0;
	double magnitude = q->xx;
	int n_terms = 1 + q->levels + q->levels * (q->levels - 1) / 2;
	float *at;

	for (int l = 0; l < q->levels; l++)
		rows += (size_t) q->sizes[l] * (size_t) (q->levels - 1 - l);
	b->memory = stk_alloc_array(a, rows, sizeof(float));
	if (!b->memory)
		return STK_ENOMEM;
	at = b->memory;
	for (int l = 0; l < q->levels; l++)
	{
		double most = 0;

		for (size_t i = 0; i < q->sizes[l]; i++)
			most = fabs(q->cost[l][i]) > most ? fabs(q->cost[l][i]) : most;
		magnitude += most;
		for (int m = l + 1; m < q->levels; m++)
		{
			float least = INFINITY;
			float greatest = -INFINITY;

			b->row_min[l][m] = at;
			for (size_t i = 0; i < q->sizes[l]; i++, at++)
			{
				float row_max;

				range_of(q->gram[l][m] + i * q->sizes[m], q->sizes[m], at, &row_max);
				least = *at < least ? *at : least;
				greatest = row_max > greatest ? row_max : greatest;
			}
			b->pair_min[l][m] = least;
			magnitude += 2.0 * (-least > greatest ? -least : greatest);
		}
	}
	b->margin = 4.0 * n_terms * 0x1p-53 * magnitude;
	return STK_OK;
}

/* min_j (own[j] + 2 sum_l row_l[j]) */
static double
least_term(const double *own, const float *const *row, int rows, size_t n)
{
	double least = INFINITY;

	for (size_t from = 0; from < n; from += 32)
	{
		double term[32];
		int count = n - from < 32 ? (int) (n - from) : 32;

		for (int j = 0; j < count; j++)
			term[j] = own[from + j];
		for (int l = 0; l < rows; l++)
			for (int j = 0; j < count; j++)
				term[j] += 2.0 * row[l][from + j];
		for (int j = 0; j < count; j++)
			least = term[j] < least ? term[j] : least;
	}
	return least;
}

double
neighbor_bound_prefix(neighbor_bound *b, const stk_query *q, const uint16_t *codes, int levels,
					  double sum)
{
	for (int m = levels; m < q->levels; m++)
	{
		const float *row[STK_MAX_LEVELS];

		for (int l = 0; l < levels; l++)
			row[l] = q->gram[l][m] + (size_t) codes[l] * q->sizes[m];
		b->level_min[m] = least_term(q->cost[m], row, levels, q->sizes[m]);
		sum += b->level_min[m];
		for (int l = levels; l < m; l++)
			sum += 2 * b->pair_min[l][m];
	}
	sum -= b->margin;
	return sum > 0 ? sum : 0.0;
}

double
neighbor_bound_child(const neighbor_bound *b, const stk_query *q, int levels, uint16_t code,
					 double child_sum)
{
	double sum = child_sum;

	for (int m = levels + 1; m < q->levels; m++)
	{
		sum += b->level_min[m] + 2.0 * b->row_min[levels][m][code];
		for (int l = levels + 1; l < m; l++)
			sum += 2 * b->pair_min[l][m];
	}
	sum -= b->margin;
	return sum > 0 ? sum : 0.0;
}
