#include "packed_trie.h"

#include <string.h>

/* Interrupts are looked at after this many nodes. */
#define STEP 65536

/* What is being laid out. */
typedef struct packing
{
	const stk_semset *set;
	const stk_allocator *a;
	const stk_monitor *monitor;
	uint8_t *several[STK_MAX_LEVELS + 1]; /* [nodes]: are there two ids or more at or below? */
	uint32_t area[STK_MAX_LEVELS + 2];    /* [0 .. depth]: first slot of a level's nodes */
	stk_packed_trie *view;
} packing;

static uint32_t
nodes_of(const stk_semset *set, int level)
{
	return level == 0 ? set->roots : set->nodes[level];
}

static bool
is_end(const stk_semset *set, int level, uint32_t node)
{
	return level > 0 && stk_semset_is_id(set, level, node);
}

static bool
stops(const packing *p, uint32_t node)
{
	return node % STEP == 0 && stk_should_stop(p->monitor);
}

/* From the deepest level up: where do several ids lie? */
static stk_status
find_several(packing *p)
{
	for (int level = p->set->depth; level >= 0; level--)
	{
		uint32_t n = nodes_of(p->set, level);

		p->several[level] = stk_alloc_array(p->a, n ? n : 1, 1);
		if (!p->several[level])
			return STK_ENOMEM;
		for (uint32_t i = 0; i < n; i++)
		{
			uint32_t from, to;

			if (stops(p, i))
				return STK_ECANCELED;
			stk_semset_children(p->set, level, i, &from, &to);
			p->several[level][i] = (to - from) + is_end(p->set, level, i) > 1 ||
								   (to - from == 1 && p->several[level + 1][from]);
		}
	}
	return STK_OK;
}

/* Codes that go on from a node with one id below, all in a line. */
static uint32_t
tail_length(const stk_semset *set, int level, uint32_t node)
{
	uint32_t length = 0;
	uint32_t from, to;

	for (;; level++, node = from, length++)
	{
		stk_semset_children(set, level, node, &from, &to);
		if (from == to)
			return length;
	}
}

/* Count slots, level by level, and the tails' codes. */
static stk_status
measure(packing *p, stk_error *err)
{
	const stk_semset *set = p->set;
	uint64_t slots = 0;
	uint64_t codes = 0;
	uint32_t most = 1;

	for (int level = 0; level <= set->depth; level++)
	{
		p->area[level] = (uint32_t) slots;
		for (uint32_t i = 0; i < nodes_of(set, level); i++)
		{
			uint32_t from, to;

			if (stops(p, i))
				return STK_ECANCELED;
			if (level == 0 && !p->several[0][i])
				codes += tail_length(set, 0, i);
			if (!p->several[level][i])
				continue;
			stk_semset_children(set, level, i, &from, &to);
			slots += (uint64_t) (to - from) + 1;
			most = to - from > most ? to - from : most;
			for (uint32_t c = from; c < to; c++)
				if (!p->several[level + 1][c])
					codes += tail_length(set, level + 1, c);
		}
		if (slots >= STK_PACKED_MOST || codes >= STK_PACKED_MOST)
			return stk_fail(err, STK_ERANGE, "semset is too large for a device");
	}
	p->view->slots = (uint32_t) slots;
	p->view->tail_codes = (uint32_t) codes;
	p->view->roots = set->roots;
	p->view->most_children = most;
	p->view->depth = set->depth;
	return STK_OK;
}

static size_t
bytes_of(const stk_packed_trie *t)
{
	size_t words = (size_t) t->slots + ((size_t) t->tail_codes + 31) / 32 + 2 * (size_t) t->roots;

	return words * sizeof(uint32_t) + ((size_t) t->slots + t->tail_codes) * sizeof(uint16_t);
}

void
stk_packed_trie_attach(stk_packed_trie *view, const void *block)
{
	view->link = block;
	view->tail_end = view->link + view->slots;
	view->root = view->tail_end + ((size_t) view->tail_codes + 31) / 32;
	view->tokenizer = view->root + view->roots;
	view->code = (const uint16_t *) (view->tokenizer + view->roots);
	view->tail = view->code + view->slots;
}

/* Write the codes that go on from a node, and say by which handle they are found. */
static stk_node
write_tail(packing *p, uint32_t *used, int level, uint32_t node)
{
	uint32_t *ends = (uint32_t *) (uintptr_t) p->view->tail_end;
	uint16_t *tail = (uint16_t *) (uintptr_t) p->view->tail;
	uint32_t begin = *used;
	uint32_t from, to;

	for (;; level++, node = from)
	{
		stk_semset_children(p->set, level, node, &from, &to);
		if (from == to)
			break;
		tail[(*used)++] = p->set->code[level + 1][from];
	}
	if (*used == begin)
		return STK_NODE_LEAF_HANDLE;
	ends[(*used - 1) >> 5] |= UINT32_C(1) << ((*used - 1) & 31);
	return (uint32_t) STK_NODE_TAIL << 30 | begin;
}

static stk_status
fill(packing *p)
{
	const stk_semset *set = p->set;
	uint32_t *link = (uint32_t *) (uintptr_t) p->view->link;
	uint16_t *code = (uint16_t *) (uintptr_t) p->view->code;
	stk_node *root = (stk_node *) (uintptr_t) p->view->root;
	uint32_t at = 0;
	uint32_t used = 0;

	memcpy((uint32_t *) (uintptr_t) p->view->tokenizer, set->tokenizer,
		   set->roots * sizeof(uint32_t));
	for (int level = 0; level <= set->depth; level++)
	{
		/* Children that have slots have them in the next area, in the same order. */
		uint32_t next = p->area[level + 1];

		for (uint32_t i = 0; i < nodes_of(set, level); i++)
		{
			uint32_t from, to;

			if (stops(p, i))
				return STK_ECANCELED;
			if (level == 0)
				root[i] = p->several[0][i] ? at : write_tail(p, &used, 0, i);
			if (!p->several[level][i])
				continue;
			stk_semset_children(set, level, i, &from, &to);
			link[at++] = to - from;
			for (uint32_t c = from; c < to; c++, at++)
			{
				uint32_t below, end;

				code[at] = set->code[level + 1][c];
				if (!p->several[level + 1][c])
				{
					link[at] = write_tail(p, &used, level + 1, c);
					continue;
				}
				link[at] = (uint32_t) is_end(set, level + 1, c) << 30 | next;
				stk_semset_children(set, level + 1, c, &below, &end);
				next += end - below + 1;
			}
		}
	}
	return STK_OK;
}

stk_status
stk_packed_trie_build(const stk_semset *set, const stk_allocator *a, const stk_monitor *monitor,
					  void **block, size_t *bytes, stk_packed_trie *view, stk_error *err)
{
	packing p = {.set = set, .a = a, .monitor = monitor, .view = view};
	stk_status status = find_several(&p);

	*block = NULL;
	memset(view, 0, sizeof(*view));
	if (status == STK_OK)
		status = measure(&p, err);
	if (status == STK_OK)
	{
		*bytes = bytes_of(view);
		*block = stk_alloc_array(a, *bytes ? *bytes : 1, 1);
		status = *block ? STK_OK : STK_ENOMEM;
	}
	if (status == STK_OK)
	{
		memset(*block, 0, *bytes);
		stk_packed_trie_attach(view, *block);
		status = fill(&p);
		if (status != STK_OK)
		{
			stk_free(a, *block);
			*block = NULL;
		}
	}
	for (int level = 0; level <= set->depth; level++)
		stk_free(a, p.several[level]);
	return status;
}
