/*
 * Plain walks of a trie: to a prefix, and through all ids below it.
 */
#include <string.h>

#include "search.h"
#include "search_impl.h"

static const stk_child *
find_code(const stk_child *children, size_t n, uint16_t code)
{
	size_t from = 0;
	size_t to = n;

	while (from < to)
	{
		size_t mid = from + (to - from) / 2;

		if (children[mid].code < code)
			from = mid + 1;
		else
			to = mid;
	}
	return from < n && children[from].code == code ? &children[from] : NULL;
}

/* Follow codes into the tail; false where they part. */
static bool
seek_tail(stk_child *at, const uint16_t *codes, int n)
{
	if (n > at->tail_len || memcmp(at->tail, codes, (size_t) n * sizeof(uint16_t)) != 0)
		return false;
	at->code = codes[n - 1];
	at->tail += n;
	at->tail_len = (uint8_t) (at->tail_len - n);
	if (at->tail_len == 0)
	{
		at->flags = STK_CHILD_ID;
		at->tail = NULL;
	}
	return true;
}

stk_status
stk_seek(stk_trie *trie, uint64_t root, const uint16_t *codes, int n, bool *found, stk_child *at)
{
	memset(at, 0, sizeof(*at));
	at->flags = STK_CHILD_INNER;
	at->node = root;
	*found = false;
	for (int l = 0; l < n; l++)
	{
		const stk_child *children, *child;
		size_t n_children;
		stk_status status;

		if (at->flags & STK_CHILD_TAIL)
		{
			*found = seek_tail(at, codes + l, n - l);
			return STK_OK;
		}
		if (!(at->flags & STK_CHILD_INNER))
			return STK_OK;
		status = trie->expand(trie, at->node, &children, &n_children);
		if (status != STK_OK)
			return status;
		child = find_code(children, n_children, codes[l]);
		if (!child)
			return STK_OK;
		*at = *child;
	}
	*found = true;
	return STK_OK;
}

void
walker_begin(walker *w, stk_trie *trie, const stk_semset *set, const stk_allocator *a,
			 uint32_t tokenizer, const uint16_t *codes, int levels, const stk_child *at,
			 uint32_t set_node)
{
	w->trie = trie;
	w->a = a;
	w->set = set;
	w->path.tokenizer = tokenizer;
	w->path.levels = levels;
	if (levels > 0)
		memcpy(w->path.codes, codes, (size_t) levels * sizeof(uint16_t));
	w->at = *at;
	w->set_node = set_node;
	w->base = levels;
	w->frames = 0;
}

void
walker_release(walker *w)
{
	for (int i = 0; i < STK_MAX_LEVELS; i++)
		if (w->frame[i].children.array)
			stk_free(w->a, w->frame[i].children.array);
}

/* Open the node the walk stands at. */
static stk_status
descend(walker *w)
{
	const stk_child *children;
	size_t n;
	walk_frame *frame;
	stk_status status;

	if (w->path.levels >= STK_MAX_LEVELS)
		return STK_ECORRUPT;
	status = w->trie->expand(w->trie, w->at.node, &children, &n);
	if (status != STK_OK)
		return status;
	frame = &w->frame[w->frames];
	status = stk_children_copy(&frame->children, children, n, w->a);
	if (status != STK_OK)
		return status;
	frame->n = n;
	frame->next = 0;
	frame->set_node = w->set_node;
	w->frames++;
	return STK_OK;
}

/* Step to the next child in the order of the walk; false when nothing is left. */
static bool
advance(walker *w)
{
	while (w->frames > 0)
	{
		walk_frame *frame = &w->frame[w->frames - 1];

		if (frame->next < frame->n)
		{
			int level = w->base + w->frames - 1;

			w->at = frame->children.array[frame->next++];
			w->path.levels = level + 1;
			w->path.codes[level] = w->at.code;
			if (w->set)
			{
				w->set_node = stk_semset_child(w->set, level, frame->set_node, w->at.code);
				if (w->set_node == UINT32_MAX)
					w->at.flags = 0;
			}
			return true;
		}
		w->frames--;
	}
	return false;
}

static bool
is_member(const walker *w, const stk_semid *id)
{
	uint32_t node = w->set_node;

	if (!w->set)
		return true;
	for (int l = w->path.levels; l < id->levels && node != UINT32_MAX; l++)
		node = stk_semset_child(w->set, l, node, id->codes[l]);
	return node != UINT32_MAX && stk_semset_is_id(w->set, id->levels, node);
}

/* The id that ends where the walk stands, or behind the tail there. */
static stk_status
fill_hit(const walker *w, stk_hit *hit)
{
	hit->id = w->path;
	if (w->at.flags & STK_CHILD_TAIL)
	{
		if (w->path.levels + w->at.tail_len > STK_MAX_LEVELS)
			return STK_ECORRUPT;
		memcpy(hit->id.codes + w->path.levels, w->at.tail, w->at.tail_len * sizeof(uint16_t));
		hit->id.levels += w->at.tail_len;
	}
	hit->posting = w->at.posting;
	hit->items = w->at.items;
	return STK_OK;
}

stk_status
walker_next(walker *w, bool *found, stk_hit *hit)
{
	for (;;)
	{
		if (w->at.flags & (STK_CHILD_ID | STK_CHILD_TAIL))
		{
			stk_status status = fill_hit(w, hit);

			if (status != STK_OK)
				return status;
			w->at.flags &= STK_CHILD_INNER;
			if (is_member(w, &hit->id))
			{
				*found = true;
				return STK_OK;
			}
		}
		else if (w->at.flags & STK_CHILD_INNER)
		{
			stk_status status = descend(w);

			if (status != STK_OK)
				return status;
			w->at.flags = 0;
		}
		else if (!advance(w))
		{
			*found = false;
			return STK_OK;
		}
	}
}

struct stk_walk
{
	walker w;
	stk_allocator a;
};

stk_status
stk_walk_start(stk_walk **out, stk_trie *trie, uint64_t root, const stk_prefix *prefix,
			   const stk_allocator *a)
{
	stk_child at;
	bool found;
	stk_walk *walk;
	stk_status status;

	*out = NULL;
	status = stk_seek(trie, root, prefix->codes, prefix->levels, &found, &at);
	if (status != STK_OK)
		return status;
	walk = stk_alloc_array(a, 1, sizeof(*walk));
	if (!walk)
		return STK_ENOMEM;
	memset(walk, 0, sizeof(*walk));
	walk->a = *a;
	if (!found)
		at.flags = 0;
	walker_begin(&walk->w, trie, NULL, &walk->a, prefix->tokenizer, prefix->codes, prefix->levels,
				 &at, 0);
	*out = walk;
	return STK_OK;
}

stk_status
stk_walk_next(stk_walk *w, bool *found, stk_hit *hit)
{
	hit->cost = 0;
	return walker_next(&w->w, found, hit);
}

void
stk_walk_free(stk_walk *w)
{
	if (!w)
		return;

	stk_allocator a = w->a;

	walker_release(&w->w);
	stk_free(&a, w);
}
