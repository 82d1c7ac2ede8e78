/*
 * A trie cut down to the ids that an index scan's conditions allow.
 *
 * Nodes above the end of the wanted prefix show only the child on the way; the filter remembers
 * which those are as they are found. Below, the trie is as it was.
 */
#include "am/filter.h"

#include "am/semtrie.h"
#include "storage/shmem.h"
#include "types/semid.h"

/* A node on the way to the end of the prefix. */
typedef struct PathNode
{
	uint64 node;
	int depth;
} PathNode;

struct SemtrieFilter
{
	stk_trie trie; /* first: core walks the filter */
	stk_trie *base;
	const SemtrieCondition *condition;
	stk_root *roots;
	size_t nroots;
	/* The base may give a node another handle each time it is shown, so the path can grow. */
	PathNode *path;
	size_t npath;
	size_t path_capacity;
	stk_child child; /* the one shown */
};

/* Restrict further to one tokenizer (unless any), a prefix, and exactly it where so. */
static void
add_prefix(SemtrieCondition *condition, const stk_semid *id, bool any_tokenizer, bool exact)
{
	int common = Min(condition->levels, id->levels);

	if (!any_tokenizer)
	{
		if (!condition->any_tokenizer && condition->tokenizer != id->tokenizer)
			condition->ids = false;
		condition->any_tokenizer = false;
		condition->tokenizer = id->tokenizer;
	}
	if (memcmp(condition->codes, id->codes, common * sizeof(uint16)) != 0)
		condition->ids = false;
	if ((condition->exact && id->levels > condition->levels) ||
		(exact && id->levels < condition->levels))
		condition->ids = false;
	if (id->levels > condition->levels)
	{
		condition->levels = id->levels;
		memcpy(condition->codes, id->codes, id->levels * sizeof(uint16));
	}
	condition->exact |= exact;
}

void
SemtrieConditionMake(SemtrieCondition *condition, const ScanKeyData *keys, int nkeys)
{
	memset(condition, 0, sizeof(*condition));
	condition->ids = condition->nulls = condition->any_tokenizer = true;
	for (int i = 0; i < nkeys; i++)
	{
		const ScanKeyData *key = &keys[i];
		stk_semid id;

		if (key->sk_flags & SK_SEARCHNULL)
		{
			condition->ids = false;
			continue;
		}
		condition->nulls = false;
		if (key->sk_flags & SK_SEARCHNOTNULL)
			continue;
		if (key->sk_flags & SK_ISNULL)
		{
			/* the operators are strict */
			condition->ids = false;
			continue;
		}
		SemidUnpack(DatumGetSemidPP(key->sk_argument), &id);
		if (key->sk_strategy == SEMTRIE_EQUAL_STRATEGY)
			add_prefix(condition, &id, false, true);
		else
			add_prefix(condition, &id, id.tokenizer == 0, false);
	}
}

/* Keep what leads on to the prefix's end or lies below it; false when nothing is left. */
static bool
restrict_child(SemtrieFilter *filter, stk_child *child, int depth)
{
	const SemtrieCondition *condition = filter->condition;
	int left = condition->levels - depth; /* codes of the prefix that the child does not have */

	if (child->flags & STK_CHILD_TAIL)
		return child->tail_len >= left && (!condition->exact || child->tail_len == left) &&
			   memcmp(child->tail, condition->codes + depth, left * sizeof(uint16)) == 0;
	if (left > 0)
		child->flags &= STK_CHILD_INNER;
	else if (condition->exact)
		child->flags &= STK_CHILD_ID;
	return child->flags != 0;
}

static PathNode *
find_path_node(SemtrieFilter *filter, uint64 node)
{
	for (size_t i = 0; i < filter->npath; i++)
		if (filter->path[i].node == node)
			return &filter->path[i];
	return NULL;
}

static void
add_path_node(SemtrieFilter *filter, uint64 node, int depth)
{
	if (filter->npath == filter->path_capacity)
	{
		filter->path_capacity *= 2;
		filter->path = repalloc(filter->path, mul_size(filter->path_capacity, sizeof(PathNode)));
	}
	filter->path[filter->npath++] = (PathNode){node, depth};
}

static stk_status
filter_expand(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n)
{
	SemtrieFilter *filter = (SemtrieFilter *) trie;
	const SemtrieCondition *condition = filter->condition;
	PathNode *at = find_path_node(filter, node);
	stk_status status = filter->base->expand(filter->base, node, children, n);
	size_t lo = 0, hi = *n;
	int depth;

	if (status != STK_OK || at == NULL)
		return status;
	depth = at->depth;
	while (lo < hi)
	{
		size_t middle = lo + (hi - lo) / 2;

		if ((*children)[middle].code < condition->codes[depth])
			lo = middle + 1;
		else
			hi = middle;
	}
	if (lo == *n || (*children)[lo].code != condition->codes[depth])
	{
		*n = 0;
		return STK_OK;
	}
	filter->child = (*children)[lo];
	*n = restrict_child(filter, &filter->child, depth + 1) ? 1 : 0;
	*children = &filter->child;
	if (*n == 1 && depth + 1 < condition->levels && (filter->child.flags & STK_CHILD_INNER) &&
		find_path_node(filter, filter->child.node) == NULL)
		add_path_node(filter, filter->child.node, depth + 1);
	return STK_OK;
}

SemtrieFilter *
SemtrieFilterMake(stk_trie *base, const stk_root *base_roots, size_t n,
				  const SemtrieCondition *condition)
{
	SemtrieFilter *filter = palloc0(sizeof(SemtrieFilter));

	filter->trie.expand = filter_expand;
	filter->base = base;
	filter->condition = condition;
	filter->roots = palloc(sizeof(stk_root) * (n + 1));
	for (size_t i = 0; i < n; i++)
		if (condition->any_tokenizer || base_roots[i].tokenizer == condition->tokenizer)
			filter->roots[filter->nroots++] = base_roots[i];
	filter->path_capacity = filter->nroots * condition->levels + 1;
	filter->path = palloc(mul_size(filter->path_capacity, sizeof(PathNode)));
	for (size_t i = 0; condition->levels > 0 && i < filter->nroots; i++)
		add_path_node(filter, filter->roots[i].node, 0);
	return filter;
}

stk_trie *
SemtrieFilterTrie(SemtrieFilter *filter)
{
	return &filter->trie;
}

const stk_root *
SemtrieFilterRoots(SemtrieFilter *filter, size_t *n)
{
	*n = filter->nroots;
	return filter->roots;
}
