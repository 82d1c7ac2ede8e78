/*
 * Searches that ask a model for the logits of prefixes, level by level or, exact, best first.
 */
#include "guided.h"

#include <string.h>

#include "explore.h"
#include "fpenv.h"

/* How many places an exact search looks through for others to ask about at once, per beam. */
#define LOOK_AHEAD 4

struct stk_guided
{
	stk_decode_options options;
	stk_allocator a;
	stk_quota quota;
	explore explore;
	stk_stepper *stepper; /* not exact */
	stk_beam *wanted;
	frontier_item *items; /* exact: what was wanted, and after those what was passed over */
	size_t n_wanted;
	size_t room;
	int level;
	bool dropped;
	bool fetched; /* hit, or that there is none, has been found out */
	bool found;
	stk_hit hit;
	stk_status status; /* the first failure is the last answer */
};

static stk_status
reserve(stk_guided *g, size_t n)
{
	void *grown;

	if (n <= g->room)
		return STK_OK;
	grown = stk_realloc_array(&g->a, g->wanted, n, sizeof(stk_beam));
	if (!grown)
		return STK_ENOMEM;
	g->wanted = grown;
	if (g->options.exact)
	{
		grown = stk_realloc_array(&g->a, g->items, n, sizeof(frontier_item));
		if (!grown)
			return STK_ENOMEM;
		g->items = grown;
	}
	g->room = n;
	return STK_OK;
}

/* The first generation: all roots. */
static stk_status
add_roots(stk_guided *g, const stk_root *roots, size_t n)
{
	stk_status status = reserve(g, n);

	for (size_t i = 0; i < n && status == STK_OK; i++)
	{
		bool found;
		stk_beam beam;

		if (g->stepper)
		{
			status = stk_stepper_seek(g->stepper, &roots[i], NULL, 0, &found, &beam);
			g->wanted[g->n_wanted++] = beam;
		}
		else
		{
			memset(&beam, 0, sizeof(beam));
			beam.id.tokenizer = roots[i].tokenizer;
			beam.at.flags = STK_CHILD_INNER;
			beam.at.node = roots[i].node;
			status = explore_add(&g->explore, &beam, 0);
		}
	}
	return status;
}

stk_status
guided_begin(stk_guided **out, stk_trie *trie, const stk_root *roots, size_t n, int levels,
			 int needed, const stk_decode_options *options, const stk_allocator *a, stk_error *err)
{
	stk_guided *g;
	stk_status status = stk_decode_check(options, err);

	*out = NULL;
	if (status != STK_OK)
		return status;
	if (levels < 0 || levels > STK_MAX_LEVELS)
		return stk_fail(err, STK_EINVAL, "expected 1 to %d levels, not %d", STK_MAX_LEVELS, levels);
	if (options->exact && options->norm == STK_NORM_NONE)
		return stk_fail(err, STK_EINVAL,
						"an exact search with norm none cannot know what a prefix may lead to");
	g = stk_alloc_array(a, 1, sizeof(*g));
	if (!g)
		return STK_ENOMEM;
	memset(g, 0, sizeof(*g));
	g->options = *options;
	g->a = *a;
	stk_quota_init(&g->quota, g->options.per_prefix, a);
	explore_init(&g->explore, trie, &g->options, levels ? levels : STK_MAX_LEVELS, needed,
				 &g->quota, a);
	if (!options->exact)
		status = stk_stepper_create(&g->stepper, trie, options, a, err);
	if (status == STK_OK)
		status = add_roots(g, roots, n);
	if (status != STK_OK)
	{
		stk_guided_free(g);
		return status;
	}
	*out = g;
	return STK_OK;
}

stk_status
stk_guided_start(stk_guided **out, stk_trie *trie, const stk_root *root, int levels,
				 const stk_decode_options *options, const stk_allocator *a, stk_error *err)
{
	return guided_begin(out, trie, root, 1, levels, 0, options, a, err);
}

void
stk_guided_free(stk_guided *g)
{
	if (!g)
		return;

	stk_allocator a = g->a;

	stk_stepper_free(g->stepper);
	explore_free(&g->explore);
	stk_quota_free(&g->quota);
	stk_free(&a, g->wanted);
	stk_free(&a, g->items);
	stk_free(&a, g);
}

/*
 * Take the places to ask about from the frontier: the best one and, of the next few, those of the
 * same level. What is passed over goes back.
 */
static stk_status
choose_wanted(stk_guided *g)
{
	size_t most = g->options.beam_size * LOOK_AHEAD;
	size_t n = 0;
	size_t looked = 0;
	size_t end;
	const frontier_item *top;
	stk_status status = STK_OK;

	if (most > g->explore.frontier.n)
		most = g->explore.frontier.n;
	status = reserve(g, most);
	if (status != STK_OK)
		return status;
	g->level = frontier_top(&g->explore.frontier)->beam.id.levels;
	end = most;
	while (n < g->options.beam_size && looked++ < most &&
		   (top = frontier_top(&g->explore.frontier)) && top->kind == FRONTIER_NODE)
	{
		bool same = top->beam.id.levels == g->level;

		frontier_pop(&g->explore.frontier, &g->items[same ? n : end - 1]);
		if (same)
			n++;
		else
			end--;
	}
	for (size_t i = end; i < most && status == STK_OK; i++)
		status = frontier_push(&g->explore.frontier, &g->items[i]);
	for (size_t i = 0; i < n; i++)
		g->wanted[i] = g->items[i].beam;
	g->n_wanted = n;
	return status;
}

/* Find out what comes next: a hit, prefixes that are wanted, or nothing. */
static stk_status
fetch(stk_guided *g)
{
	stk_fpenv env;
	bool wants;

	if (g->n_wanted > 0 || g->fetched || g->status != STK_OK)
		return g->status;
	env = stk_fpenv_enter();
	g->status = explore_next(&g->explore, g->options.norm, NULL, &wants, &g->found, &g->hit);
	if (g->status == STK_OK && wants)
		g->status = choose_wanted(g);
	else
		g->fetched = true;
	stk_fpenv_leave(env);
	return g->status;
}

stk_status
stk_guided_wants(stk_guided *g, const stk_beam **beams, size_t *n, int *level)
{
	stk_status status = fetch(g);

	*beams = g->wanted;
	*n = status == STK_OK ? g->n_wanted : 0;
	*level = g->level;
	return status;
}

/* A step of the beam: ids that end go to the frontier, as do all where no more steps follow. */
static stk_status
feed_beam(stk_guided *g, const float *logits, size_t stride, uint32_t size, stk_error *err)
{
	const stk_beam *out;
	size_t n;
	stk_status status =
		stk_stepper_step(g->stepper, g->wanted, g->n_wanted, logits, stride, size, &out, &n, err);

	g->dropped |= stk_stepper_dropped(g->stepper);
	if (status == STK_OK)
		status = reserve(g, n);
	if (status != STK_OK)
		return status;
	g->n_wanted = 0;
	g->level++;
	for (size_t i = 0; i < n && status == STK_OK; i++)
	{
		stk_beam beam = out[i];

		if (g->level < g->explore.scored && beam.at.flags & (STK_CHILD_INNER | STK_CHILD_TAIL))
		{
			g->wanted[g->n_wanted++] = beam;
			beam.at.flags &= STK_CHILD_ID;
		}
		status = explore_add(&g->explore, &beam, beam.score);
	}
	return status;
}

/* Look into the places that were asked about. */
static stk_status
feed_exact(stk_guided *g, const float *logits, size_t stride, uint32_t size, stk_error *err)
{
	stk_status status = STK_OK;
	terms_row row;
	uint32_t code;

	for (size_t i = 0; i < g->n_wanted && status == STK_OK; i++)
	{
		status = terms_read_row(&g->explore.terms, g->options.norm, logits + i * stride, size, &row,
								&code);
		if (status != STK_OK)
		{
			if (err)
				err->row = i;
			return stk_fail(err, status, "logit of code %u is %s", code,
							logits[i * stride + code] > 0 ? "infinity" : "NaN");
		}
		status = explore_children(&g->explore, &g->items[i], g->options.norm, &row);
	}
	g->n_wanted = 0;
	return status;
}

stk_status
guided_feed(stk_guided *g, const float *logits, size_t stride, uint32_t size, stk_error *err)
{
	stk_fpenv env = stk_fpenv_enter();

	if (g->status == STK_OK && g->n_wanted > 0)
		g->status = g->options.exact ? feed_exact(g, logits, stride, size, err)
									 : feed_beam(g, logits, stride, size, err);
	stk_fpenv_leave(env);
	return g->status;
}

stk_status
stk_guided_feed(stk_guided *g, const float *logits, uint32_t size, stk_error *err)
{
	return guided_feed(g, logits, size, size, err);
}

stk_status
stk_guided_next(stk_guided *g, bool *found, stk_hit *hit)
{
	stk_status status = fetch(g);

	*found = status == STK_OK && g->fetched && g->found;
	if (*found)
	{
		*hit = g->hit;
		g->fetched = false;
	}
	return status;
}

stk_status
stk_guided_took(stk_guided *g, const stk_hit *hit)
{
	return stk_quota_take(&g->quota, &hit->id);
}

bool
stk_guided_dropped(const stk_guided *g)
{
	return g->dropped;
}
