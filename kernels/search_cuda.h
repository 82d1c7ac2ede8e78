/*
 * Batches of beam searches by a CUDA device: the engine's tries and what goes on with a batch, in
 * pieces that travel by lanes (lane.h). A trie lies on one device.
 */
#ifndef STK_SEARCH_CUDA_H
#define STK_SEARCH_CUDA_H

#include "lane.h"

/* engine.h's trie_load, on this device. */
extern stk_status stk_cuda_trie_load(stk_gpu *gpu, const stk_exec *exec, const uint8_t *stored,
									 size_t bytes, stk_resident_trie **out, stk_error *err);
extern void stk_cuda_trie_unload(stk_resident_trie *t);
extern size_t stk_cuda_trie_bytes(const stk_resident_trie *t);

/*
 * Does a device take such a batch? Not: a beam wider than STK_STEP_MOST; queries, or what they
 * find, too large for a lane.
 */
extern bool stk_cuda_takes_search(const stk_search_batch *b);
/* A batch that is taken. */
extern stk_status stk_cuda_search(const stk_exec *exec, const stk_resident_trie *t,
								  const stk_search_batch *b, stk_error *err);

#endif
