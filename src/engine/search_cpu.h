/*
 * Batches of searches on the processor's cores: core's own search, query by query.
 */
#ifndef STK_SEARCH_CPU_H
#define STK_SEARCH_CPU_H

#include "core/exec.h"
#include "engine/search_batch.h"

/* As an engine's search; set is a view of its trie. */
extern stk_status stk_search_cpu(const stk_exec *exec, const stk_semset *set,
								 const stk_search_batch *b, stk_error *err);

#endif
