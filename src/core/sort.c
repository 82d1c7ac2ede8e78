#include "sort.h"

#include <string.h>

/* Elements merged between two looks at the monitor. */
#define MERGE_PIECE 65536

/* What all merges have in common. */
typedef struct sorting
{
	size_t size; /* of an element */
	stk_compare compare;
	const void *ctx;
	const stk_monitor *monitor;
	size_t since; /* elements merged since the last look at the monitor */
} sorting;

/* Merge from[0..mid) with from[mid..n) into to. STK_ECANCELED. */
static stk_status
merge(sorting *s, char *to, const char *from, size_t mid, size_t n)
{
	size_t size = s->size;
	const char *a = from;
	const char *a_end = from + mid * size;
	const char *b = a_end;
	const char *b_end = from + n * size;

	while (a < a_end && b < b_end)
	{
		const char **next = s->compare(a, b, s->ctx) <= 0 ? &a : &b;

		memcpy(to, *next, size);
		to += size;
		*next += size;
		if (++s->since < MERGE_PIECE)
			continue;
		s->since = 0;
		if (stk_should_stop(s->monitor))
			return STK_ECANCELED;
	}
	memcpy(to, a, (size_t) (a_end - a));
	memcpy(to + (a_end - a), b, (size_t) (b_end - b));
	return STK_OK;
}

stk_status
stk_sort(void *base, size_t n, size_t size, stk_compare compare, const void *ctx,
		 const stk_allocator *a, const stk_monitor *monitor)
{
	sorting s = {size, compare, ctx, monitor, 0};
	char *from = base;
	char *scratch;
	char *to;

	if (n < 2)
		return STK_OK;
	scratch = stk_alloc_array(a, n, size);
	if (!scratch)
		return STK_ENOMEM;
	to = scratch;
	for (size_t run = 1; run < n; run *= 2)
	{
		for (size_t i = 0; i < n; i += 2 * run)
		{
			size_t len = n - i < 2 * run ? n - i : 2 * run;

			if (merge(&s, to + i * size, from + i * size, run < len ? run : len, len) != STK_OK)
			{
				stk_free(a, scratch);
				return STK_ECANCELED;
			}
		}
		from = to;
		to = from == scratch ? base : scratch;
	}
	if (from == scratch)
		memcpy(base, scratch, n * size);
	stk_free(a, scratch);
	return STK_OK;
}
