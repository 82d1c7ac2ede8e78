#include "member_sums.h"

#include <string.h>

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

stk_status
stk_members_sum(const stk_members *m, uint32_t code, const float *x, size_t dim, double *sum,
				const stk_reference *reference, const stk_monitor *monitor)
{
	const size_t *rows = m->rows + m->first[code];
	size_t count = stk_members_count(m, code);

	memset(sum, 0, dim * sizeof(double));
	for (size_t start = 0; start < count; start += STK_SUM_CHUNK)
	{
		if (stk_should_stop(monitor))
			return STK_ECANCELED;
		reference->add_rows(sum, x, rows + start,
							count - start < STK_SUM_CHUNK ? count - start : STK_SUM_CHUNK, dim);
	}
	return STK_OK;
}
