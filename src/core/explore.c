#include "explore.h"

#include <math.h>
#include <string.h>

#include "draws.h"
#include "explog.h"

void
explore_init(explore *e, stk_trie *trie, const stk_decode_options *options, int scored, int needed,
			 const stk_quota *quota, const stk_allocator *a)
{
	memset(e, 0, sizeof(*e));
	e->a = *a;
	e->options = options;
	e->trie = trie;
	e->quota = quota;
	e->scored = scored;
	e->needed = needed;
	e->gumbel = options->temperature > 0 && options->sampler == STK_SAMPLER_GUMBEL;
	frontier_init(&e->frontier, a);
	terms_init(&e->terms, options, a);
	masses_init(&e->masses, a);
	for (int l = STK_MAX_LEVELS; l >= 0; l--)
	{
		double weight = stk_length_weight(l > 0 ? l : 1, options->length_penalty);

		e->weight[l] = e->least_weight[l] = e->most_weight[l] = weight;
		if (l < STK_MAX_LEVELS)
		{
			e->least_weight[l] = fmin(weight, e->least_weight[l + 1]);
			e->most_weight[l] = fmax(weight, e->most_weight[l + 1]);
		}
	}
}

void
explore_free(explore *e)
{
	frontier_free(&e->frontier);
	terms_free(&e->terms);
	masses_free(&e->masses);
	stk_free(&e->a, e->key);
}

static stk_status
reserve(explore *e, size_t n)
{
	double *grown;

	if (n <= e->room)
		return STK_OK;
	grown = stk_realloc_array(&e->a, e->key, n < 256 ? 256 : n, sizeof(double));
	if (!grown)
		return STK_ENOMEM;
	e->key = grown;
	e->room = n < 256 ? 256 : n;
	return STK_OK;
}

static double
value_of_id(const explore *e, const stk_beam *beam, int levels)
{
	return e->gumbel ? 0.0 - beam->key : (0.0 - beam->score) / e->weight[levels];
}

/* Dividing is monotone, so it holds to the last bit. */
double
explore_bound(const explore *e, double cost, int levels)
{
	return fmin(cost / e->least_weight[levels], cost / e->most_weight[levels]);
}

static double
value_of_place(const explore *e, const stk_beam *beam)
{
	return e->gumbel ? 0.0 - beam->key : explore_bound(e, 0.0 - beam->score, beam->id.levels);
}

static stk_status
add_id(explore *e, const stk_beam *beam)
{
	frontier_item item = {.kind = FRONTIER_ID, .beam = *beam};
	stk_semid *id = &item.beam.id;

	if (beam->at.flags & STK_CHILD_TAIL)
	{
		if (id->levels + beam->at.tail_len > STK_MAX_LEVELS)
			return STK_ECORRUPT;
		memcpy(id->codes + id->levels, beam->at.tail, beam->at.tail_len * sizeof(uint16_t));
		id->levels += beam->at.tail_len;
	}
	if (id->levels < e->needed)
		return STK_OK;
	item.value = value_of_id(e, beam, id->levels);
	return frontier_push(&e->frontier, &item);
}

stk_status
explore_add(explore *e, const stk_beam *beam, double share)
{
	frontier_item item = {.kind = FRONTIER_NODE, .share = share, .beam = *beam};
	bool deep = beam->id.levels >= e->scored;
	stk_status status = STK_OK;

	if (deep && beam->at.flags & STK_CHILD_TAIL)
		return add_id(e, beam);
	/* Among ids that the model does not tell apart, one that ends here is drawn like the others. */
	if (beam->at.flags & STK_CHILD_ID && !(e->gumbel && deep && beam->at.flags & STK_CHILD_INNER))
		status = add_id(e, beam);
	if (status == STK_OK && beam->at.flags & (STK_CHILD_INNER | STK_CHILD_TAIL))
	{
		item.value = value_of_place(e, beam);
		status = frontier_push(&e->frontier, &item);
	}
	return status;
}

/* The beam that a child makes of its parent. */
static stk_beam
extend(const explore *e, const stk_beam *parent, const stk_child *child, double cost, double key)
{
	stk_beam beam = *parent;

	beam.score = 0.0 - cost;
	beam.key = key;
	beam.at = *child;
	beam.id.codes[beam.id.levels++] = child->code;
	if (e->gumbel)
		beam.draw =
			stk_draw_child(e->options->seed, parent->draw, parent->id.levels, child->code).state;
	return beam;
}

static double
draw(const explore *e, const stk_beam *parent, uint32_t code)
{
	return stk_draw_child(e->options->seed, parent->draw, parent->id.levels, code).gumbel;
}

stk_status
explore_children(explore *e, const frontier_item *item, stk_norm norm, const terms_row *row)
{
	const stk_beam *parent = &item->beam;
	bool scored = parent->id.levels < e->scored;
	const stk_child *children;
	stk_child tail;
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
		status = e->trie->expand(e->trie, parent->at.node, &children, &n);
	if (status == STK_OK)
		status = reserve(e, n);
	if (status == STK_OK && scored)
		status = terms_of_children(&e->terms, norm, row, children, n);
	if (status == STK_OK && scored)
		status = terms_truncate(&e->terms, e->terms.cost, n);
	if (status != STK_OK)
		return status;
	for (size_t i = 0; i < n && e->gumbel; i++)
		e->key[i] = e->terms.cost[i] < INFINITY
						? item->share - e->terms.cost[i] + draw(e, parent, children[i].code)
						: -INFINITY;
	if (e->gumbel)
		stk_draw_condition(parent->key, e->key, n);
	for (size_t i = 0; i < n && status == STK_OK; i++)
	{
		double term = scored ? e->terms.cost[i] : 0.0;
		stk_beam beam;

		if (term == INFINITY)
			continue;
		beam = extend(e, parent, &children[i], 0.0 - parent->score + term, e->key[i]);
		if (!e->gumbel)
			beam.key = beam.score;
		status = explore_add(e, &beam, item->share - term);
	}
	return status;
}

/* A node of the table as a child; where ids go on its handle is its number. */
static stk_child
child_of(const masses *m, uint32_t number)
{
	const masses_node *node = &m->nodes[number];

	return (stk_child){
		.code = node->code,
		.flags = node->flags,
		.tail_len = node->tail_len,
		.tail = node->tail,
		.node = number,
		.posting = node->posting,
		.items = node->items,
	};
}

/* Add what is below a place of the table of masses: an id that ends there, and its children. */
static stk_status
explore_masses(explore *e, const frontier_item *item)
{
	const stk_beam *parent = &item->beam;
	const masses_node *node = &e->masses.nodes[parent->at.node];
	bool scored = parent->id.levels < e->scored;
	bool ends = node->flags & STK_CHILD_ID && parent->id.levels >= e->needed;
	uint32_t n = node->n;
	stk_status status = terms_reserve(&e->terms, (size_t) n + 1);

	if (status == STK_OK)
		status = reserve(e, (size_t) n + 1);
	if (status != STK_OK)
		return status;
	for (uint32_t i = 0; i < n; i++)
	{
		double term = node->mass - e->masses.nodes[node->first + i].weight;

		e->terms.cost[i] = term > 0 ? term : 0.0;
	}
	if (scored)
	{
		status = terms_truncate(&e->terms, e->terms.cost, n);
		if (status != STK_OK)
			return status;
	}
	for (uint32_t i = 0; i < n; i++)
		e->key[i] = e->terms.cost[i] < INFINITY
						? item->share - e->terms.cost[i] +
							  draw(e, parent, e->masses.nodes[node->first + i].code)
						: -INFINITY;
	e->key[n] = ends ? item->share - node->mass + draw(e, parent, STK_DRAW_END) : -INFINITY;
	stk_draw_condition(parent->key, e->key, (size_t) n + 1);
	if (ends)
	{
		stk_beam beam = *parent;

		beam.key = e->key[n];
		beam.at = child_of(&e->masses, (uint32_t) parent->at.node);
		beam.at.flags = STK_CHILD_ID;
		status = add_id(e, &beam);
	}
	for (uint32_t i = 0; i < n && status == STK_OK; i++)
	{
		double term = e->terms.cost[i];
		stk_child child = child_of(&e->masses, node->first + i);
		frontier_item next = {.kind = FRONTIER_MASS, .share = item->share - term};

		if (term == INFINITY)
			continue;
		next.beam =
			extend(e, parent, &child, 0.0 - parent->score + (scored ? term : 0.0), e->key[i]);
		next.value = 0.0 - e->key[i];
		/* A tail that codes of the model's are left of still loses them one by one. */
		if (child.flags == STK_CHILD_ID)
			status = add_id(e, &next.beam);
		else
			status = frontier_push(&e->frontier, &next);
	}
	return status;
}

/* Ids below a place that the model does not tell apart are drawn by their number. */
static stk_status
count_below(explore *e, frontier_item *item)
{
	uint32_t number;
	stk_status status = masses_add(&e->masses, e->trie, &item->beam.at, item->beam.id.levels,
								   e->needed, NULL, NULL, &number);

	if (status != STK_OK)
		return status;
	item->kind = FRONTIER_MASS;
	item->beam.at.node = number;
	return explore_masses(e, item);
}

/* What masses are made of: the logits of a query, whose sums nobody needs to know. */
typedef struct weights
{
	explore *e;
	const terms_row *rows;
} weights;

static stk_status
weigh(void *ctx, int levels, const stk_child *children, size_t n, double **cost)
{
	weights *w = ctx;
	stk_status status =
		terms_of_children(&w->e->terms, STK_NORM_NONE, &w->rows[levels], children, n);

	*cost = w->e->terms.cost;
	return status;
}

static void
init_root(const explore *e, const stk_root *root, stk_beam *beam, double share)
{
	stk_draw d = stk_draw_root(e->options->seed, e->options->stream, root->tokenizer);

	memset(beam, 0, sizeof(*beam));
	beam->score = share;
	beam->key = share + d.gumbel;
	beam->draw = d.state;
	beam->id.tokenizer = root->tokenizer;
	beam->at.flags = STK_CHILD_INNER;
	beam->at.node = root->node;
}

/* Roots share by their masses: each takes its part of the sum of all. */
static stk_status
add_masses(explore *e, const terms_row *rows, const stk_root *roots, size_t n)
{
	weights w = {e, rows};
	uint32_t *number = stk_alloc_array(&e->a, n, sizeof(uint32_t));
	double greatest = -INFINITY;
	double sum = 0;
	stk_status status = number ? STK_OK : STK_ENOMEM;

	for (size_t i = 0; i < n && status == STK_OK; i++)
	{
		stk_child at = {.flags = STK_CHILD_INNER, .node = roots[i].node};

		status = masses_add(&e->masses, e->trie, &at, 0, e->needed, weigh, &w, &number[i]);
		if (status == STK_OK)
			greatest = fmax(greatest, e->masses.nodes[number[i]].mass);
	}
	for (size_t i = 0; i < n && status == STK_OK && greatest > -INFINITY; i++)
		sum += stk_exp(e->masses.nodes[number[i]].mass - greatest);
	for (size_t i = 0; i < n && status == STK_OK && greatest > -INFINITY; i++)
	{
		double mass = e->masses.nodes[number[i]].mass;
		double share = mass - (greatest + stk_log(sum));
		frontier_item item = {.kind = FRONTIER_MASS};

		if (mass == -INFINITY)
			continue;
		item.share = share < 0 ? share : 0.0;
		init_root(e, &roots[i], &item.beam, item.share);
		item.beam.at.node = number[i];
		item.value = 0.0 - item.beam.key;
		status = frontier_push(&e->frontier, &item);
	}
	stk_free(&e->a, number);
	return status;
}

stk_status
explore_add_roots(explore *e, stk_norm norm, const terms_row *rows, const stk_root *roots, size_t n)
{
	stk_status status = STK_OK;

	if (n == 0)
		return STK_OK;
	if (norm != STK_NORM_MASKED)
		return add_masses(e, rows, roots, n);
	for (size_t i = 0; i < n && status == STK_OK; i++)
	{
		stk_beam beam;

		init_root(e, &roots[i], &beam, 0.0);
		status = explore_add(e, &beam, 0.0);
	}
	return status;
}

const frontier_item *
explore_top(explore *e)
{
	const frontier_item *top;

	while ((top = frontier_top(&e->frontier)))
	{
		const stk_semid *id = &top->beam.id;
		frontier_item item;

		if (!stk_quota_full(e->quota, id->tokenizer, id->codes, id->levels))
			break;
		frontier_pop(&e->frontier, &item);
	}
	return top;
}

stk_status
explore_next(explore *e, stk_norm norm, const terms_row *rows, bool *wants, bool *found,
			 stk_hit *hit)
{
	const frontier_item *top;
	stk_status status = STK_OK;

	*found = false;
	*wants = false;
	while (status == STK_OK && (top = explore_top(e)))
	{
		frontier_item item;

		if (top->kind == FRONTIER_NODE && top->beam.id.levels < e->scored && !rows)
		{
			*wants = true;
			return STK_OK;
		}
		frontier_pop(&e->frontier, &item);
		if (item.kind == FRONTIER_ID)
		{
			*found = true;
			hit->cost = 0.0 - item.beam.score;
			hit->id = item.beam.id;
			hit->posting = item.beam.at.posting;
			hit->items = item.beam.at.items;
			return STK_OK;
		}
		if (item.kind == FRONTIER_MASS)
			status = explore_masses(e, &item);
		else if (e->gumbel && item.beam.id.levels >= e->scored)
			status = count_below(e, &item);
		else
			status = explore_children(
				e, &item, norm,
				rows && item.beam.id.levels < e->scored ? &rows[item.beam.id.levels] : NULL);
	}
	return status;
}
