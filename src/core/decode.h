/*
 * Constrained decoding over an abstract trie: level by level the best prefixes survive, beams, then
 * the ids below them come out, best first. One step is offered by itself, for callers whose model
 * scores prefixes as it goes; searches for a query, whose logits are given, and searches that ask
 * for logits are made of it.
 *
 * Costs are -log p: sums of the levels' terms, left to right from +0; a score is 0 less the cost.
 * What is computed here has the same bits on every machine.
 *
 * With a temperature T > 0 logits are divided by it and results are drawn, none twice:
 *
 *   gumbel     whole ids, as often as the model makes them (Kool et al. 2019, "Stochastic beams
 *              and where to find them"). A prefix's key is its score plus a Gumbel variable, given
 *              that the greatest of its children's keys is its own; keys rank, the greatest first.
 *              Where ids lie deeper than the model looks they are as likely as each other.
 *   rectokens  each step draws `candidates` children of each beam, then the best scores stay
 *
 * A draw depends on the seed, the query's number in a batch, and the path of codes, and on nothing
 * else: not on the trie's handles, the beam's width or what else was expanded (draws.h).
 */
#ifndef STK_DECODE_H
#define STK_DECODE_H

#include <stdbool.h>

#include "alloc.h"
#include "query.h"
#include "restricted.h"
#include "search.h"
#include "trie.h"

#define STK_MAX_BEAM 1000000

/* Above 0, a temperature is no less: a path's logits divided by it have a finite sum. */
#define STK_MIN_TEMPERATURE 1e-200

typedef enum stk_sampler
{
	STK_SAMPLER_GUMBEL,
	STK_SAMPLER_RECTOKENS
} stk_sampler;

typedef struct stk_decode_options
{
	stk_norm norm;       /* of logits handed to a step; a query has its own */
	size_t beam_size;    /* prefixes kept a level, 1 .. STK_MAX_BEAM */
	double temperature;  /* 0: nothing is drawn, probabilities are those of temperature 1 */
	stk_sampler sampler; /* temperature > 0 */
	size_t candidates;   /* STK_SAMPLER_RECTOKENS: drawn from each beam; 0 = beam_size */
	uint64_t seed;
	uint64_t stream; /* number of the query in a batch: draws differ by it */
	/*
	 * What stays of a prefix's children, those that exist: the top_k likeliest (0 = all; ties: the
	 * smaller code), and of these the fewest whose share of the probability is top_p (1 = all).
	 * Without sampling the others only go; with it the rest's probabilities are made to add up to
	 * 1.
	 */
	uint32_t top_k;
	double top_p;
	/* Ids of unlike length rank by cost / levels^length_penalty; 0 = by cost. Not with gumbel. */
	double length_penalty;
	bool exact; /* best-first: provably the best, whatever beam_size; temperature 0 */
	/*
	 * [d]: at most so many results that share their first d codes; 0 = any number. In a beam no
	 * more prefixes than that survive there, so that it is not filled by what could not be
	 * returned.
	 */
	uint64_t per_prefix[STK_MAX_LEVELS + 1];
} stk_decode_options;

/* Norm full, a beam of 50, nothing drawn, left out or limited. */
extern void stk_decode_defaults(stk_decode_options *options);

/* STK_EINVAL with err filled for what the fields' comments exclude, and for NaN. */
extern stk_status stk_decode_check(const stk_decode_options *options, stk_error *err);

/*
 * levels^penalty, by stk_exp and stk_log: what ranks an id of so many levels is its cost divided
 * by this. penalty as stk_decode_check takes it: from -100 to 100.
 */
extern double stk_length_weight(int levels, double penalty);

/* A prefix that survived. */
typedef struct stk_beam
{
	double score; /* log-probability of the prefix */
	double key; /* what ranks it, the greatest first: the score, or with gumbel the perturbed one */
	uint64_t draw;   /* of the random stream: follows from seed, stream and path */
	uint32_t parent; /* beam of the step before */
	uint32_t member; /* for core: node of the set that a query carries */
	stk_semid id;    /* the prefix; levels may be 0 */
	stk_child at;    /* what it leads to: flags as in trie.h, a tail where one id is left */
} stk_beam;

/*
 * One step for a model outside.
 */
typedef struct stk_stepper stk_stepper;

/*
 * trie outlives it. STK_EINVAL where the options do not go together with logits of a step: exact;
 * gumbel with another norm than masked (which codes exist further down would have to be known).
 */
extern stk_status stk_stepper_create(stk_stepper **out, stk_trie *trie,
									 const stk_decode_options *options, const stk_allocator *a,
									 stk_error *err);
extern void stk_stepper_free(stk_stepper *s);

/* The same with another stream: steps of several queries in turn. */
extern void stk_stepper_set_stream(stk_stepper *s, uint64_t stream);

/*
 * The beam of a prefix below a root, n = 0 for the root itself. *found = false: it does not exist.
 * The score is 0 and so is the key of a longer prefix: with gumbel the caller puts back what a step
 * said of it. What trie's expand returns.
 */
extern stk_status stk_stepper_seek(stk_stepper *s, const stk_root *root, const uint16_t *codes,
								   int n, bool *found, stk_beam *beam);

/*
 * Extend beams, in any order and of any lengths, by one code.
 *
 *   logits  [n][stride], the first `size` of each row; stride 0: one row for all. -infinity =
 *           never, codes from `size` on too; a row without a finite logit leads nowhere
 *   *out    [*n_out] the beam_size best, best first (ties: the smaller parent, then code); valid
 *           until the next call on s, to which it may be handed
 *
 * Beams without children lead nowhere. STK_EINVAL for NaN and +infinity (err->row is the beam),
 * STK_ECORRUPT, STK_ENOMEM, and what trie's expand returns.
 */
extern stk_status stk_stepper_step(stk_stepper *s, const stk_beam *beams, size_t n,
								   const float *logits, size_t stride, uint32_t size,
								   const stk_beam **out, size_t *n_out, stk_error *err);

/*
 * Did a step leave out a prefix for want of room (beam_size, quotas)? Since the last call of this.
 */
extern bool stk_stepper_dropped(stk_stepper *s);

/*
 * A whole search for a query.
 *
 * Hits come in order of rank: ascending (cost, id), with a length penalty ascending (cost / weight,
 * id), with gumbel in the order drawn. hit->cost is -log p of the distribution that options
 * describe, without the penalty; ids deeper than the query share the prefix's.
 *
 *   temperature 0   the query's own costs, bit for bit; MASKED queries too with exact
 *   temperature > 0 from the query's logits: norm masked over the children that trie shows (and the
 *                   query's set); full and none: the probabilities of all ids of the trie, made to
 *                   add up to 1, for which the whole trie is read (STK_ERANGE past STK_MAX_MASSES
 *                   nodes). STK_EINVAL for neighbors. beam_size is not looked at with gumbel: the
 *                   draws go on as long as ids exist
 *
 * The caller says which hits it took, and quotas count those: one more of a full prefix never
 * comes.
 */
#define STK_MAX_MASSES 1000000

typedef struct stk_decode stk_decode;

/* q, trie and roots [n] outlive it. STK_EINVAL, STK_ENOMEM. */
extern stk_status stk_decode_start(stk_decode **out, const stk_query *q, stk_trie *trie,
								   const stk_root *roots, size_t n,
								   const stk_decode_options *options, const stk_allocator *a,
								   stk_error *err);
extern stk_status stk_decode_next(stk_decode *d, bool *found, stk_hit *hit);
extern stk_status stk_decode_took(stk_decode *d, const stk_hit *hit);
/* Did it give up a prefix that could have led to more hits? False: no more exist than came. */
extern bool stk_decode_dropped(const stk_decode *d);
extern void stk_decode_free(stk_decode *d);

/*
 * A whole search with a model outside: it asks for the logits of prefixes of one length at a time,
 * and the caller feeds them.
 *
 * Ids that end on the way are hits with the score of their prefix, and with gumbel its key: they
 * are drawn beside those that go on. With gumbel the first k are as the distribution has them where
 * beam_size >= k and each prefix kept leads to an id (a row may forbid all that is left). After
 * `levels` steps, 0 = as many as it takes, all ids below a survivor share its score. Hits come as
 * those of a query do. exact expands the likeliest prefixes, beam_size at a time at most; norm none
 * has no bound (STK_EINVAL).
 *
 * Before each hit is taken the caller feeds what is wanted, until nothing is.
 */
typedef struct stk_guided stk_guided;

extern stk_status stk_guided_start(stk_guided **out, stk_trie *trie, const stk_root *root,
								   int levels, const stk_decode_options *options,
								   const stk_allocator *a, stk_error *err);
/*
 * Prefixes whose logits are wanted, all with `level` codes, best first; valid until they are fed.
 * *n = 0: nothing is wanted, the next hit can be taken.
 */
extern stk_status stk_guided_wants(stk_guided *g, const stk_beam **beams, size_t *n, int *level);
/* logits [n][size] for the prefixes wanted, in their order; as a step takes them. */
extern stk_status stk_guided_feed(stk_guided *g, const float *logits, uint32_t size,
								  stk_error *err);
extern stk_status stk_guided_next(stk_guided *g, bool *found, stk_hit *hit);
extern stk_status stk_guided_took(stk_guided *g, const stk_hit *hit);
extern bool stk_guided_dropped(const stk_guided *g);
extern void stk_guided_free(stk_guided *g);

#endif
