/*
 * A set of semantic IDs as the arrays that constrained decoders on accelerators take: the trie as
 * a sparse matrix in rows (CSR), and dense tables for its first levels. Both layouts hold one
 * tokenizer's ids of one length L; tokens are codes, or offsets[level] + code below `vocab`. The
 * nodes of a level are numbered in the order of their prefixes.
 *
 * STK_CSR_STATIC, of STATIC (Su et al. 2026, "Vectorizing the Trie"; V = vocab, d = dense layers,
 * 1 <= d < L, n_k = prefixes of k codes):
 *
 *   packed_csr          int32 [E + V][2]  token and next state of each edge below the first level,
 *                                         then V rows (V, 0)
 *   indptr              int32 [S + 2]     state s has the edges indptr[s] .. indptr[s + 1] - 1;
 *                                         the last entry is E + V
 *   layer_max_branches  int64 [L]         most children of a prefix of 0, 1, .. L - 1 codes
 *   start_mask          bool [V]          tokens that an id may begin with
 *   dense_mask          bool [V]..[V]     d-dimensional: prefixes of d tokens
 *   dense_states        int32 the same    their states, 0 elsewhere
 *
 * State 0 is where every id ends, token + 1 the prefix of that one token, and the longer prefixes
 * follow from V + 1 on, shorter ones first. S counts all of these, E = n_2 + .. + n_L.
 *
 * STK_CSR_RECTOKENS, RecTokens' CompactCSRTrie (d = min(dense layers, L), E = n_1 + .. + n_L):
 *
 *   row_ptrs               int64 [E + 1]     node i has the edges row_ptrs[i] .. row_ptrs[i+1] - 1
 *   stacked_cols_vals      int64 [2][E + 1]  tokens and child nodes, each ending in -1
 *   layer_max_branches     int64 [L]         as above
 *   dense_mask_by_layer_l  bool [V]..[V]     l + 1 dimensions, for l = 0 .. d - 1
 *   dense_states           int64 [V]..[V]    d dimensions: node of each prefix, 0 elsewhere
 *   vocab_size             int64             V
 *
 * Node 0 is the root, the others follow breadth first, so that edge e leads to node e + 1. The
 * last node has no row of its own end: nobody expands it.
 */
#ifndef STK_CSR_H
#define STK_CSR_H

#include "npz.h"
#include "semset.h"

typedef enum stk_csr_layout
{
	STK_CSR_STATIC,
	STK_CSR_RECTOKENS
} stk_csr_layout;

#define STK_CSR_MAX_VOCAB INT32_MAX
#define STK_CSR_MAX_ARRAYS (STK_MAX_LEVELS + 5)

/* What turns codes into tokens. */
typedef struct stk_csr_tokens
{
	uint32_t vocab;                   /* 1 .. STK_CSR_MAX_VOCAB */
	int n_offsets;                    /* 0: tokens are codes; else one for each level */
	uint32_t offsets[STK_MAX_LEVELS]; /* 0 .. INT32_MAX */
} stk_csr_tokens;

typedef struct stk_csr
{
	const stk_semset *set;
	stk_csr_layout layout;
	stk_csr_tokens tokens;
	int dense;       /* dense layers */
	uint64_t edges;  /* E */
	uint64_t states; /* S; RecTokens' nodes with the root */
	int n_arrays;
	stk_npy arrays[STK_CSR_MAX_ARRAYS]; /* without data */
} stk_csr;

/*
 * Work out the arrays of a set; `set` must outlive *csr. STK_EINVAL with err filled for a set that
 * a layout cannot hold, STK_ERANGE when its dense tables take more than dense_bytes or another
 * array leaves its type's range.
 */
extern stk_status stk_csr_plan(const stk_semset *set, stk_csr_layout layout,
							   const stk_csr_tokens *tokens, int dense_layers, uint64_t dense_bytes,
							   stk_csr *csr, stk_error *err);

/* Fill array i at arrays[i].data, which is zero and writable. STK_ECANCELED. */
extern stk_status stk_csr_fill(const stk_csr *csr, int i, const stk_monitor *monitor);

/*
 * Read a set from the arrays of either layout; the dense tables, which follow from the others,
 * are not looked at. Codes are tokens less `offsets`; tokens->vocab is not used. prefix, *out and
 * *out_len as with stk_semset_build. STK_EINVAL with err filled where the arrays are no such trie.
 */
extern stk_status stk_csr_read(const stk_npz *file, const stk_csr_tokens *tokens,
							   uint32_t tokenizer, size_t prefix, const stk_allocator *a,
							   const stk_monitor *monitor, uint8_t **out, size_t *out_len,
							   stk_error *err);

#endif
