/*
 * A whole search for a query: what finds its ids, quotas, and the ranking of ids of unlike length.
 */
#include <string.h>

#include "decode.h"
#include "fpenv.h"
#include "search_impl.h"

struct stk_decode
{
	stk_decode_options options;
	stk_allocator a;
	stk_search *search;
	stk_quota quota;
};

/* What does not go together with this query. */
static stk_status
check(const stk_query *q, const stk_decode_options *options, stk_error *err)
{
	stk_status status = stk_decode_check(options, err);

	if (status != STK_OK || q->kind != STK_QUERY_NEIGHBORS)
		return status;
	if (options->temperature > 0)
		return stk_fail(err, STK_EINVAL, "a neighbors query has no logits to draw by");
	if (options->top_p < 1)
		return stk_fail(err, STK_EINVAL, "a neighbors query has no probabilities for top_p");
	return STK_OK;
}

stk_status
stk_decode_start(stk_decode **out, const stk_query *q, stk_trie *trie, const stk_root *roots,
				 size_t n, const stk_decode_options *options, const stk_allocator *a,
				 stk_error *err)
{
	stk_status status = check(q, options, err);
	stk_decode *d;
	stk_search *s;

	*out = NULL;
	if (status != STK_OK)
		return status;
	d = stk_alloc_array(a, 1, sizeof(*d));
	if (!d)
		return STK_ENOMEM;
	memset(d, 0, sizeof(*d));
	d->options = *options;
	d->a = *a;
	stk_quota_init(&d->quota, d->options.per_prefix, a);
	s = options->exact ? best_first_create(a) : beam_create(a, options->beam_size);
	status = s ? search_begin(s, q, trie, roots, n, &d->options, &d->quota, a) : STK_ENOMEM;
	if (status != STK_OK)
	{
		stk_free(a, d);
		return status;
	}
	d->search = s;
	*out = d;
	return STK_OK;
}

stk_status
stk_decode_next(stk_decode *d, bool *found, stk_hit *hit)
{
	for (;;)
	{
		stk_status status = stk_search_next(d->search, found, hit);

		if (status != STK_OK || !*found)
			return status;
		if (!stk_quota_full(&d->quota, hit->id.tokenizer, hit->id.codes, hit->id.levels))
			return STK_OK;
	}
}

stk_status
stk_decode_took(stk_decode *d, const stk_hit *hit)
{
	return stk_quota_take(&d->quota, &hit->id);
}

bool
stk_decode_dropped(const stk_decode *d)
{
	return d->search->dropped;
}

void
stk_decode_free(stk_decode *d)
{
	if (!d)
		return;

	stk_allocator a = d->a;

	stk_search_free(d->search);
	stk_quota_free(&d->quota);
	stk_free(&a, d);
}
