/*
 * Guided searches that start at several roots and are fed one row for all prefixes: what a query's
 * logits are to RecTokens' sampler. Private to core.
 */
#ifndef STK_GUIDED_H
#define STK_GUIDED_H

#include "decode.h"

/* needed: ids with fewer levels are no hits. */
extern stk_status guided_begin(stk_guided **out, stk_trie *trie, const stk_root *roots, size_t n,
							   int levels, int needed, const stk_decode_options *options,
							   const stk_allocator *a, stk_error *err);
/* stride as stk_stepper_step's */
extern stk_status guided_feed(stk_guided *g, const float *logits, size_t stride, uint32_t size,
							  stk_error *err);

#endif
