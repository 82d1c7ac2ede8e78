/*
 * What a batch of searches finds, as it travels: one block of memory, 8-byte aligned.
 *
 *     binary64  costs    [n][k]
 *     uint16    codes    [n][k][width]
 *     uint8     lengths  [n][k], then up to 3 bytes of nothing
 *     uint32    found    [n]
 *     uint8     dropped  [n]
 *
 * Numbers are in the order of a batch's (engine/search_batch.h) and in that of the processor's
 * bytes, which both sides have. What lies beyond the ids found means nothing.
 */
#ifndef STK_FOUND_H
#define STK_FOUND_H

#include "engine/search_batch.h"

/* Where each array begins. */
typedef struct stk_found_layout
{
	uint64_t costs;
	uint64_t codes;
	uint64_t lengths;
	uint64_t found;
	uint64_t dropped;
} stk_found_layout;

extern stk_found_layout stk_found_layout_of(uint64_t n, uint64_t k, int width);
/* Bytes of it; no overflow with what a stk_search_message may ask for. */
extern uint64_t stk_found_bytes(uint64_t n, uint64_t k, int width);
/* Let a batch's arrays be those in this memory, of stk_found_bytes(b->n, b->k, b->width). */
extern void stk_found_arrays(void *memory, stk_search_batch *b);

/*
 * Check every number that came: an honest answer to b may have it. The ids of each query are in the
 * order of rank, they are the set's, and their costs are made of b's, unless these are NULL.
 * STK_ECORRUPT with the reason.
 */
extern stk_status stk_found_check(const stk_search_batch *b, const stk_semset *set, stk_error *err);

#endif
