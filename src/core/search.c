/*
 * Starting a search of either kind, and what both do alike.
 */
#include "search.h"

#include "fpenv.h"
#include "search_impl.h"

/* Keep the roots whose ids the query may score. */
static stk_status
pick_roots(stk_search *s, const stk_root *roots, size_t n)
{
	const stk_query *q = s->q;

	if (n == 0)
		return STK_OK;
	s->roots = stk_alloc_array(&s->a, n, sizeof(search_root));
	if (!s->roots)
		return STK_ENOMEM;
	for (size_t i = 0; i < n; i++)
	{
		search_root root = {roots[i].tokenizer, 0, roots[i].node};

		if (q->tokenizer != 0 && q->tokenizer != root.tokenizer)
			continue;
		if (s->set)
		{
			root.set_root = stk_semset_root(s->set, root.tokenizer);
			if (root.set_root == UINT32_MAX)
				continue;
		}
		s->roots[s->n_roots++] = root;
	}
	return STK_OK;
}

stk_status
search_begin(stk_search *s, const stk_query *q, stk_trie *trie, const stk_root *roots, size_t n,
			 const stk_decode_options *options, const stk_quota *quota, const stk_allocator *a)
{
	stk_status status;

	s->q = q;
	s->set = q->kind == STK_QUERY_WITHIN ? &q->within : NULL;
	s->trie = trie;
	s->a = *a;
	s->options = options;
	s->quota = quota;
	if (options)
		terms_init(&s->terms, options, a);
	status = pick_roots(s, roots, n);
	if (status != STK_OK)
		stk_search_free(s);
	return status;
}

stk_status
stk_search_start(stk_search **out, const stk_query *q, stk_trie *trie, const stk_root *roots,
				 size_t n, int beam, const stk_allocator *a, stk_error *err)
{
	stk_search *s;
	stk_status status;

	*out = NULL;
	if (beam < 0)
		return stk_fail(err, STK_EINVAL, "expected a beam width of at least 0, not %d", beam);
	if (q->kind == STK_QUERY_MASKED && beam == 0)
		return stk_fail(err, STK_EINVAL,
						"a masked query without a set has no cost of its own to search by");
	s = beam > 0 ? beam_create(a, (size_t) beam) : best_first_create(a);
	if (!s)
		return STK_ENOMEM;
	status = search_begin(s, q, trie, roots, n, NULL, NULL, a);
	if (status == STK_OK)
		*out = s;
	return status;
}

stk_status
stk_search_next(stk_search *s, bool *found, stk_hit *hit)
{
	*found = false;
	if (s->status == STK_OK)
	{
		stk_fpenv env = stk_fpenv_enter();

		s->status = s->next(s, found, hit);
		stk_fpenv_leave(env);
	}
	return s->status;
}

const stk_search_stats *
stk_search_get_stats(const stk_search *s)
{
	return &s->stats;
}

void
stk_search_free(stk_search *s)
{
	if (!s)
		return;

	stk_allocator a = s->a;

	s->release(s);
	terms_free(&s->terms);
	stk_free(&a, s->roots);
	stk_free(&a, s->cost);
	stk_free(&a, s->set_node);
	stk_free(&a, s->z);
	for (int l = 0; l < STK_MAX_LEVELS; l++)
	{
		stk_free(&a, s->masked[l].quotient);
		stk_free(&a, s->masked[l].share);
	}
	stk_free(&a, s);
}
