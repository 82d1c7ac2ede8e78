#include "union.h"

#include <stdbool.h>
#include <string.h>

/* A node of one source: an inner node, or the inside of a tail that another source branches off. */
typedef struct union_part
{
	size_t source;
	uint64_t handle;      /* inner node; with tail_len > 0 the tail's posting */
	const uint16_t *tail; /* codes below this node */
	uint8_t tail_len;
	uint64_t items; /* tails only */
} union_part;

/*
 * A run of `parts` or of `postings`: what a handle of the union, an index into `spans`, stands for.
 */
typedef struct union_span
{
	size_t first;
	size_t n;
} union_span;

/* A growing array. */
typedef struct union_array
{
	void *items;
	size_t n;
	size_t size;
} union_array;

/* Where a part of the node being expanded stands among its children. */
typedef struct union_cursor
{
	const stk_child *children;
	size_t n;
	size_t next;
	size_t source;
	stk_child tail_child; /* what `children` points to for the inside of a tail */
} union_cursor;

struct stk_union
{
	stk_trie trie; /* first, so that a stk_trie * is one of these */
	const stk_allocator *a;
	stk_union_source *sources;
	size_t n_sources;
	union_cursor *cursors; /* [n_sources]: a node has at most one part of each source */
	union_array roots;     /* stk_root */
	union_array spans;     /* union_span */
	union_array parts;     /* union_part */
	union_array postings;  /* stk_union_posting */
	union_array children;  /* stk_child: of the node expanded last */
};

/* Make room for one more item and return it; NULL when there is no memory. */
static void *
array_add(union_array *array, size_t item_size, const stk_allocator *a)
{
	if (array->n == array->size)
	{
		size_t size = array->size ? array->size * 2 : 64;
		void *items = stk_realloc_array(a, array->items, size, item_size);

		if (items == NULL)
			return NULL;
		array->items = items;
		array->size = size;
	}
	return (char *) array->items + item_size * array->n++;
}

/* Make a handle for what was added to `array` since it held `first` items. */
static stk_status
add_span(stk_union *u, size_t first, const union_array *array, uint64_t *handle)
{
	union_span *span = array_add(&u->spans, sizeof(union_span), u->a);

	if (span == NULL)
		return STK_ENOMEM;
	span->first = first;
	span->n = array->n - first;
	*handle = u->spans.n - 1;
	return STK_OK;
}

static stk_status
add_part(stk_union *u, const union_part *part)
{
	union_part *added = array_add(&u->parts, sizeof(union_part), u->a);

	if (added == NULL)
		return STK_ENOMEM;
	*added = *part;
	return STK_OK;
}

static stk_status
add_posting(stk_union *u, size_t source, uint64_t posting)
{
	stk_union_posting *added = array_add(&u->postings, sizeof(stk_union_posting), u->a);

	if (added == NULL)
		return STK_ENOMEM;
	*added = (stk_union_posting){.source = source, .posting = posting};
	return STK_OK;
}

/* Merge the sources' roots: one root of the union for each tokenizer. */
static stk_status
merge_roots(stk_union *u)
{
	for (size_t i = 0; i < u->n_sources; i++)
		u->cursors[i].next = 0;
	for (;;)
	{
		bool found = false;
		uint32_t tokenizer = 0;
		size_t first = u->parts.n;

		for (size_t i = 0; i < u->n_sources; i++)
		{
			const stk_union_source *s = &u->sources[i];
			size_t next = u->cursors[i].next;

			if (next < s->n_roots && (!found || s->roots[next].tokenizer < tokenizer))
			{
				tokenizer = s->roots[next].tokenizer;
				found = true;
			}
		}
		if (!found)
			return STK_OK;
		for (size_t i = 0; i < u->n_sources; i++)
		{
			const stk_union_source *s = &u->sources[i];
			size_t next = u->cursors[i].next;

			if (next < s->n_roots && s->roots[next].tokenizer == tokenizer)
			{
				union_part part = {.source = i, .handle = s->roots[next].node};

				if (add_part(u, &part) != STK_OK)
					return STK_ENOMEM;
				u->cursors[i].next++;
			}
		}

		stk_root *root = array_add(&u->roots, sizeof(stk_root), u->a);

		if (root == NULL)
			return STK_ENOMEM;
		root->tokenizer = tokenizer;
		if (add_span(u, first, &u->parts, &root->node) != STK_OK)
			return STK_ENOMEM;
	}
}

/* Point a cursor at the children of one part. */
static stk_status
open_cursor(stk_union *u, const union_part *part, union_cursor *cursor)
{
	cursor->source = part->source;
	cursor->next = 0;
	if (part->tail_len > 0)
	{
		cursor->tail_child = (stk_child){
			.code = part->tail[0],
			.flags = part->tail_len == 1 ? STK_CHILD_ID : STK_CHILD_TAIL,
			.tail_len = part->tail_len - 1,
			.tail = part->tail_len == 1 ? NULL : part->tail + 1,
			.posting = part->handle,
			.items = part->items,
		};
		cursor->children = &cursor->tail_child;
		cursor->n = 1;
		return STK_OK;
	}

	stk_trie *trie = u->sources[part->source].trie;

	return trie->expand(trie, part->handle, &cursor->children, &cursor->n);
}

/*
 * Make the union's child for a code: `only` when a single source has it, else what all cursors
 * that stand at the code bring. Those cursors move on.
 */
static stk_status
merge_child(stk_union *u, size_t n_cursors, uint16_t code, size_t holders, stk_child *out)
{
	size_t first_part = u->parts.n;
	size_t first_posting = u->postings.n;

	*out = (stk_child){.code = code};
	for (size_t i = 0; i < n_cursors; i++)
	{
		union_cursor *cursor = &u->cursors[i];
		const stk_child *child = &cursor->children[cursor->next];
		stk_status status = STK_OK;

		if (cursor->next == cursor->n || child->code != code)
			continue;
		cursor->next++;
		out->items += child->items;
		if (child->flags & STK_CHILD_TAIL && holders == 1)
		{
			out->flags |= STK_CHILD_TAIL;
			out->tail = child->tail;
			out->tail_len = child->tail_len;
			status = add_posting(u, cursor->source, child->posting);
		}
		else if (child->flags & STK_CHILD_TAIL)
		{
			union_part part = {.source = cursor->source,
							   .handle = child->posting,
							   .tail = child->tail,
							   .tail_len = child->tail_len,
							   .items = child->items};

			out->flags |= STK_CHILD_INNER;
			status = add_part(u, &part);
		}
		if (status == STK_OK && child->flags & STK_CHILD_INNER)
		{
			union_part part = {.source = cursor->source, .handle = child->node};

			out->flags |= STK_CHILD_INNER;
			status = add_part(u, &part);
		}
		if (status == STK_OK && child->flags & STK_CHILD_ID)
		{
			out->flags |= STK_CHILD_ID;
			status = add_posting(u, cursor->source, child->posting);
		}
		if (status != STK_OK)
			return status;
	}
	if (out->flags & STK_CHILD_INNER && add_span(u, first_part, &u->parts, &out->node) != STK_OK)
		return STK_ENOMEM;
	if (out->flags & (STK_CHILD_ID | STK_CHILD_TAIL) &&
		add_span(u, first_posting, &u->postings, &out->posting) != STK_OK)
		return STK_ENOMEM;
	return STK_OK;
}

/* stk_trie's expand: merge the children of the node's parts, ascending by code. */
static stk_status
union_expand(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n)
{
	stk_union *u = (stk_union *) trie;
	union_span span;

	if (node >= u->spans.n)
		return STK_EINVAL;
	span = ((union_span *) u->spans.items)[node];
	for (size_t i = 0; i < span.n; i++)
	{
		union_part part = ((union_part *) u->parts.items)[span.first + i];
		stk_status status = open_cursor(u, &part, &u->cursors[i]);

		if (status != STK_OK)
			return status;
	}

	u->children.n = 0;
	for (;;)
	{
		size_t holders = 0;
		uint16_t code = 0;
		stk_child merged;
		stk_child *added;
		stk_status status;

		for (size_t i = 0; i < span.n; i++)
		{
			const union_cursor *cursor = &u->cursors[i];

			if (cursor->next == cursor->n)
				continue;
			if (holders == 0 || cursor->children[cursor->next].code < code)
			{
				code = cursor->children[cursor->next].code;
				holders = 1;
			}
			else if (cursor->children[cursor->next].code == code)
				holders++;
		}
		if (holders == 0)
			break;
		status = merge_child(u, span.n, code, holders, &merged);
		if (status != STK_OK)
			return status;
		added = array_add(&u->children, sizeof(stk_child), u->a);
		if (added == NULL)
			return STK_ENOMEM;
		*added = merged;
	}
	*children = u->children.items;
	*n = u->children.n;
	return STK_OK;
}

/* stk_trie's exceeds: the children of each part are among the node's. */
static stk_status
union_exceeds(stk_trie *trie, uint64_t node, uint64_t children, bool *more)
{
	stk_union *u = (stk_union *) trie;
	union_span span;
	stk_status status = STK_OK;

	*more = false;
	if (node >= u->spans.n)
		return STK_EINVAL;
	span = ((union_span *) u->spans.items)[node];
	for (size_t i = 0; i < span.n && !*more && status == STK_OK; i++)
	{
		const union_part *part = (union_part *) u->parts.items + span.first + i;
		stk_trie *source = u->sources[part->source].trie;

		if (part->tail_len == 0 && source->exceeds)
			status = source->exceeds(source, part->handle, children, more);
	}
	return status;
}

stk_status
stk_union_create(const stk_union_source *sources, size_t n, const stk_allocator *a, stk_union **out)
{
	stk_union *u = a->alloc(a->ctx, sizeof(stk_union));

	if (u == NULL)
		return STK_ENOMEM;
	memset(u, 0, sizeof(*u));
	u->trie.expand = union_expand;
	u->trie.exceeds = union_exceeds;
	u->a = a;
	u->n_sources = n;
	u->sources = stk_alloc_array(a, n ? n : 1, sizeof(stk_union_source));
	u->cursors = stk_alloc_array(a, n ? n : 1, sizeof(union_cursor));
	if (u->sources == NULL || u->cursors == NULL)
	{
		stk_union_free(u);
		return STK_ENOMEM;
	}
	if (n > 0)
		memcpy(u->sources, sources, n * sizeof(stk_union_source));
	if (merge_roots(u) != STK_OK)
	{
		stk_union_free(u);
		return STK_ENOMEM;
	}
	*out = u;
	return STK_OK;
}

void
stk_union_free(stk_union *u)
{
	if (u == NULL)
		return;
	stk_free(u->a, u->sources);
	stk_free(u->a, u->cursors);
	stk_free(u->a, u->roots.items);
	stk_free(u->a, u->spans.items);
	stk_free(u->a, u->parts.items);
	stk_free(u->a, u->postings.items);
	stk_free(u->a, u->children.items);
	stk_free(u->a, u);
}

stk_trie *
stk_union_trie(stk_union *u)
{
	return &u->trie;
}

const stk_root *
stk_union_roots(const stk_union *u, size_t *n)
{
	*n = u->roots.n;
	return u->roots.items;
}

const stk_union_posting *
stk_union_postings(const stk_union *u, uint64_t posting, size_t *n)
{
	const union_span *span = (const union_span *) u->spans.items + posting;

	*n = span->n;
	return (const stk_union_posting *) u->postings.items + span->first;
}
