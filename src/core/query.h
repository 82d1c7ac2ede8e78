/*
 * A decoding query (SQL: semquery): what to score semantic IDs by.
 *
 * Stored form, final, little-endian (offsets include PostgreSQL's 4-byte length word, which the
 * writer leaves zero; the datum is 8-byte aligned, and so is every binary64 section):
 *
 *    0   u32  length word
 *    4   u8   format version, 1
 *    5   u8   kind (stk_query_kind)
 *    6   u8   norm (stk_norm); 0 for neighbors
 *    7   u8   levels, 1..32
 *    8   u32  tokenizer, 0 = any
 *    12  u32  bytes of the semset section, 0 = none
 *    16  u32  sizes[levels], padded with zeros to a multiple of 8
 *    then by kind
 *      LEVELS (norm full or none)   f64 cost[ΣK]; f32 logits[ΣK]
 *      WITHIN (any norm, with a set)   f32 logits[ΣK], zeros up to a multiple of 8; f64
 *                                   node_cost[total nodes of the set, in semset numbering];
 *                                   semset's stored form
 *      MASKED (norm masked, no set) f32 logits[ΣK]
 *      NEIGHBORS (l2, cosine)       f64 xx; f64 own[ΣK] (|c|^2 - 2 x.c); f32 gram: for each pair
 *                                   of levels l < m in the order (0,1) (0,2) … (1,2) …:
 *                                   c_l,i . c_m,j as [K_l][K_m]
 *      (inner product neighbors are LEVELS with norm none and logits x.c rounded to binary32,
 *      cost -x.c in binary64)
 *
 * Cost of an id: the left-to-right sum of its levels' costs from level 0 on, starting at +0;
 * levels of the id beyond the query's add nothing; +infinity when the id has fewer levels than
 * the query, a code beyond the level's size or another tokenizer. For NEIGHBORS:
 * cost = max(0, ((xx + t_0) + t_1) + …), t_m = own[m] + 2 * (g_0m + g_1m + …), t_0 = own[0], the
 * sums left to right in binary64.
 *
 * WITHIN: the terms are the node costs along the id's path below the set's root of its own
 * tokenizer, and the id itself must be a member of the set (a prefix of a member is not enough),
 * else it costs infinity. Nodes deeper than the query's levels have cost 0 and are not added.
 * With norm masked a node's cost comes from the softmax over the node and its siblings; siblings
 * whose code is beyond the level's size cost infinity and take no part in it, and where no sibling
 * has a finite logit all cost infinity.
 */
#ifndef STK_QUERY_H
#define STK_QUERY_H

#include <stdbool.h>

#include "alloc.h"
#include "codebook.h"
#include "semid.h"
#include "semset.h"

#define STK_QUERY_VERSION 1

typedef enum stk_query_kind
{
	STK_QUERY_LEVELS = 0,
	STK_QUERY_WITHIN = 1,
	STK_QUERY_MASKED = 2,
	STK_QUERY_NEIGHBORS = 3
} stk_query_kind;

typedef enum stk_norm
{
	STK_NORM_FULL = 0,  /* log-softmax over all codes of the level */
	STK_NORM_NONE = 1,  /* raw logits: cost = -logit */
	STK_NORM_MASKED = 2 /* log-softmax over the children that exist */
} stk_norm;

/* A view of a stored form; points into it. */
typedef struct stk_query
{
	stk_query_kind kind;
	stk_norm norm;
	int levels;
	uint32_t tokenizer;
	uint32_t sizes[STK_MAX_LEVELS];
	const float *logits[STK_MAX_LEVELS];               /* LEVELS, WITHIN, MASKED */
	const double *cost[STK_MAX_LEVELS];                /* LEVELS; NEIGHBORS: own */
	const float *gram[STK_MAX_LEVELS][STK_MAX_LEVELS]; /* NEIGHBORS, l < m: [K_l][K_m] */
	double xx;
	stk_semset within;       /* WITHIN */
	const double *node_cost; /* WITHIN: [total nodes], by semset numbering */
} stk_query;

extern stk_status stk_norm_parse(const char *name, stk_norm *norm);
extern const char *stk_norm_name(stk_norm norm);

/*
 * Make a view in O(levels^2): for bytes that were checked when they came in (cheap size checks
 * only). datum is the whole stored form with the length word, 8-byte aligned.
 */
extern stk_status stk_query_view(const uint8_t *datum, size_t len, stk_query *q, stk_error *err);
/* Check every invariant (shape, finite numbers, the set); for bytes from outside. */
extern stk_status stk_query_check(const uint8_t *datum, size_t len, stk_error *err);

/*
 * Make a query from logits.
 *
 *   logits  [ΣK]   level by level; -infinity means never; NaN and +infinity are errors
 *   within         the set's stored form (8-byte aligned not needed, 4 is) or NULL
 *
 * full, none: LEVELS, and WITHIN too when a set is given (then node_cost comes from the level's
 * costs and ids outside the set cost infinity). masked: WITHIN, or MASKED when within is NULL.
 * *out is allocated through a, the whole stored form with a zero length word.
 * STK_EINVAL, STK_ERANGE (too large), STK_ENOMEM; err names the level.
 */
extern stk_status stk_query_from_logits(const float *logits, int levels, const uint32_t *sizes,
										uint32_t tokenizer, stk_norm norm, const uint8_t *within,
										size_t within_len, const stk_allocator *a, uint8_t **out,
										size_t *out_len, stk_error *err);

/*
 * Gram tables of a codebook in the stored form's order, binary32 of the binary64 reference dots.
 * Depend on the codebook alone: callers cache them. *gram is allocated through a.
 * STK_ERANGE (too large, or a dot is beyond binary32), STK_ENOMEM, STK_ECANCELED.
 */
extern size_t stk_query_gram_count(const stk_codebook *cb);
extern stk_status stk_query_gram(const stk_codebook *cb, const stk_allocator *a, float **gram,
								 const stk_monitor *monitor);

/*
 * Make a neighbors query.
 *
 *   x     [dim]  embedding, finite; where the codebook has a network, its latent vector
 *   gram  from stk_query_gram of the same codebook; not used (may be NULL) with STK_IP
 */
extern stk_status stk_query_neighbors(const stk_codebook *cb, uint32_t tokenizer, const float *x,
									  const float *gram, const stk_allocator *a, uint8_t **out,
									  size_t *out_len, stk_error *err);

/*
 * Cost of an id given its stored form. MASKED queries have no cost by themselves: callers refuse
 * them before (here: NaN).
 */
extern double stk_query_cost(const stk_query *q, const uint8_t *id, size_t len);

#endif
