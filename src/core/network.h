/*
 * The network that a codebook may carry: an encoder from embeddings to the latent vectors that its
 * codewords are measured against, and a decoder back. Multilayer perceptrons with biases; the
 * activation stands between layers, not behind the last.
 *
 * Inference is exact, the same bits on every machine and engine: an output is the reference dot
 * product (dot.h) of the layer's input and its weights, plus its bias, in binary64, rounded once to
 * binary32; then the activation (activation.h). Standardisation is (x - mean) * scale, its inverse
 * y / scale + mean, each in binary64 and rounded once.
 */
#ifndef STK_NETWORK_H
#define STK_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "activation.h"
#include "status.h"

struct stk_exec; /* exec.h, which needs codebooks */

#define STK_MAX_LAYERS 16
#define STK_MAX_WIDTH 16000 /* of a layer; that of an embedding (STK_MAX_DIM) */

typedef struct stk_layer
{
	uint32_t in, out;
	const float *weight; /* [out][in], as PyTorch's Linear has it */
	const float *bias;   /* [out] */
} stk_layer;

/* A view: the floats belong to someone else. */
typedef struct stk_network
{
	uint32_t inputs; /* numbers of an embedding; 0: there is no network */
	stk_activation activation;
	int n_encoder, n_decoder; /* layers, 1 .. STK_MAX_LAYERS each */
	stk_layer encoder[STK_MAX_LAYERS];
	stk_layer decoder[STK_MAX_LAYERS];
	bool standardized;         /* false: embeddings are taken as they are */
	const float *mean, *scale; /* [inputs], of a standardized network */
} stk_network;

/*
 * Make encoder and decoder from the numbers of outputs of their layers, no floats yet:
 * encoder_out [n_encoder], its last the latent dimension, decoder_out [n_decoder], its last inputs.
 * STK_EINVAL beyond the limits, or when the last of the decoder is not inputs. Not standardized.
 */
extern stk_status stk_network_shape(stk_network *net, uint32_t inputs, stk_activation activation,
									const uint32_t *encoder_out, int n_encoder,
									const uint32_t *decoder_out, int n_decoder, stk_error *err);
/*
 * Numbers of a network: mean and scale of a standardized one, then weights and biases of each
 * layer, the encoder's first.
 */
extern uint64_t stk_network_floats(const stk_network *net);
/*
 * What an embedding's way to its latent vector costs, as many of the multiply-adds that a filter
 * does in binary32 take as long; 0 without a network.
 */
extern double stk_network_multiply_adds(const stk_network *net);
/* Let the views point into floats, which are in that order. */
extern void stk_network_attach(stk_network *net, const float *floats);
/* Copy what the views point to, in that order, to floats. */
extern void stk_network_copy(const stk_network *net, float *floats);
/*
 * STK_EINVAL when a number is NaN or infinity, or a scale is not above 0; the message names the
 * layer.
 */
extern stk_status stk_network_check_values(const stk_network *net, stk_error *err);

/*
 * Latent vectors of embeddings.
 *
 *   x  [n][inputs]
 *   z  [n][latent]  out
 *
 * STK_EINVAL when a row is not finite, STK_ERANGE when a layer's output leaves binary32's range
 * (err->row names the first such row), STK_ENOMEM, STK_ECANCELED. The same bits whatever
 * exec->pool's threads and exec->cpu.
 */
extern stk_status stk_network_encode(const stk_network *net, const struct stk_exec *exec,
									 const float *x, size_t n, float *z, stk_error *err);
/* The other way: z [n][latent], x [n][inputs] out; errors as above. */
extern stk_status stk_network_decode(const stk_network *net, const struct stk_exec *exec,
									 const float *z, size_t n, float *x, stk_error *err);

#endif
