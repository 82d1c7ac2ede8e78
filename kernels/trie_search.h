/*
 * Whole beam searches on a device for queries whose terms are given level by level: a step
 * (trie_step.h) for each level, all in one CUDA graph. The same ids, order and bits as core's
 * stk_decode with temperature 0 over the same set.
 */
#ifndef STK_TRIE_SEARCH_H
#define STK_TRIE_SEARCH_H

#include "trie_step.h"

STK_BEGIN_C

/* A search's arguments; all pointers are the device's. */
typedef struct stk_trie_search
{
	stk_packed_trie trie;
	stk_node start;
	uint32_t n;
	int levels;
	uint32_t sizes[STK_MAX_LEVELS];
	stk_norm norm;
	uint32_t width; /* beam, 1 .. STK_STEP_MOST */
	uint32_t k;     /* ids wanted of each query */
	int length;     /* codes of the longest id that can be written, >= the trie's depth */

	/* [n][the sum of sizes], as stk_search_batch's; terms NULL: made of logits here. */
	const double *terms;
	const float *logits;

	/* Out; behind the last found nothing is written. */
	double *costs;    /* [n][k] */
	uint16_t *codes;  /* [n][k][length], zeros behind an id's last */
	uint8_t *lengths; /* [n][k] */
	uint32_t *found;  /* [n] */
	uint8_t *dropped; /* [n] 1: a prefix had to go for want of room */

	void *memory; /* stk_trie_search_bytes */
} stk_trie_search;

/* Bytes of memory that such a search takes on the current device. */
extern size_t stk_trie_search_bytes(uint32_t n, int levels, uint32_t width);

/* Asynchronous on stream. STK_EIO. */
extern stk_status stk_trie_search_launch(const stk_trie_search *search, cudaStream_t stream,
										 stk_error *err);

/*
 * Searches' launches as CUDA graphs, which read their arguments' arrays anew each time: those of
 * the last few searches that differ in anything else.
 */
typedef struct stk_trie_graphs stk_trie_graphs;

/*
 * The same, by a graph; *graphs, NULL at first, is where they are kept. Padding of *search counts:
 * set it to zeros first. Nothing else may use the stream meanwhile, nor *graphs while one of them
 * is under way on another. STK_ENOMEM, STK_EIO.
 */
extern stk_status stk_trie_graphs_launch(stk_trie_graphs **graphs, const stk_trie_search *search,
										 cudaStream_t stream, stk_error *err);
extern void stk_trie_graphs_free(stk_trie_graphs *graphs);

STK_END_C

#endif
