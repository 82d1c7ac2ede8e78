#include "beam_step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "draws.h"
#include "least.h"

/* So many children are looked at together. */
#define AT_ONCE 8

int
beam_compare_paths(const stk_semid *x, const stk_semid *y)
{
	int shorter = x->levels < y->levels ? x->levels : y->levels;

	if (x->tokenizer != y->tokenizer)
		return x->tokenizer < y->tokenizer ? -1 : 1;
	for (int l = 0; l < shorter; l++)
		if (x->codes[l] != y->codes[l])
			return x->codes[l] < y->codes[l] ? -1 : 1;
	return x->levels - y->levels;
}

static bool
worse(const beam_entry *x, const beam_entry *y)
{
	if (x->rank != y->rank)
		return x->rank > y->rank;
	return x->number > y->number;
}

static void
sift_down(beam_entry *heap, size_t n)
{
	beam_entry moved = heap[0];
	size_t i = 0;

	for (;;)
	{
		size_t c = 2 * i + 1;

		if (c >= n)
			break;
		if (c + 1 < n && worse(&heap[c + 1], &heap[c]))
			c++;
		if (!worse(&heap[c], &moved))
			break;
		heap[i] = heap[c];
		i = c;
	}
	heap[i] = moved;
}

static void
sift_up(beam_entry *heap, size_t i)
{
	beam_entry moved = heap[i];

	while (i > 0 && worse(&moved, &heap[(i - 1) / 2]))
	{
		heap[i] = heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	heap[i] = moved;
}

static void
make_heap(beam_entry *entries, size_t n)
{
	for (size_t i = 2; i <= n; i++)
		sift_up(entries, i - 1);
}

/* Bring a heap into order, the best first. */
static void
sort_heap(beam_entry *heap, size_t n)
{
	while (n > 1)
	{
		beam_entry last = heap[0];

		heap[0] = heap[--n];
		heap[n] = last;
		sift_down(heap, n);
	}
}

static stk_status
grow(beam_list *list, const stk_allocator *a)
{
	size_t room = list->room ? list->room * 2 : 64;
	void *grown = stk_realloc_array(a, list->entries, room, sizeof(beam_entry));

	if (!grown)
		return STK_ENOMEM;
	list->entries = grown;
	grown = stk_realloc_array(a, list->kept, room, sizeof(beam_kept));
	if (!grown)
		return STK_ENOMEM;
	list->kept = grown;
	list->room = room;
	return STK_OK;
}

/*
 * Take a candidate into a list. *kept is where to write the rest of it, or NULL when it is not
 * among the best so far.
 */
static stk_status
offer(beam_step *s, beam_list *list, double rank, uint64_t number, beam_kept **kept)
{
	beam_entry e = {rank, number, list->n};

	*kept = NULL;
	if (list->n < list->width)
	{
		if (list->n == list->room)
		{
			stk_status status = grow(list, &s->a);

			if (status != STK_OK)
				return status;
		}
		list->entries[list->n] = e;
		sift_up(list->entries, list->n++);
	}
	else
	{
		s->dropped = true;
		if (!worse(&list->entries[0], &e))
			return STK_OK;
		e.slot = list->entries[0].slot;
		list->entries[0] = e;
		sift_down(list->entries, list->n);
	}
	*kept = &list->kept[e.slot];
	return STK_OK;
}

/*
 * What a candidate has to stay below, or equal and come before by its path, to be worth an offer.
 */
static double
threshold(const beam_list *list)
{
	return list->n < list->width ? INFINITY : list->entries[0].rank;
}

/* The best of one prefix go where those of all its siblings compete. */
static stk_status
flush(beam_step *s, beam_list *from, beam_list *to)
{
	for (size_t i = 0; i < from->n; i++)
	{
		const beam_entry *e = &from->entries[i];
		beam_kept *kept;
		stk_status status = offer(s, to, e->rank, e->number, &kept);

		if (status != STK_OK)
			return status;
		if (kept)
			*kept = from->kept[e->slot];
	}
	from->n = 0;
	return STK_OK;
}

/* Lists 1 .. n_lists - 1 belong to prefixes of so many codes. */
typedef struct quotas
{
	int depth[STK_MAX_LEVELS + 1];
	int n_lists;
} quotas;

/* Only prefixes of beams matter: a prefix that is one code longer has one place anyway. */
static void
find_quotas(beam_step *s, const stk_beam *beams, size_t n, quotas *q)
{
	int longest = 0;

	for (size_t i = 0; i < n; i++)
		longest = beams[i].id.levels > longest ? beams[i].id.levels : longest;
	q->n_lists = 1;
	s->lists[0].width = s->width;
	s->lists[0].n = 0;
	for (int d = 1; d <= longest && s->options; d++)
	{
		if (s->options->per_prefix[d] == 0)
			continue;
		q->depth[q->n_lists] = d;
		s->lists[q->n_lists].width =
			s->options->per_prefix[d] < s->width ? (size_t) s->options->per_prefix[d] : s->width;
		s->lists[q->n_lists++].n = 0;
	}
}

static bool
same_prefix(const stk_semid *x, const stk_semid *y, int depth)
{
	return x->tokenizer == y->tokenizer && x->levels >= depth && y->levels >= depth &&
		   memcmp(x->codes, y->codes, (size_t) depth * sizeof(uint16_t)) == 0;
}

/*
 * Close the lists of prefixes that `next` (NULL: no more) does not share with `last`, the deepest
 * first, and say in which list next's children compete.
 */
static stk_status
change_prefix(beam_step *s, const quotas *q, const stk_semid *last, const stk_semid *next,
			  int *list)
{
	for (int i = q->n_lists - 1; i > 0; i--)
	{
		stk_status status = STK_OK;

		if (!last || !next || !same_prefix(last, next, q->depth[i]))
			status = flush(s, &s->lists[i], &s->lists[i - 1]);
		if (status != STK_OK)
			return status;
	}
	*list = 0;
	while (next && *list + 1 < q->n_lists && q->depth[*list + 1] <= next->levels)
		++*list;
	return STK_OK;
}

static stk_status
reserve(beam_step *s, size_t n)
{
	size_t room = n < 256 ? 256 : n;
	void *grown;

	if (n <= s->room)
		return STK_OK;
	grown = stk_realloc_array(&s->a, s->key, room, sizeof(double));
	if (!grown)
		return STK_ENOMEM;
	s->key = grown;
	grown = stk_realloc_array(&s->a, s->select, room, sizeof(double));
	if (!grown)
		return STK_ENOMEM;
	s->select = grown;
	s->room = room;
	return STK_OK;
}

/* Does a step draw by this sampler? */
static bool
draws(const beam_step *s, stk_sampler sampler)
{
	return s->options && s->options->temperature > 0 && s->options->sampler == sampler;
}

/*
 * Find what a parent's children rank by: their costs, or less the keys drawn. With RecTokens'
 * sampler most costs become +infinity.
 */
static stk_status
find_ranks(beam_step *s, const stk_beam *parent, const stk_child *children, size_t n, double *cost,
		   const double **rank)
{
	bool gumbel = draws(s, STK_SAMPLER_GUMBEL);
	bool rectokens = draws(s, STK_SAMPLER_RECTOKENS);
	stk_status status = reserve(s, n);

	*rank = cost;
	if (status != STK_OK || !(gumbel || rectokens))
		return status;
	for (size_t i = 0; i < n; i++)
	{
		s->key[i] = 0.0 - cost[i];
		if (cost[i] < INFINITY)
			s->key[i] +=
				stk_draw_child(s->options->seed, parent->draw, parent->id.levels, children[i].code)
					.gumbel;
	}
	if (gumbel)
		stk_draw_condition(parent->key, s->key, n);
	for (size_t i = 0; i < n; i++)
		s->key[i] = 0.0 - s->key[i];
	if (gumbel)
		*rank = s->key;
	else
		least_keep(s->key, n, s->options->candidates ? s->options->candidates : s->width, s->select,
				   cost);
	return STK_OK;
}

/*
 * Count the children before the next one that ranks no worse than bar, whose number this returns, n
 * for none; *live gets how many of them are allowed. Most are passed over here, a few at a time.
 */
static size_t
pass_over(const double *rank, size_t i, size_t n, double bar, uint64_t *live)
{
	*live = 0;
	for (; i + AT_ONCE <= n; i += AT_ONCE)
	{
		unsigned promising = 0;
		unsigned allowed = 0;

		for (int k = 0; k < AT_ONCE; k++)
		{
			promising += rank[i + (size_t) k] <= bar;
			allowed += rank[i + (size_t) k] < INFINITY;
		}
		if (promising > 0)
			break;
		*live += allowed;
	}
	while (i < n && !(rank[i] <= bar))
		*live += rank[i++] < INFINITY;
	return i;
}

/* Offer a parent's children. */
static stk_status
offer_children(beam_step *s, beam_list *list, const stk_beam *parent, uint32_t parent_number,
			   uint64_t path, const stk_child *children, size_t n, const double *cost,
			   const double *rank, const uint32_t *member)
{
	bool sampling = s->options && s->options->temperature > 0;
	int levels = parent->id.levels + 1;

	for (size_t i = 0; i < n; i++)
	{
		beam_kept *kept;
		uint64_t passed;
		uint32_t node;
		uint8_t flags;
		stk_status status;

		i = pass_over(rank, i, n, threshold(list), &passed);
		s->dropped |= passed > 0;
		s->offered += passed;
		if (i == n)
			break;
		if (cost[i] == INFINITY)
			continue;
		node = member ? member[i] : 0;
		status = s->rules.flags(s->rules.ctx, &children[i], levels, node, &flags);
		if (status != STK_OK)
			return status;
		if (flags == 0)
			continue;
		s->offered++;
		status = offer(s, list, rank[i], path << 16 | children[i].code, &kept);
		if (status != STK_OK)
			return status;
		if (!kept)
			continue;
		kept->at = children[i];
		kept->at.flags = flags;
		kept->cost = cost[i];
		kept->key = 0.0 - rank[i];
		kept->draw =
			sampling
				? stk_draw_child(s->options->seed, parent->draw, levels - 1, children[i].code).state
				: 0;
		kept->parent = parent_number;
		kept->member = node;
	}
	return STK_OK;
}

/* Can no child of this parent come into list, or into one of those that it is nested in? */
static bool
is_hopeless(const beam_step *s, int list, const stk_beam *parent, size_t row)
{
	double bar = INFINITY;

	for (int i = 0; i <= list; i++)
		bar = fmin(bar, threshold(&s->lists[i]));
	if (bar == INFINITY)
		return false;
	if (draws(s, STK_SAMPLER_GUMBEL))
		return 0.0 - parent->key > bar;
	return s->rules.least && s->rules.least(s->rules.ctx, parent, row) > bar;
}

static stk_status
extend(beam_step *s, beam_list *list, const stk_beam *parent, uint32_t number, uint64_t path)
{
	const stk_child *children;
	const uint32_t *member = NULL;
	stk_child tail;
	const double *rank;
	double *cost;
	size_t n = 1;
	stk_status status = STK_OK;

	if (parent->id.levels >= STK_MAX_LEVELS)
		return STK_ECORRUPT;
	if (parent->at.flags & STK_CHILD_TAIL)
	{
		tail = stk_tail_child(&parent->at);
		children = &tail;
	}
	else
	{
		status = s->rules.children ? s->rules.children(s->rules.ctx, parent, &children, &n)
								   : s->trie->expand(s->trie, parent->at.node, &children, &n);
		s->expanded++;
	}
	if (status == STK_OK)
		status = s->rules.score(s->rules.ctx, parent, number, children, n, &cost, &member);
	if (status == STK_OK)
		status = find_ranks(s, parent, children, n, cost, &rank);
	if (status == STK_OK)
		status = offer_children(s, list, parent, number, path, children, n, cost, rank, member);
	return status;
}

static stk_status
reserve_out(beam_step *s, size_t n)
{
	size_t room = n < 64 ? 64 : n;
	void *grown;

	if (n <= s->out_room)
		return STK_OK;
	grown = stk_realloc_array(&s->a, s->out, room, sizeof(stk_beam));
	if (!grown)
		return STK_ENOMEM;
	s->out = grown;
	grown = stk_realloc_array(&s->a, s->best, room, sizeof(uint32_t));
	if (!grown)
		return STK_ENOMEM;
	s->best = grown;
	s->out_room = room;
	return STK_OK;
}

/* Write the survivors out in the order of their paths, and how they rank. */
static stk_status
finish(beam_step *s, const stk_beam *beams)
{
	beam_list *list = &s->lists[0];
	stk_status status = reserve_out(s, list->n);

	if (status != STK_OK)
		return status;
	s->n_out = list->n;
	sort_heap(list->entries, list->n);
	for (size_t i = 0; i < list->n; i++)
	{
		list->kept[list->entries[i].slot].order = (uint32_t) i;
		list->entries[i].rank = 0;
	}
	make_heap(list->entries, list->n);
	sort_heap(list->entries, list->n);
	for (size_t i = 0; i < list->n; i++)
	{
		const beam_kept *kept = &list->kept[list->entries[i].slot];
		const stk_beam *parent = &beams[kept->parent];
		stk_beam *out = &s->out[i];

		s->best[kept->order] = (uint32_t) i;
		out->score = 0.0 - kept->cost;
		out->key = kept->key;
		out->draw = kept->draw;
		out->parent = kept->parent;
		out->member = kept->member;
		out->id = parent->id;
		out->id.codes[out->id.levels++] = kept->at.code;
		out->at = kept->at;
	}
	return STK_OK;
}

/* Extend one parent, unless nothing can come of it. */
static stk_status
try_parent(beam_step *s, const stk_beam *beams, size_t number, const uint32_t *place, int list)
{
	const stk_beam *parent = &beams[number];

	if (is_hopeless(s, list, parent, number))
	{
		s->dropped = true;
		return STK_OK;
	}
	return extend(s, &s->lists[list], parent, (uint32_t) number, place ? place[number] : number);
}

static bool
goes_on(const stk_beam *beam)
{
	return beam->at.flags & (STK_CHILD_INNER | STK_CHILD_TAIL);
}

static int
compare_groups(const void *x, const void *y)
{
	const beam_group *p = x;
	const beam_group *q = y;

	if (p->best != q->best)
		return p->best < q->best ? -1 : 1;
	return (p->from > q->from) - (p->from < q->from);
}

/* Cut the beams, in the order of their paths, where the prefix of `depth` codes changes. */
static stk_status
find_groups(beam_step *s, const stk_beam *beams, size_t n, const uint32_t *path, int depth,
			size_t *n_groups)
{
	const stk_semid *last = NULL;

	if (n > s->groups_room)
	{
		beam_group *grown = stk_realloc_array(&s->a, s->groups, n, sizeof(beam_group));

		if (!grown)
			return STK_ENOMEM;
		s->groups = grown;
		s->groups_room = n;
	}
	*n_groups = 0;
	for (size_t i = 0; i < n; i++)
	{
		const stk_beam *beam = &beams[path ? path[i] : i];

		if (!last || !same_prefix(last, &beam->id, depth))
			s->groups[(*n_groups)++] = (beam_group){INFINITY, i, i};
		s->groups[*n_groups - 1].best = fmin(s->groups[*n_groups - 1].best, 0.0 - beam->key);
		s->groups[*n_groups - 1].to = i + 1;
		last = &beam->id;
	}
	qsort(s->groups, *n_groups, sizeof(beam_group), compare_groups);
	return STK_OK;
}

/* Lists of prefixes are filled one after the other, those with the best parent first. */
static stk_status
extend_groups(beam_step *s, const stk_beam *beams, size_t n, const uint32_t *path,
			  const uint32_t *place, const quotas *q)
{
	const stk_semid *last = NULL;
	size_t n_groups;
	int list;
	stk_status status = find_groups(s, beams, n, path, q->depth[1], &n_groups);

	for (size_t g = 0; g < n_groups && status == STK_OK; g++)
	{
		for (size_t i = s->groups[g].from; i < s->groups[g].to && status == STK_OK; i++)
		{
			size_t number = path ? path[i] : i;

			if (!goes_on(&beams[number]))
				continue;
			status = change_prefix(s, q, last, &beams[number].id, &list);
			last = &beams[number].id;
			if (status == STK_OK)
				status = try_parent(s, beams, number, place, list);
		}
	}
	return status == STK_OK ? change_prefix(s, q, last, NULL, &list) : status;
}

stk_status
beam_step_run(beam_step *s, const stk_beam *beams, size_t n, const uint32_t *path,
			  const uint32_t *place, const uint32_t *order)
{
	quotas q;
	stk_status status = STK_OK;

	s->n_out = 0;
	find_quotas(s, beams, n, &q);
	if (q.n_lists > 1)
		status = extend_groups(s, beams, n, path, place, &q);
	for (size_t i = 0; i < n && status == STK_OK && q.n_lists == 1; i++)
	{
		size_t number = order ? order[i] : i;

		if (goes_on(&beams[number]))
			status = try_parent(s, beams, number, place, 0);
	}
	if (status == STK_OK)
		status = finish(s, beams);
	return status;
}

void
beam_step_init(beam_step *s, stk_trie *trie, size_t width, const beam_rules *rules,
			   const stk_decode_options *options, const stk_allocator *a)
{
	memset(s, 0, sizeof(*s));
	s->a = *a;
	s->trie = trie;
	s->width = width;
	s->rules = *rules;
	s->options = options;
}

void
beam_step_free(beam_step *s)
{
	for (int i = 0; i <= STK_MAX_LEVELS; i++)
	{
		stk_free(&s->a, s->lists[i].entries);
		stk_free(&s->a, s->lists[i].kept);
	}
	stk_free(&s->a, s->key);
	stk_free(&s->a, s->select);
	stk_free(&s->a, s->groups);
	stk_free(&s->a, s->out);
	stk_free(&s->a, s->best);
}
