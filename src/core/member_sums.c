#include "member_sums.h"

#include <string.h>

#include "dot.h"

/* Members summed in one set of lanes. */
#define CHUNK 256

stk_status
stk_members_init(stk_members *m, const stk_allocator *a, size_t n, uint32_t size)
{
	m->rows = stk_alloc_array(a, n, sizeof(size_t));
	m->first = stk_alloc_array(a, (size_t) size + 1, sizeof(size_t));
	if (m->rows && m->first)
		return STK_OK;
	stk_members_free(m, a);
	return STK_ENOMEM;
}

void
stk_members_free(stk_members *m, const stk_allocator *a)
{
	stk_free(a, m->rows);
	stk_free(a, m->first);
	m->rows = NULL;
	m->first = NULL;
}

void
stk_members_group(stk_members *m, const uint16_t *codes, size_t n, uint32_t size)
{
	size_t *first = m->first;

	memset(first, 0, ((size_t) size + 1) * sizeof(size_t));
	for (size_t i = 0; i < n; i++)
		first[codes[i] + 1]++;
	for (uint32_t k = 0; k < size; k++)
		first[k + 1] += first[k];
	for (size_t i = 0; i < n; i++)
		m->rows[first[codes[i]]++] = i;
	/* Each entry has become the next one's beginning. */
	memmove(first + 1, first, size * sizeof(size_t));
	first[0] = 0;
}

/* Two columns; SSE2 and NEON registers hold this, other machines get plain code for it. */
typedef double columns2 __attribute__((vector_size(16)));

/*
 * Add two columns of a chunk's rows into sum [2], all eight lanes in registers. x is the column
 * of row 0.
 */
static void
add_columns(const float *x, size_t dim, const size_t *rows, size_t n, double *sum)
{
	columns2 lane[STK_LANES] = {{0}};
	columns2 all;
	size_t j = 0;

	for (; j + STK_LANES <= n; j += STK_LANES)
	{
#pragma GCC unroll 8
		for (size_t l = 0; l < STK_LANES; l++)
		{
			const float *from = x + rows[j + l] * dim;

			lane[l] += (columns2){from[0], from[1]};
		}
	}
#pragma GCC unroll 8
	for (size_t l = 0; l < STK_LANES; l++)
	{
		if (j + l < n)
		{
			const float *from = x + rows[j + l] * dim;

			lane[l] += (columns2){from[0], from[1]};
		}
	}
	all = ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
	sum[0] += all[0];
	sum[1] += all[1];
}

/* The same for one column: the last of an odd number. */
static void
add_column(const float *x, size_t dim, const size_t *rows, size_t n, double *sum)
{
	double lane[STK_LANES] = {0};

	for (size_t j = 0; j < n; j++)
		lane[j % STK_LANES] += x[rows[j] * dim];
	*sum +=
		((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

stk_status
stk_members_sum(const stk_members *m, uint32_t code, const float *x, size_t dim, double *sum,
				const stk_monitor *monitor)
{
	const size_t *rows = m->rows + m->first[code];
	size_t count = stk_members_count(m, code);

	memset(sum, 0, dim * sizeof(double));
	for (size_t start = 0; start < count; start += CHUNK)
	{
		size_t n = count - start < CHUNK ? count - start : CHUNK;
		size_t i = 0;

		if (stk_should_stop(monitor))
			return STK_ECANCELED;
		for (; i + 2 <= dim; i += 2)
			add_columns(x + i, dim, rows + start, n, sum + i);
		if (i < dim)
			add_column(x + i, dim, rows + start, n, sum + i);
	}
	return STK_OK;
}
