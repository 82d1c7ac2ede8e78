/*
 * A model's last layer under a trie, on a device: the logits of the children of each row's node,
 * the best k of them, or one drawn. What is not a child is never multiplied, and no batch x
 * vocabulary buffer is made but the one that masked logits are asked for.
 *
 * A logit is the reference's dot product (core/dot.h) of the row and the token's weights, plus the
 * bias, in binary64. Rows of one node share their children's weights: a filter multiplies by the
 * tensor unit what has been rounded to 16 bits, and says by how much it may be off; what may be
 * among the best is scored again by the reference. So the answer depends on nothing but the numbers
 * given.
 *
 * Numbers are binary32, binary16 or bfloat16: rows, weights and bias of one kind. A child's token
 * is `offset` + its code; children whose token the layer has not are none. A row that is not
 * finite, or whose temperature is not above 0 and finite, gets no answer (-1, NaN) and is noted.
 */
#ifndef STK_TRIE_LINEAR_H
#define STK_TRIE_LINEAR_H

#include "trie.h"

STK_BEGIN_C

typedef enum stk_number
{
	STK_BINARY32,
	STK_BINARY16,
	STK_BFLOAT16
} stk_number;

/* The best that can be asked for. */
#define STK_LINEAR_MOST_K 256
/* Numbers of a row at most: it has to fit into shared memory. */
#define STK_LINEAR_MOST_DIM 8192

/* A layer on the device that was current when it was made. */
typedef struct stk_device_linear
{
	stk_number type;
	uint32_t tokens;
	uint32_t dim;
	uint32_t wide;          /* dim, up to the next multiple of STK_CHUNK */
	const void *weights;    /* [tokens][dim], the caller's */
	const void *bias;       /* [tokens], the caller's; or NULL */
	const uint16_t *packed; /* [tokens][wide] weights times scale in 16 bits, zeros behind a row */

	float scale;        /* a power of two */
	float norm;         /* greatest norm of a token's weights, times scale */
	float lost;         /* greatest norm of what packing loses */
	float largest_bias; /* its absolute value */
	void *memory;       /* packed, unless the weights serve as they are */
	size_t bytes;
} stk_device_linear;

/*
 * Look at a layer's weights, once, and round them for the filter; waits. They must stay as they are
 * as long as *out is used. STK_EINVAL, naming the token, where they are not finite; STK_ERANGE for
 * sizes; STK_ENOMEM, STK_EIO.
 */
extern stk_status stk_device_linear_create(stk_number type, const void *weights, const void *bias,
										   uint32_t tokens, uint32_t dim, cudaStream_t stream,
										   stk_device_linear *out, stk_error *err);
extern void stk_device_linear_free(stk_device_linear *l);

#define STK_LINEAR_NO_FAILURE UINT32_MAX

/* What all of the operations take. Pointers are the device's. */
typedef struct stk_linear_call
{
	const stk_device_linear *linear;
	stk_packed_trie trie;
	const void *x;         /* [n][dim] */
	const stk_node *nodes; /* [n]; STK_NODE_NONE: a row without children */
	size_t n;
	uint32_t offset;   /* token of code 0 */
	void *work;        /* stk_linear_work_bytes */
	uint32_t *failure; /* the first row without an answer, if it is less than what is there */
} stk_linear_call;

/* Bytes of memory that a call of n rows works in. */
extern size_t stk_linear_work_bytes(const stk_device_linear *l, const stk_packed_trie *trie,
									size_t n);

/*
 * The best k children of each row's node: by logit, descending, then by code.
 *
 *   values  [n][k]  out: logits, rounded to binary32; -infinity where there are fewer than k
 *   tokens  [n][k]  out: -1 where there are fewer
 *   next    [n][k]  out: the children; STK_NODE_NONE where there are fewer
 */
extern stk_status stk_linear_topk_launch(const stk_linear_call *call, uint32_t k, float *values,
										 int32_t *tokens, stk_node *next, cudaStream_t stream,
										 stk_error *err);

/* What is drawn, and from what. */
typedef struct stk_linear_draw
{
	const float *temperatures; /* [n]; NULL: 1 */
	uint64_t *states;          /* [n] in: the prefix's state (core/draws.h); out: the child's */
	uint64_t seed;
	int level;       /* of the children, 0 = the first */
	float *values;   /* [n] out: the logit of what was drawn */
	int32_t *tokens; /* [n] out */
	stk_node *next;  /* [n] out */
} stk_linear_draw;

/*
 * Draw a child of each row's node from the softmax of logits / temperature: that of the greatest
 * logit / temperature + gumbel in binary64, the least code of equals. Its gumbel is
 * stk_draw_child's, whoever draws it, and where.
 */
extern stk_status stk_linear_draw_launch(const stk_linear_call *call, const stk_linear_draw *draw,
										 cudaStream_t stream, stk_error *err);

/*
 * Logits of the children, -infinity for all other tokens.
 *
 *   out  [n][tokens]  binary32, or binary16 where `half`
 */
extern stk_status stk_linear_masked_launch(const stk_linear_call *call, void *out, bool half,
										   cudaStream_t stream, stk_error *err);

/*
 * The children themselves, ascending by token.
 *
 *   tokens, next  [n][width]  out: -1, STK_NODE_NONE behind the last; either may be NULL. Children
 *                             beyond `width` are left out
 */
extern stk_status stk_linear_children_launch(const stk_packed_trie *trie, const stk_node *nodes,
											 size_t n, uint32_t offset, uint32_t tokens_there,
											 size_t width, int32_t *tokens, stk_node *next,
											 cudaStream_t stream, stk_error *err);

/*
 * Given logits under the trie: what are no children's become -infinity.
 *
 *   logits, out  [n][tokens]  binary32; out may be logits
 */
extern stk_status stk_mask_logits_launch(const stk_packed_trie *trie, const stk_node *nodes,
										 size_t n, uint32_t offset, uint32_t tokens,
										 const float *logits, float *out, cudaStream_t stream,
										 stk_error *err);

/*
 * What follows a token each.
 *
 *   next  [n]  out: STK_NODE_NONE where the token may not follow; may be nodes
 */
extern stk_status stk_trie_follow_launch(const stk_packed_trie *trie, const stk_node *nodes,
										 const int32_t *tokens, size_t n, uint32_t offset,
										 stk_node *next, cudaStream_t stream, stk_error *err);

/*
 * A step's survivors as tokens and parents; what is behind the last becomes none.
 *
 *   numbers  [n][width]  parent << 16 | code, of which n_out [n] are there
 */
extern stk_status stk_trie_unpack_launch(const uint32_t *n_out, size_t n, uint32_t width,
										 uint32_t offset, const uint32_t *numbers, int32_t *tokens,
										 int32_t *parents, stk_node *next, double *costs,
										 cudaStream_t stream, stk_error *err);

STK_END_C

#endif
