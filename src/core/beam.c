/*
 * Beam search: level by level the cheapest prefixes of all roots survive, then all ids below the
 * survivors.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "beam_step.h"
#include "search_impl.h"

typedef struct beam_search
{
	stk_search s;
	size_t width;
	beam_step steps[2]; /* one extends what the other kept */
	beam_step *last;
	stk_beam *roots;
	double level_min[STK_MAX_LEVELS]; /* at most the term of any code */
	bool started;
	size_t next; /* survivor whose ids come next */
	double cost; /* of the one being walked */
	walker walk;
} beam_search;

static double
cost_of(const stk_beam *beam)
{
	return 0.0 - beam->score;
}

static stk_status
children_of(void *ctx, const stk_beam *parent, const stk_child **children, size_t *n)
{
	return search_children(ctx, parent->at.node, parent->id.levels, parent->member, children, n);
}

static stk_status
score(void *ctx, const stk_beam *parent, size_t row, const stk_child *children, size_t n,
	  double **cost, const uint32_t **member)
{
	stk_search *s = ctx;
	stk_status status = search_score(
		s, &(search_prefix){parent->id.levels, cost_of(parent), parent->member, parent->id.codes},
		children, n);

	(void) row;
	*cost = s->cost;
	*member = s->set ? s->set_node : NULL;
	return status;
}

static stk_status
flags(void *ctx, const stk_child *child, int levels, uint32_t member, uint8_t *out)
{
	return search_live_flags(ctx, child, levels, member, out);
}

static double
least(void *ctx, const stk_beam *parent, size_t row)
{
	const beam_search *b = ctx;

	(void) row;
	return cost_of(parent) + b->level_min[parent->id.levels];
}

static void
find_level_mins(beam_search *b)
{
	const stk_query *q = b->s.q;

	for (int l = 0; l < q->levels; l++)
	{
		/* No term of a softmax is below 0. */
		double min = q->norm != STK_NORM_NONE && q->kind != STK_QUERY_NEIGHBORS ? 0 : -INFINITY;

		if (q->kind == STK_QUERY_LEVELS)
		{
			min = INFINITY;
			for (uint32_t i = 0; i < q->sizes[l]; i++)
				min = q->cost[l][i] < min ? q->cost[l][i] : min;
		}
		b->level_min[l] = min;
	}
}

/* The roots are the first generation, whatever the width. */
static stk_status
start(beam_search *b)
{
	beam_rules rules = {children_of, score, least, flags, b};
	const stk_decode_options *options = b->s.options;

	find_level_mins(b);
	b->s.glances = b->s.q->kind != STK_QUERY_MASKED &&
				   (!options || (options->top_k == 0 && options->top_p >= 1));
	for (int i = 0; i < 2; i++)
		beam_step_init(&b->steps[i], b->s.trie, b->width, &rules, b->s.options, &b->s.a);
	b->last = &b->steps[0];
	b->started = true;
	if (b->s.n_roots == 0)
		return STK_OK;
	b->roots = stk_alloc_array(&b->s.a, b->s.n_roots, sizeof(stk_beam));
	if (!b->roots)
		return STK_ENOMEM;
	memset(b->roots, 0, b->s.n_roots * sizeof(stk_beam));
	for (size_t i = 0; i < b->s.n_roots; i++)
	{
		stk_beam *root = &b->roots[i];

		root->score = 0.0 - search_start_cost(b->s.q);
		root->member = b->s.roots[i].set_root;
		root->id.tokenizer = b->s.roots[i].tokenizer;
		root->at.flags = STK_CHILD_INNER;
		root->at.node = b->s.roots[i].node;
	}
	return STK_OK;
}

static int
compare_places(const void *x, const void *y)
{
	const uint32_t *p = x;
	const uint32_t *q = y;

	return (*p > *q) - (*p < *q);
}

/* Costs below 0 are clamped, so that survivors tie that did not before: in path order then. */
static void
clamp(beam_search *b)
{
	beam_step *last = b->last;
	size_t n = 0;

	for (size_t i = 0; i < last->n_out; i++)
		last->out[i].key = 0.0 - search_final_cost(b->s.q, cost_of(&last->out[i]));
	if (b->s.q->kind != STK_QUERY_NEIGHBORS)
		return;
	while (n < last->n_out && last->out[last->best[n]].key == 0)
		n++;
	if (n > 1)
		qsort(last->best, n, sizeof(uint32_t), compare_places);
}

static stk_status
descend(beam_search *b)
{
	stk_status status = start(b);
	const stk_beam *beams = b->roots;
	size_t n = b->s.n_roots;
	const uint32_t *order = NULL;

	for (int l = 0; l < b->s.q->levels && status == STK_OK; l++)
	{
		beam_step *step = &b->steps[l % 2];

		status = beam_step_run(step, beams, n, NULL, NULL, order);
		beams = step->out;
		n = step->n_out;
		order = step->best;
		b->last = step;
	}
	b->s.stats.expanded = b->steps[0].expanded + b->steps[1].expanded;
	b->s.stats.pushed = b->steps[0].offered + b->steps[1].offered;
	b->s.dropped = b->steps[0].dropped || b->steps[1].dropped;
	if (status != STK_OK)
		return status;
	clamp(b);
	return STK_OK;
}

static stk_status
beam_next(stk_search *s, bool *found, stk_hit *hit)
{
	beam_search *b = (beam_search *) s;

	*found = false;
	if (!b->started)
	{
		stk_status status = descend(b);

		if (status != STK_OK)
			return status;
	}
	for (;;)
	{
		stk_status status = walker_next(&b->walk, found, hit);

		if (status != STK_OK)
			return status;
		if (*found)
		{
			hit->cost = b->cost;
			return STK_OK;
		}
		if (b->next == b->last->n_out)
			return STK_OK;

		const stk_beam *beam = &b->last->out[b->last->best[b->next++]];

		if (stk_quota_full(s->quota, beam->id.tokenizer, beam->id.codes, beam->id.levels))
			continue;
		b->cost = 0.0 - beam->key;
		walker_begin(&b->walk, s->trie, s->set, &s->a, beam->id.tokenizer, beam->id.codes,
					 beam->id.levels, &beam->at, beam->member);
	}
}

static void
beam_release(stk_search *s)
{
	beam_search *b = (beam_search *) s;

	stk_free(&s->a, b->roots);
	for (int i = 0; i < 2; i++)
		beam_step_free(&b->steps[i]);
	walker_release(&b->walk);
}

stk_search *
beam_create(const stk_allocator *a, size_t width)
{
	beam_search *b = stk_alloc_array(a, 1, sizeof(*b));

	if (!b)
		return NULL;
	memset(b, 0, sizeof(*b));
	b->s.next = beam_next;
	b->s.release = beam_release;
	b->width = width;
	return &b->s;
}
