/*
 * A whole search for a query: what finds its ids, quotas, and the ranking of ids of unlike length.
 *
 *   temperature 0  a beam or best first, by the query's own costs (search.h's)
 *   gumbel         best first by drawn keys, by the query's logits (explore.h)
 *   rectokens      steps that are fed the query's logits (guided.h)
 */
#include "decode.h"

#include <string.h>

#include "explore.h"
#include "fpenv.h"
#include "guided.h"
#include "search_impl.h"

struct stk_decode
{
	stk_decode_options options;
	stk_allocator a;
	const stk_query *q;
	stk_quota quota;
	stk_search *search; /* temperature 0 */
	stk_guided *guided; /* rectokens */
	bool ranked;     /* temperature 0 with a length penalty: ids wait in explore for their turn */
	bool ended;      /* the search has: nothing else comes */
	double bound;    /* at most what the next id of the search ranks by */
	explore explore; /* gumbel; ranked */
	stk_restricted *set; /* temperature > 0: to the query's own set */
	terms_row rows[STK_MAX_LEVELS];
	stk_status status; /* the first failure is the last answer */
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

/* A search by the query's own costs. */
static stk_status
start_search(stk_decode *d, stk_trie *trie, const stk_root *roots, size_t n)
{
	const stk_decode_options *o = &d->options;
	stk_search *s = o->exact ? best_first_create(&d->a) : beam_create(&d->a, o->beam_size);
	stk_status status = s ? search_begin(s, d->q, trie, roots, n, o, &d->quota, &d->a) : STK_ENOMEM;

	if (status != STK_OK)
		return status;
	d->search = s;
	d->ranked = o->length_penalty != 0;
	return STK_OK;
}

static stk_status
read_rows(stk_decode *d, stk_error *err)
{
	const stk_query *q = d->q;

	for (int l = 0; l < q->levels; l++)
	{
		uint32_t code;
		stk_status status = terms_read_row(&d->explore.terms, STK_NORM_NONE, q->logits[l],
										   q->sizes[l], &d->rows[l], &code);

		if (status != STK_OK)
			return stk_fail(err, status, "logit of code %u of level %d is not valid", code, l);
	}
	return STK_OK;
}

/* RecTokens' sampler: all logits are known, so it is fed at once. */
static stk_status
run_guided(stk_decode *d, stk_trie *trie, const stk_root *roots, size_t n, stk_error *err)
{
	stk_decode_options options = d->options;
	const stk_beam *beams;
	size_t wanted;
	int level;
	stk_status status;

	options.norm = d->q->norm;
	status =
		guided_begin(&d->guided, trie, roots, n, d->q->levels, d->q->levels, &options, &d->a, err);
	while (status == STK_OK)
	{
		status = stk_guided_wants(d->guided, &beams, &wanted, &level);
		if (status != STK_OK || wanted == 0)
			return status;
		status = guided_feed(d->guided, d->q->logits[level], 0, d->q->sizes[level], err);
	}
	return status;
}

/* A search that draws, over the query's own set where it has one. */
static stk_status
start_drawing(stk_decode *d, stk_trie *trie, const stk_root *roots, size_t n, stk_error *err)
{
	const stk_query *q = d->q;
	stk_root *mine;
	size_t n_mine = 0;
	stk_status status;

	if (q->kind == STK_QUERY_WITHIN)
	{
		status = stk_restricted_create(&d->set, trie, roots, n, &q->within, NULL, &d->a);
		if (status != STK_OK)
			return status;
		trie = stk_restricted_trie(d->set);
		roots = stk_restricted_roots(d->set, &n);
		d->explore.trie = trie;
	}
	mine = stk_alloc_array(&d->a, n ? n : 1, sizeof(stk_root));
	if (!mine)
		return STK_ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (q->tokenizer == 0 || q->tokenizer == roots[i].tokenizer)
			mine[n_mine++] = roots[i];
	if (d->options.sampler == STK_SAMPLER_RECTOKENS)
		status = run_guided(d, trie, mine, n_mine, err);
	else
	{
		status = read_rows(d, err);
		if (status == STK_OK)
			status = explore_add_roots(&d->explore, q->norm, d->rows, mine, n_mine);
		if (status == STK_ERANGE)
			stk_fail(err, status, "expected at most %d nodes to draw from with norm %s",
					 STK_MAX_MASSES, stk_norm_name(q->norm));
	}
	stk_free(&d->a, mine);
	return status;
}

stk_status
stk_decode_start(stk_decode **out, const stk_query *q, stk_trie *trie, const stk_root *roots,
				 size_t n, const stk_decode_options *options, const stk_allocator *a,
				 stk_error *err)
{
	stk_status status = check(q, options, err);
	stk_decode *d;

	*out = NULL;
	if (status != STK_OK)
		return status;
	d = stk_alloc_array(a, 1, sizeof(*d));
	if (!d)
		return STK_ENOMEM;
	memset(d, 0, sizeof(*d));
	d->options = *options;
	d->a = *a;
	d->q = q;
	stk_quota_init(&d->quota, d->options.per_prefix, a);
	explore_init(&d->explore, trie, &d->options, q->levels, q->levels, &d->quota, a);
	if (options->temperature > 0)
	{
		stk_fpenv env = stk_fpenv_enter();

		status = start_drawing(d, trie, roots, n, err);
		stk_fpenv_leave(env);
	}
	else
		status = start_search(d, trie, roots, n);
	if (status != STK_OK)
	{
		stk_decode_free(d);
		return status;
	}
	*out = d;
	return STK_OK;
}

/* The best id by cost and length: read the search on until none that it still has can be better. */
static stk_status
next_ranked(stk_decode *d, bool *found, stk_hit *hit)
{
	bool wants;

	for (;;)
	{
		const frontier_item *top = explore_top(&d->explore);
		stk_beam beam = {.at.flags = STK_CHILD_ID};
		stk_status status;

		if (d->ended || (top && top->value < d->bound))
			return explore_next(&d->explore, d->q->norm, NULL, &wants, found, hit);
		status = stk_search_next(d->search, found, hit);
		if (status != STK_OK)
			return status;
		if (!*found)
		{
			d->ended = true;
			continue;
		}
		beam.score = 0.0 - hit->cost;
		beam.id = hit->id;
		beam.at.posting = hit->posting;
		beam.at.items = hit->items;
		status = explore_add(&d->explore, &beam, 0);
		if (status != STK_OK)
			return status;
		d->bound = explore_bound(&d->explore, hit->cost, d->q->levels);
	}
}

static stk_status
next(stk_decode *d, bool *found, stk_hit *hit)
{
	bool wants;

	if (d->ranked)
		return next_ranked(d, found, hit);
	if (d->search)
		return stk_search_next(d->search, found, hit);
	if (d->guided)
		return stk_guided_next(d->guided, found, hit);
	return explore_next(&d->explore, d->q->norm, d->rows, &wants, found, hit);
}

stk_status
stk_decode_next(stk_decode *d, bool *found, stk_hit *hit)
{
	stk_fpenv env = stk_fpenv_enter();

	*found = false;
	while (d->status == STK_OK)
	{
		d->status = next(d, found, hit);
		if (!*found || !stk_quota_full(&d->quota, hit->id.tokenizer, hit->id.codes, hit->id.levels))
			break;
	}
	stk_fpenv_leave(env);
	return d->status;
}

stk_status
stk_decode_took(stk_decode *d, const stk_hit *hit)
{
	return stk_quota_take(&d->quota, &hit->id);
}

bool
stk_decode_dropped(const stk_decode *d)
{
	if (d->search)
		return d->search->dropped;
	return d->guided && stk_guided_dropped(d->guided);
}

void
stk_decode_free(stk_decode *d)
{
	if (!d)
		return;

	stk_allocator a = d->a;

	stk_search_free(d->search);
	stk_guided_free(d->guided);
	explore_free(&d->explore);
	stk_restricted_free(d->set);
	stk_quota_free(&d->quota);
	stk_free(&a, d);
}
