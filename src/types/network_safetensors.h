/*
 * A codebook's network in safetensors files: weights [outputs, inputs] and biases [outputs] of each
 * layer, as PyTorch's Linear has them, under names with the number of the layer in its Sequential.
 */
#ifndef SEMTOK_NETWORK_SAFETENSORS_H
#define SEMTOK_NETWORK_SAFETENSORS_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "types/codebook_safetensors.h"

/* Where a file has a network's numbers. */
typedef struct NetworkTensors
{
	stk_network shape;                             /* inputs = 0: there is none */
	const stk_tensor *weights[2 * STK_MAX_LAYERS]; /* the encoder's first */
	const stk_tensor *biases[2 * STK_MAX_LAYERS];
	const stk_tensor *mean, *scale; /* of a standardized network */
} NetworkTensors;

/*
 * Find the network of a codebook with vectors of dim numbers. Tensors that are missing, that are
 * there without a place in it, or of another shape are errors (22023) that name the tensor.
 */
extern void NetworkFind(const stk_safetensors *file, const CodebookNames *names, int dim,
						NetworkTensors *found);
/*
 * Its numbers, in the order of stk_network_floats; NaN and infinity are errors that name the
 * tensor.
 */
extern void NetworkReadFloats(const NetworkTensors *found, float *floats);
/* Describe a network's tensors in a header, in the order of stk_network_copy. */
extern void NetworkDescribe(StringInfo header, const stk_network *net, uint64 *offset);

#endif
