/*
 * One step of a beam on a device, for a batch of queries: all their prefixes are extended by one
 * code, and of each query the best stay. The same prefixes, order and bits as core's (decode.h):
 * costs are -log p in binary64, exp and log are core's own, ties go to the smaller parent, then
 * code.
 */
#ifndef STK_TRIE_STEP_H
#define STK_TRIE_STEP_H

#include "trie.h"

STK_BEGIN_C

#include "core/query.h"

/* Prefixes of a query, before and after, at most. */
#define STK_STEP_MOST 1024

/* Bytes of its shared memory that a block takes for a step, at most. */
static inline size_t
stk_step_shared(uint32_t parents)
{
	return ((size_t) 36 << 10) + (size_t) parents * 56;
}

/* A step's arguments; all pointers are the device's. */
typedef struct stk_trie_step
{
	stk_packed_trie trie;
	uint32_t n;       /* queries */
	uint32_t parents; /* room for prefixes of each, 1 .. STK_STEP_MOST */
	uint32_t width;   /* prefixes kept of each, 1 .. STK_STEP_MOST */

	/* The prefixes; node NULL: `start` alone for every query, at cost 0. */
	const uint32_t *n_parents; /* [n]; NULL: `parents` of each */
	const stk_node *node;      /* [n][parents] */
	const double *cost;        /* [n][parents] */
	stk_node start;

	/*
	 * What codes cost: `terms`, or by `norm` from `logits` / temperature; rows of `stride` numbers,
	 * of which codes below `size` have one. Terms and logits as stk_search_batch has them.
	 */
	const double *terms; /* norm full and none: made before; NULL: from logits */
	const float *logits;
	const double *temperature; /* [rows]; NULL: 1 */
	size_t stride;
	uint32_t size;
	stk_norm norm;
	bool row_each; /* [n][parents] rows; else [n], one for all prefixes of a query */

	bool leaves;  /* prefixes that nothing follows are kept, too */
	bool by_path; /* survivors come out by (parent, code), else the best first */

	/* Out. Numbers are parent << 16 | code. */
	uint32_t *n_out;      /* [n] */
	uint32_t *out_number; /* [n][width] */
	stk_node *out_node;   /* [n][width] */
	double *out_cost;     /* [n][width] */
	uint8_t *dropped;     /* [n] set to 1 where one had to go for want of room; NULL: not asked */

	/* stk_trie_step_scratch bytes, zeros before the first use with so many queries. */
	void *scratch;
} stk_trie_step;

/* Bytes of scratch that steps on the current device take. */
extern size_t stk_trie_step_scratch(uint32_t n, uint32_t width);

/* Asynchronous on stream. STK_EIO. */
extern stk_status stk_trie_step_launch(const stk_trie_step *step, cudaStream_t stream,
									   stk_error *err);

STK_END_C

#endif
