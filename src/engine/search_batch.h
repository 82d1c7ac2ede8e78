/*
 * A batch of beam searches in one trie: queries of one shape whose terms are given, level by level,
 * and what they find. The numbers are those of core's stk_decode with temperature 0 and nothing
 * left out or limited: the same ids, order and bits.
 */
#ifndef STK_SEARCH_BATCH_H
#define STK_SEARCH_BATCH_H

#include "core/decode.h"

/*
 * ΣK is the sum of sizes; a query's terms lie level by level. Nothing belongs to the batch.
 */
typedef struct stk_search_batch
{
	size_t n;                       /* queries, >= 1 */
	int levels;                     /* 1 .. STK_MAX_LEVELS */
	uint32_t sizes[STK_MAX_LEVELS]; /* 1 .. STK_MAX_CODES each */
	uint32_t tokenizer;             /* whose ids are searched */
	stk_norm norm;                  /* that the costs were made with; masked: made of logits here */
	const double *cost;             /* [n][ΣK] full and none: +infinity = never, no NaN */
	const float *logits;            /* [n][ΣK] masked: -infinity = never, no NaN or +infinity */
	size_t beam_size;               /* 1 .. STK_MAX_BEAM */
	size_t k;                       /* ids wanted of each query, >= 1 */
	int width; /* codes of the longest id that can be written, >= trie's depth */

	/* Found, in order of rank: ascending (cost, id). What lies beyond is left as it was. */
	uint32_t *found;  /* [n] of each query, at most k */
	double *costs;    /* [n][k] */
	uint8_t *lengths; /* [n][k] levels of the id */
	uint16_t *codes;  /* [n][k][width], zero from its length on */
	uint8_t *dropped; /* [n] 1: fewer than k, and a prefix was given up that may have led to more */
} stk_search_batch;

/* Codes of a query's levels together. */
static inline size_t
stk_search_batch_terms(const stk_search_batch *b)
{
	size_t terms = 0;

	for (int l = 0; l < b->levels; l++)
		terms += b->sizes[l];
	return terms;
}

/*
 * About how long a search takes, in multiply-adds of one thread: by the children that a beam looks
 * at in a set.
 */
#define STK_SEARCH_CHILD_WORK 40.0

static inline double
stk_search_work(const stk_semset *set, int levels, double beam_size)
{
	double beams = 1, children = 0;

	for (int l = 0; l < levels && l < set->depth; l++)
	{
		double above = l == 0 ? set->roots : set->nodes[l];
		double all = set->nodes[l + 1];
		double looked_at = above > 0 ? beams * all / above : 0;

		looked_at = looked_at < all ? looked_at : all;
		children += looked_at;
		beams = looked_at < beam_size ? looked_at : beam_size;
	}
	return children * STK_SEARCH_CHILD_WORK;
}

#endif
