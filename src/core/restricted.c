#include "restricted.h"

#include <string.h>

#include "children.h"

/*
 * Our own handles: those of nodes below which a set has ids. No trie uses this bit (trie.h), except
 * for another restriction, whose nodes all get handles of ours then.
 */
#define OWN STK_HANDLE_WRAPPER

#define NONE UINT32_MAX

/* A place in the trie and in the sets. */
typedef struct restricted_node
{
	uint64_t node; /* the trie's */
	uint32_t within;
	uint32_t exclude; /* NONE: nothing is excluded below */
	int level;        /* codes of its prefix */
} restricted_node;

struct stk_restricted
{
	stk_trie trie; /* first, so that a stk_trie * is one of these */
	stk_trie *inner;
	const stk_semset *within;
	const stk_semset *exclude;
	stk_allocator a;
	stk_root *roots;
	size_t n_roots;
	restricted_node *nodes;
	size_t n_nodes;
	size_t nodes_room;
	stk_children children;                   /* of the node expanded last */
	stk_children frames[STK_MAX_LEVELS + 1]; /* of a walk that looks whether an id is left */
};

static stk_status
add_node(stk_restricted *r, restricted_node node, uint64_t *handle)
{
	if (r->n_nodes == r->nodes_room)
	{
		size_t room = r->nodes_room ? r->nodes_room * 2 : 256;
		restricted_node *grown = stk_realloc_array(&r->a, r->nodes, room, sizeof(restricted_node));

		if (!grown)
			return STK_ENOMEM;
		r->nodes = grown;
		r->nodes_room = room;
	}
	r->nodes[r->n_nodes] = node;
	*handle = OWN | r->n_nodes++;
	return STK_OK;
}

/* Where a child stands in the sets. false: it is not within. */
static bool
step(const stk_restricted *r, const restricted_node *from, uint16_t code, restricted_node *to)
{
	*to = (restricted_node){0, NONE, NONE, from->level + 1};
	if (r->within)
	{
		to->within = stk_semset_child(r->within, from->level, from->within, code);
		if (to->within == NONE)
			return false;
	}
	if (from->exclude != NONE)
		to->exclude = stk_semset_child(r->exclude, from->level, from->exclude, code);
	return true;
}

/* Is an id that ends at this place left? */
static bool
is_left(const stk_restricted *r, const restricted_node *at)
{
	return (!r->within || stk_semset_is_id(r->within, at->level, at->within)) &&
		   (at->exclude == NONE || !stk_semset_is_id(r->exclude, at->level, at->exclude));
}

/* Is the id behind a tail left? */
static bool
is_tail_left(const stk_restricted *r, const stk_child *child, restricted_node at)
{
	for (int i = 0; i < child->tail_len; i++)
	{
		restricted_node next;

		if (!step(r, &at, child->tail[i], &next))
			return false;
		at = next;
	}
	return is_left(r, &at);
}

static bool
has_children(const stk_semset *set, const restricted_node *at, uint32_t node)
{
	uint32_t from, to;

	stk_semset_children(set, at->level, node, &from, &to);
	return from < to;
}

/* Ids of a set below a node, without one that ends there. */
static uint64_t
count_below(const stk_semset *set, int level, uint32_t node)
{
	return stk_semset_count(set, level, node) - (level > 0 && stk_semset_is_id(set, level, node));
}

/* How many ids a child has below it at least, without one that ends there. */
static uint64_t
ids_below(const stk_child *child)
{
	return child->ids > 0 && child->flags & STK_CHILD_ID ? child->ids - 1 : child->ids;
}

/*
 * Is an id below a child left? at is its place, and at->node its node if it is an inner one.
 */
static stk_status is_any_left(stk_restricted *r, const restricted_node *at, uint64_t ids,
							  bool *left);

static stk_status
is_child_left(stk_restricted *r, restricted_node *at, const stk_child *child, bool *left)
{
	at->node = child->node;
	*left = (child->flags & STK_CHILD_TAIL && is_tail_left(r, child, *at)) ||
			(child->flags & STK_CHILD_ID && is_left(r, at));
	if (*left || !(child->flags & STK_CHILD_INNER))
		return STK_OK;
	return is_any_left(r, at, ids_below(child), left);
}

/* The same among the children that the other set has, one by one: mostly the first is left. */
static stk_status
is_any_of_within_left(stk_restricted *r, const restricted_node *at, bool *left)
{
	stk_status status = STK_OK;
	uint32_t from, to;

	stk_semset_children(r->within, at->level, at->within, &from, &to);
	for (uint32_t i = from; i < to && !*left && status == STK_OK; i++)
	{
		uint16_t code = r->within->code[at->level + 1][i];
		restricted_node next;
		stk_child child;
		bool found;

		status = r->inner->find(r->inner, at->node, code, &found, &child);
		if (status == STK_OK && found && step(r, at, code, &next))
			status = is_child_left(r, &next, &child, left);
	}
	return status;
}

/*
 * Is an id below an inner node left? at->node is the node, which has so many at least. The walk
 * goes where the exclusion has ids, or the other set: it ends at the first one that is left.
 */
static stk_status
is_any_left(stk_restricted *r, const restricted_node *at, uint64_t ids, bool *left)
{
	stk_children *frame = &r->frames[at->level];
	const stk_child *children;
	size_t n;
	stk_status status;

	*left = false;
	if (r->within && !has_children(r->within, at, at->within))
		return STK_OK;
	if (!r->within && (at->exclude == NONE || !has_children(r->exclude, at, at->exclude) ||
					   ids > count_below(r->exclude, at->level, at->exclude)))
	{
		*left = true;
		return STK_OK;
	}
	if (at->level >= STK_MAX_LEVELS)
		return STK_ECORRUPT;
	if (r->within && r->inner->find)
		return is_any_of_within_left(r, at, left);
	if (!r->within && r->inner->exceeds)
	{
		/* More children than ids are excluded: one is not among these. */
		status = r->inner->exceeds(r->inner, at->node,
								   count_below(r->exclude, at->level, at->exclude), left);
		if (status != STK_OK || *left)
			return status;
	}
	status = r->inner->expand(r->inner, at->node, &children, &n);
	if (status != STK_OK)
		return status;
	status = stk_children_copy(frame, children, n, &r->a);
	for (size_t i = 0; i < n && !*left && status == STK_OK; i++)
	{
		restricted_node next;

		if (step(r, at, frame->array[i].code, &next))
			status = is_child_left(r, &next, &frame->array[i], left);
	}
	return status;
}

/*
 * The flags of a child at a place that are left, and its handle; with `glance` without a look at
 * what is below an inner one. Else this calls the trie, whose children are those of another node
 * afterwards.
 */
static stk_status
restrict_child(stk_restricted *r, restricted_node *at, stk_child *child, bool glance)
{
	uint64_t below = ids_below(child);
	stk_status status = STK_OK;

	at->node = child->node;
	if (child->flags & STK_CHILD_TAIL && !is_tail_left(r, child, *at))
		child->flags = 0;
	if (child->flags & STK_CHILD_ID && !is_left(r, at))
		child->flags &= (uint8_t) ~STK_CHILD_ID;
	if (child->flags & STK_CHILD_INNER && glance)
	{
		child->flags |= STK_CHILD_UNSURE;
		status = add_node(r, *at, &child->node);
	}
	else if (child->flags & STK_CHILD_INNER)
	{
		bool left;

		status = is_any_left(r, at, below, &left);
		if (status != STK_OK)
			return status;
		if (!left)
			child->flags &= (uint8_t) ~STK_CHILD_INNER;
		else if (r->within || at->exclude != NONE || child->node & OWN)
			status = add_node(r, *at, &child->node);
	}
	return status;
}

/* Where the walk over a node's children stands in a set. */
typedef struct set_cursor
{
	const uint16_t *code; /* of the set's next level; NULL: it has nothing below the node */
	uint32_t at;
	uint32_t end;
} set_cursor;

static set_cursor
open_cursor(const stk_semset *set, int level, uint32_t node)
{
	set_cursor c = {0};

	if (!set || node == NONE)
		return c;
	stk_semset_children(set, level, node, &c.at, &c.end);
	if (c.at < c.end)
		c.code = set->code[level + 1];
	return c;
}

/* The set's child with this code, NONE where it has none. Codes come in ascending order. */
static uint32_t
cursor_seek(set_cursor *c, uint16_t code)
{
	while (c->at < c->end && c->code[c->at] < code)
		c->at++;
	return c->at < c->end && c->code[c->at] == code ? c->at : NONE;
}

/* Copy the children of a node that may be left: where few may, each is looked for. */
static stk_status
copy_children(stk_restricted *r, const restricted_node *at, size_t *n)
{
	const stk_child *inner;
	uint32_t from = 0;
	uint32_t to = 0;
	stk_status status;

	if (r->within)
		stk_semset_children(r->within, at->level, at->within, &from, &to);
	*n = 0;
	if (r->within && r->inner->find && to - from <= STK_FEW_CHILDREN)
	{
		status = stk_children_reserve(&r->children, STK_FEW_CHILDREN, &r->a);
		if (status == STK_OK && from < to)
			status = stk_trie_find_few(r->inner, at->node, r->within->code[at->level + 1] + from,
									   to - from, r->children.array, n);
		return status;
	}
	status = r->inner->expand(r->inner, at->node, &inner, n);
	if (status == STK_OK)
		status = stk_children_copy(&r->children, inner, *n, &r->a);
	return status;
}

static stk_status
list_children(stk_restricted *r, uint64_t node, bool glance, const stk_child **children, size_t *n)
{
	set_cursor within, exclude;
	restricted_node at;
	size_t n_inner;
	stk_status status;

	if (!(node & OWN))
		return r->inner->expand(r->inner, node, children, n);
	at = r->nodes[node & ~OWN];
	status = copy_children(r, &at, &n_inner);
	if (status != STK_OK)
		return status;
	within = open_cursor(r->within, at.level, at.within);
	exclude = open_cursor(r->exclude, at.level, at.exclude);
	*n = 0;
	for (size_t i = 0; i < n_inner; i++)
	{
		stk_child *child = &r->children.array[i];
		restricted_node next = {0, NONE, cursor_seek(&exclude, child->code), at.level + 1};

		if (r->within)
		{
			next.within = cursor_seek(&within, child->code);
			if (next.within == NONE)
				continue;
		}
		if (next.within != NONE || next.exclude != NONE || child->node & OWN)
			status = restrict_child(r, &next, child, glance);
		if (status != STK_OK)
			return status;
		if (child->flags != 0 && *n != i)
			r->children.array[*n] = *child;
		*n += child->flags != 0;
	}
	*children = r->children.array;
	return STK_OK;
}

static stk_status
restricted_expand(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n)
{
	return list_children((stk_restricted *) trie, node, false, children, n);
}

static stk_status
restricted_codes(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n)
{
	stk_trie *inner = ((stk_restricted *) trie)->inner;

	return node & OWN ? restricted_expand(trie, node, children, n)
					  : inner->codes(inner, node, children, n);
}

static stk_status
restricted_glance(stk_trie *trie, uint64_t node, const stk_child **children, size_t *n)
{
	return list_children((stk_restricted *) trie, node, true, children, n);
}

/* Calls the trie within: what glance gave is a copy of its children. */
static stk_status
restricted_settle(stk_trie *trie, const stk_child *child, uint8_t *flags)
{
	stk_restricted *r = (stk_restricted *) trie;
	restricted_node at = r->nodes[child->node & ~OWN];
	bool left;
	stk_status status = is_any_left(r, &at, ids_below(child), &left);

	if (status == STK_OK)
		*flags &= (uint8_t) ~(left ? STK_CHILD_UNSURE : STK_CHILD_UNSURE | STK_CHILD_INNER);
	return status;
}

/* Keep the roots below which an id is left. */
static stk_status
restrict_roots(stk_restricted *r, const stk_root *roots, size_t n)
{
	r->roots = stk_alloc_array(&r->a, n ? n : 1, sizeof(stk_root));
	if (!r->roots)
		return STK_ENOMEM;
	for (size_t i = 0; i < n; i++)
	{
		stk_root root = roots[i];
		restricted_node at = {root.node, NONE, NONE, 0};
		bool left;
		stk_status status;

		if (r->within)
			at.within = stk_semset_root(r->within, root.tokenizer);
		if (r->exclude)
			at.exclude = stk_semset_root(r->exclude, root.tokenizer);
		if (r->within && at.within == NONE)
			continue;
		status = is_any_left(r, &at, 0, &left);
		if (status == STK_OK && left && (r->within || at.exclude != NONE || root.node & OWN))
			status = add_node(r, at, &root.node);
		if (status != STK_OK)
			return status;
		if (left)
			r->roots[r->n_roots++] = root;
	}
	return STK_OK;
}

stk_status
stk_restricted_create(stk_restricted **out, stk_trie *trie, const stk_root *roots, size_t n,
					  const stk_semset *within, const stk_semset *exclude, const stk_allocator *a)
{
	stk_restricted *r = stk_alloc_array(a, 1, sizeof(*r));
	stk_status status;

	*out = NULL;
	if (!r)
		return STK_ENOMEM;
	memset(r, 0, sizeof(*r));
	r->trie.expand = restricted_expand;
	r->trie.codes = trie->codes ? restricted_codes : NULL;
	r->trie.glance = restricted_glance;
	r->trie.settle = restricted_settle;
	r->inner = trie;
	r->within = within;
	r->exclude = exclude;
	r->a = *a;
	status = restrict_roots(r, roots, n);
	if (status != STK_OK)
	{
		stk_restricted_free(r);
		return status;
	}
	*out = r;
	return STK_OK;
}

void
stk_restricted_free(stk_restricted *r)
{
	if (!r)
		return;

	stk_allocator a = r->a;

	for (int i = 0; i <= STK_MAX_LEVELS; i++)
		stk_free(&a, r->frames[i].array);
	stk_free(&a, r->roots);
	stk_free(&a, r->nodes);
	stk_free(&a, r->children.array);
	stk_free(&a, r);
}

stk_trie *
stk_restricted_trie(stk_restricted *r)
{
	return &r->trie;
}

const stk_root *
stk_restricted_roots(const stk_restricted *r, size_t *n)
{
	*n = r->n_roots;
	return r->roots;
}
