#include "semid_range.h"

bool
stk_semid_successor(const stk_semid *prefix, stk_semid *next)
{
	*next = *prefix;
	while (next->levels > 0 && next->codes[next->levels - 1] == STK_MAX_CODE)
		next->levels--;
	if (next->levels > 0)
	{
		next->codes[next->levels - 1]++;
		return true;
	}
	/* nothing of this tokenizer comes after: the first id of the next one */
	if (next->tokenizer == INT32_MAX)
		return false;
	next->tokenizer++;
	next->levels = 1;
	next->codes[0] = 0;
	return true;
}

static int
compare(const stk_semid *a, const stk_semid *b)
{
	if (a->tokenizer != b->tokenizer)
		return a->tokenizer < b->tokenizer ? -1 : 1;
	for (int l = 0; l < a->levels && l < b->levels; l++)
		if (a->codes[l] != b->codes[l])
			return a->codes[l] < b->codes[l] ? -1 : 1;
	return (a->levels > b->levels) - (a->levels < b->levels);
}

void
stk_semid_histogram_make(stk_semid_histogram *h, const stk_semid *bounds, size_t n)
{
	h->bounds = bounds;
	h->n = n;
	for (int l = 0; l < STK_MAX_LEVELS; l++)
		h->sizes[l] = 1;
	for (size_t i = 0; i < n; i++)
		for (int l = 0; l < bounds[i].levels; l++)
			if (bounds[i].codes[l] >= h->sizes[l])
				h->sizes[l] = bounds[i].codes[l] + 1u;
}

/*
 * An id as a number between 0 and 1 by its codes from a level on: mixed-radix digits after the
 * point. Codes beyond those seen count as the first one beyond.
 */
static double
fraction(const stk_semid_histogram *h, const stk_semid *id, int from)
{
	double value = 0;
	double unit = 1;

	for (int l = from; l < id->levels; l++)
	{
		uint32_t code = id->codes[l] < h->sizes[l] ? id->codes[l] : h->sizes[l];

		unit /= h->sizes[l];
		value += code * unit;
	}
	return value;
}

/* Where id lies between lo and hi, 0 to 1; lo < id < hi. */
static double
position_in_bin(const stk_semid_histogram *h, const stk_semid *lo, const stk_semid *hi,
				const stk_semid *id)
{
	int common = 0;
	double start, end, here;

	if (lo->tokenizer != hi->tokenizer)
	{
		/* the end of one tokenizer's ids and the beginning of another's; nothing in between */
		start = fraction(h, lo, 0);
		end = 1 + fraction(h, hi, 0);
		here = id->tokenizer == lo->tokenizer   ? fraction(h, id, 0)
			   : id->tokenizer == hi->tokenizer ? 1 + fraction(h, id, 0)
												: 1;
	}
	else
	{
		/* what the bounds share, id shares; without it the digits that tell have all precision */
		while (common < lo->levels && common < hi->levels && lo->codes[common] == hi->codes[common])
			common++;
		start = fraction(h, lo, common);
		end = fraction(h, hi, common);
		here = fraction(h, id, common);
	}
	if (!(end > start))
		return 0.5;
	here = (here - start) / (end - start);
	return here < 0 ? 0 : here > 1 ? 1 : here;
}

/* Share of the histogram's ids below id. */
static double
share_below(const stk_semid_histogram *h, const stk_semid *id)
{
	size_t lo = 0;
	size_t hi = h->n; /* the first bound that is not below id is in lo .. hi */

	while (lo < hi)
	{
		size_t mid = lo + (hi - lo) / 2;

		if (compare(&h->bounds[mid], id) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == 0)
		return 0;
	if (lo == h->n)
		return 1;
	if (compare(&h->bounds[lo], id) == 0)
		return (double) lo / (double) (h->n - 1);
	return ((double) (lo - 1) + position_in_bin(h, &h->bounds[lo - 1], &h->bounds[lo], id)) /
		   (double) (h->n - 1);
}

/* Share of the ids that begin with prefix, its tokenizer taken as it is. */
static double
share_of_range(const stk_semid_histogram *h, const stk_semid *prefix)
{
	stk_semid next;
	double end = stk_semid_successor(prefix, &next) ? share_below(h, &next) : 1;
	double share = end - share_below(h, prefix);

	return share > 0 ? share : 0;
}

double
stk_semid_histogram_share(const stk_semid_histogram *h, const stk_semid *prefix)
{
	stk_semid here = *prefix;
	double share = 0;

	if (prefix->tokenizer != 0)
		return share_of_range(h, prefix);
	for (size_t i = 0; i < h->n; i++)
	{
		if (i > 0 && h->bounds[i].tokenizer == h->bounds[i - 1].tokenizer)
			continue;
		here.tokenizer = h->bounds[i].tokenizer;
		share += share_of_range(h, &here);
	}
	return share < 1 ? share : 1;
}
