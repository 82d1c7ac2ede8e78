/*
 * semtok's trie on a CUDA device, for programs that run a model: which tokens may come next, logits
 * masked by them, and a model's last layer multiplied by the weights of these tokens only.
 *
 * Exported by semtok_cuda.so; C, and from Python by ctypes (examples/python/masked_decode.py).
 * Nothing here needs PostgreSQL. Arrays are the device's: pass tensors' data pointers, contiguous,
 * and the stream that orders your own work; calls launch there and do not wait, but where it says
 * so. Results are bit for bit those of semtok on a processor.
 *
 * A node is a prefix of codes: a number below 2^32 that means something to this trie only;
 * SEMTOK_NO_NODE is none. A token is a level's offset + code.
 *
 * Functions return SEMTOK_OK or say in error, [error_bytes], what is wrong, ending in a NUL; error
 * may be NULL. A trie or layer may be used by one thread at a time, on one device: the one that was
 * current when it was made.
 */
#ifndef SEMTOK_TRIE_H
#define SEMTOK_TRIE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C"
{
#endif

#define SEMTOK_TRIE_VERSION 1
#define SEMTOK_NO_NODE UINT32_C(0xffffffff)

	typedef enum semtok_result
	{
		SEMTOK_OK = 0,
		SEMTOK_NO_MEMORY = 1, /* here or on the device */
		SEMTOK_BAD_INPUT = 2,
		SEMTOK_TOO_LARGE = 3,
		SEMTOK_DEVICE_FAILED = 4
	} semtok_result;

	/* Numbers of rows, weights and biases. */
	typedef enum semtok_number
	{
		SEMTOK_FLOAT32 = 0,
		SEMTOK_FLOAT16 = 1,
		SEMTOK_BFLOAT16 = 2
	} semtok_number;

	/* A CUDA stream; NULL: the default one. */
	typedef void *semtok_stream;

	typedef struct semtok_trie semtok_trie;
	typedef struct semtok_linear semtok_linear;

	/* SEMTOK_TRIE_VERSION of the library. */
	int semtok_trie_version(void);

	/*
 * Load a trie from ordinary memory: a semset's stored form (its binary form in SQL without the 4
 * bytes of its length), or an npz file as semset_to_npz writes it, with the arrays of RecTokens or
 * STATIC. Waits.
 *
 *   vocab    tokens that the model has
 *   offsets  [n_offsets] token of code 0 at each level; n_offsets 0: tokens are codes
 */
	semtok_result semtok_trie_load(const void *bytes, size_t length, uint32_t vocab,
								   const uint32_t *offsets, int n_offsets, semtok_stream stream,
								   semtok_trie **trie, char *error, size_t error_bytes);
	void semtok_trie_free(semtok_trie *trie);

	/* The node of no codes yet, of a tokenizer; 0: the only one. SEMTOK_NO_NODE: there is none. */
	uint32_t semtok_trie_root(const semtok_trie *trie, uint32_t tokenizer);
	/* Levels of the longest id; most children of any node; bytes on the device. */
	int semtok_trie_depth(const semtok_trie *trie);
	uint32_t semtok_trie_most_children(const semtok_trie *trie);
	size_t semtok_trie_bytes(const semtok_trie *trie);

	/*
 * Logits of what may not follow become -infinity. `level`: how many codes the nodes' prefixes have.
 *
 *   nodes   [n]         SEMTOK_NO_NODE: nothing may follow
 *   logits  [n][vocab]  binary32
 */
	semtok_result semtok_trie_mask(const semtok_trie *trie, int level, const uint32_t *nodes,
								   size_t n, float *logits, semtok_stream stream, char *error,
								   size_t error_bytes);

	/*
 * What follows a token each.
 *
 *   nodes   [n]
 *   tokens  [n]
 *   next    [n]  out: SEMTOK_NO_NODE where the token may not follow; may be nodes
 */
	semtok_result semtok_trie_step(const semtok_trie *trie, int level, const uint32_t *nodes,
								   const int32_t *tokens, size_t n, uint32_t *next,
								   semtok_stream stream, char *error, size_t error_bytes);

	/*
 * All that may follow, ascending by token.
 *
 *   tokens, next  [n][width]  out: -1, SEMTOK_NO_NODE behind the last; either may be NULL
 */
	semtok_result semtok_trie_children(const semtok_trie *trie, int level, const uint32_t *nodes,
									   size_t n, size_t width, int32_t *tokens, uint32_t *next,
									   semtok_stream stream, char *error, size_t error_bytes);

	/* A code's cost in a beam: -log softmax of all codes, of those that may follow; or -logit. */
	typedef enum semtok_norm
	{
		SEMTOK_NORM_FULL = 0,
		SEMTOK_NORM_MASKED = 1,
		SEMTOK_NORM_NONE = 2
	} semtok_norm;

	/*
 * One step of a beam: of each query, the best `width` of all that may follow its prefixes, the best
 * first; ties go to the lesser parent, then code. At most 1,024 parents, and as many kept. Steps of a
 * trie use memory of its own, which grows with queries and width: one stream at a time.
 *
 *   n_parents    [queries]                  NULL: `parents` of each
 *   nodes        [queries][parents]
 *   costs        [queries][parents]         sums of -log p so far
 *   logits       [queries][parents][vocab]  binary32
 *   temperature  [queries][parents]         NULL: 1
 *   kept         [queries]                  out: how many there are
 *   tokens       [queries][width]           out: -1 behind the last
 *   parent       [queries][width]           out: whose, 0 .. parents - 1; -1 behind the last
 *   next         [queries][width]           out: SEMTOK_NO_NODE behind the last
 *   next_costs   [queries][width]           out: +infinity behind the last
 */
	semtok_result semtok_trie_beam_step(semtok_trie *trie, int level, size_t queries,
										uint32_t parents, uint32_t width, const uint32_t *n_parents,
										const uint32_t *nodes, const double *costs,
										const float *logits, const double *temperature,
										semtok_norm norm, uint32_t *kept, int32_t *tokens,
										int32_t *parent, uint32_t *next, double *next_costs,
										semtok_stream stream, char *error, size_t error_bytes);

	/*
 * Prepare a layer: its weights are read and rounded once, for a filter, which takes half the memory
 * of binary32 weights again, and none for those of 16 bits whose rows are whole multiples of 64.
 * They must stay as they are as long as the layer is used. Waits.
 *
 *   weights  [tokens][dim]
 *   bias     [tokens], or NULL
 */
	semtok_result semtok_linear_prepare(semtok_number number, const void *weights, const void *bias,
										uint32_t tokens, uint32_t dim, semtok_stream stream,
										semtok_linear **linear, char *error, size_t error_bytes);
	void semtok_linear_free(semtok_linear *linear);

	/*
 * The best k, at most 256, of what may follow, by logit, then by token; the layer has the trie's
 * vocab as its tokens. A row that is not finite gets NaN and -1. Calls of a layer use memory of its
 * own, which grows with n: one stream at a time.
 *
 *   rows    [n][dim]  of the layer's numbers
 *   values  [n][k]    out: logits; -infinity where fewer than k may follow
 *   tokens  [n][k]    out: -1 there
 *   next    [n][k]    out: SEMTOK_NO_NODE there
 */
	semtok_result semtok_linear_topk(semtok_linear *linear, const semtok_trie *trie, int level,
									 const void *rows, const uint32_t *nodes, size_t n, uint32_t k,
									 float *values, int32_t *tokens, uint32_t *next,
									 semtok_stream stream, char *error, size_t error_bytes);

	/*
 * Draw what follows from the softmax of logits / temperature. A draw depends on seed, the row's
 * state and the token, and on nothing else: give each row another state to begin with, its number,
 * say.
 *
 *   temperatures  [n], above 0; NULL: 1
 *   states        [n]  in and out: each draw leaves the state for the next
 *   values        [n]  out: the logit of what was drawn
 *   tokens, next  [n]  out: -1, SEMTOK_NO_NODE where nothing may follow
 */
	semtok_result semtok_linear_sample(semtok_linear *linear, const semtok_trie *trie, int level,
									   const void *rows, const uint32_t *nodes, size_t n,
									   const float *temperatures, uint64_t *states, uint64_t seed,
									   float *values, int32_t *tokens, uint32_t *next,
									   semtok_stream stream, char *error, size_t error_bytes);

	/*
 * All logits: of what may follow, -infinity elsewhere.
 *
 *   number  SEMTOK_FLOAT32, or SEMTOK_FLOAT16
 *   out     [n][vocab]
 */
	semtok_result semtok_linear_masked(semtok_linear *linear, const semtok_trie *trie, int level,
									   const void *rows, const uint32_t *nodes, size_t n,
									   semtok_number number, void *out, semtok_stream stream,
									   char *error, size_t error_bytes);

#ifdef __cplusplus
}
#endif

#endif
