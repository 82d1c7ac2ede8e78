/*
 * One step of a beam, for searches whose logits are given and for those that ask for them: all
 * prefixes are extended by one code and the best stay. Private to core.
 */
#ifndef STK_BEAM_STEP_H
#define STK_BEAM_STEP_H

#include "decode.h"

/* How the children of a prefix are scored, and by whom. */
typedef struct beam_rules
{
	/* The children of a prefix that may be allowed; NULL: all that its node has. */
	stk_status (*children)(void *ctx, const stk_beam *parent, const stk_child **children,
						   size_t *n);
	/*
	 * Costs of a prefix and each of its children, +infinity = not allowed, and where the caller has
	 * a set the children's nodes in it (else *member = NULL). `row` is the parent's number.
	 */
	stk_status (*score)(void *ctx, const stk_beam *parent, size_t row, const stk_child *children,
						size_t n, double **cost, const uint32_t **member);
	/* At most the cost of any child; NULL: nothing is known. */
	double (*least)(void *ctx, const stk_beam *parent, size_t row);
	/* The child's flags that count; 0: it leads nowhere. */
	stk_status (*flags)(void *ctx, const stk_child *child, int levels, uint32_t member,
						uint8_t *flags);
	void *ctx;
} beam_rules;

/* A candidate that is in the running. */
typedef struct beam_kept
{
	stk_child at; /* a copy: the trie's children live until its next call only */
	double cost;
	double key;
	uint64_t draw;
	uint32_t parent;
	uint32_t member;
	uint32_t order; /* once the step is done: how many were better */
} beam_kept;

/* What candidates are ordered by: the rank, then the path. */
typedef struct beam_entry
{
	double rank; /* the least is the best */
	uint64_t number;
	size_t slot; /* in kept */
} beam_entry;

/* The best `width` of the candidates offered: a heap, the worst on top. */
typedef struct beam_list
{
	beam_entry *entries;
	beam_kept *kept;
	size_t n;
	size_t room;
	size_t width;
} beam_list;

/*
 * Beams from .. to - 1 in the order of their paths share the prefix that the shortest quota is for.
 */
typedef struct beam_group
{
	double best; /* least cost or, with gumbel, less the greatest key */
	size_t from;
	size_t to;
} beam_group;

typedef struct beam_step
{
	stk_allocator a;
	stk_trie *trie;
	beam_rules rules;
	size_t width;
	const stk_decode_options *options; /* NULL: nothing is drawn, no quotas */

	/*
	 * lists[0] has what stays. With quotas lists[i] has the best of those below one prefix, nested:
	 * when the prefix is done, they are offered to lists[i - 1].
	 */
	beam_list lists[STK_MAX_LEVELS + 1];
	double *key;    /* scratch: one entry a child */
	double *select; /* scratch of the same length */
	size_t room;

	beam_group *groups;
	size_t groups_room;

	stk_beam *out; /* in the order of their paths */
	size_t n_out;
	size_t out_room;
	uint32_t *best; /* [n_out]: indexes into out, the best first */
	bool dropped;   /* something had to go, ever */
	uint64_t expanded;
	uint64_t offered;
} beam_step;

extern void beam_step_init(beam_step *s, stk_trie *trie, size_t width, const beam_rules *rules,
						   const stk_decode_options *options, const stk_allocator *a);
extern void beam_step_free(beam_step *s);

/*
 * Extend beams [n], none of which may be in s->out.
 *
 *   path   [n]  their numbers in the order of their paths, and
 *   place  [n]  where in that order each one stands; both NULL: they stand in it
 *   order  [n]  their numbers, the promising first; NULL: as they stand. Only time depends on it
 */
extern stk_status beam_step_run(beam_step *s, const stk_beam *beams, size_t n, const uint32_t *path,
								const uint32_t *place, const uint32_t *order);

/* The order by which beams are kept and returned: x before y? Paths break ties. */
extern int beam_compare_paths(const stk_semid *x, const stk_semid *y);

#endif
