/*
 * A codebook: L levels of K_l codewords of dimension D, in binary32.
 *
 * Stored form, final, little-endian (after PostgreSQL's 4-byte length word):
 *
 *    offset  size
 *    0       1        format version: 1, or 2 with a network
 *    1       1        metric (stk_metric)
 *    2       2        levels, 1..32
 *    4       4        dim, 1..16000
 *    8       4*L      sizes, each 1..65536
 *    8+4*L   4*D*ΣK   codewords, level by level, code by code, each dim binary32 values
 *
 * Version 2 carries a network (network.h), which takes embeddings to the latent space of the
 * codewords. Between sizes and codewords it has
 *
 *    8+4*L   1        activation (stk_activation)
 *    9+4*L   1        1: standardized, 0: not
 *    10+4*L  1        layers of the encoder, E, 1..16
 *    11+4*L  1        layers of the decoder, D', 1..16
 *    12+4*L  4        inputs: numbers of an embedding, 1..16000
 *    16+4*L  4*(E+D') outputs of each layer, the encoder's first; the encoder's last is dim, the
 *                     decoder's last inputs
 *
 * and behind the codewords, as binary32: mean and scale [inputs] each when standardized, then of
 * each layer weights [outputs][inputs] and biases [outputs].
 *
 * Every value is finite. With the cosine metric each codeword of the first level has been
 * normalised by whoever trained it; nothing here checks that.
 */
#ifndef STK_CODEBOOK_H
#define STK_CODEBOOK_H

#include <stddef.h>
#include <stdint.h>

#include "network.h"
#include "semid.h"
#include "status.h"

#define STK_CODEBOOK_VERSION 1
#define STK_CODEBOOK_NETWORK_VERSION 2
#define STK_MAX_DIM 16000
#define STK_MAX_CODES 65536
/* The longest there can be before the codewords. */
#define STK_CODEBOOK_HEADER_MAX (16 + 4 * STK_MAX_LEVELS + 8 * STK_MAX_LAYERS)

typedef enum stk_metric
{
	STK_L2 = 0,
	STK_IP = 1,    /* inner product: the codeword with the largest dot product */
	STK_COSINE = 2 /* rows are normalised once, then as L2 */
} stk_metric;

/* A view: the floats belong to someone else. */
typedef struct stk_codebook
{
	stk_metric metric;
	int levels;
	int dim; /* of a codeword: the latent dimension where there is a network */
	uint32_t sizes[STK_MAX_LEVELS];
	const float *codewords[STK_MAX_LEVELS]; /* [sizes[l]][dim] */
	stk_network network;                    /* inputs = 0: none */
} stk_codebook;

/* Numbers of an embedding. */
static inline int
stk_codebook_inputs(const stk_codebook *cb)
{
	return cb->network.inputs ? (int) cb->network.inputs : cb->dim;
}

/* "l2", "ip", "cosine"; STK_EINVAL for another name. */
extern stk_status stk_metric_parse(const char *name, stk_metric *metric);
extern const char *stk_metric_name(stk_metric metric);

/* Bytes of the stored form of a codebook without a network; 0 when a limit is passed. */
extern size_t stk_codebook_bytes(int levels, const uint32_t *sizes, int dim);
/* Bytes of a codebook's stored form, by its shape alone; 0 when a limit is passed. */
extern size_t stk_codebook_stored_bytes(const stk_codebook *shape);
/* Write all that comes before the codewords, by the shape alone; returns the offset there. */
extern size_t stk_codebook_write_shape(uint8_t *out, const stk_codebook *shape);
/* The stored form of a codebook with its floats: stk_codebook_stored_bytes. */
extern void stk_codebook_write(uint8_t *out, const stk_codebook *cb);
/* Where the codewords begin, and how many floats they are. */
extern size_t stk_codebook_header_bytes(const stk_codebook *shape);
extern size_t stk_codebook_floats(const stk_codebook *shape);
/*
 * Read metric, levels, dim, sizes and the network's shape of a stored form of which bytes may hold
 * the beginning only (STK_CODEBOOK_HEADER_MAX is enough); there are no floats in cb. STK_ECORRUPT
 * when they are cut off or out of range.
 */
extern stk_status stk_codebook_read_shape(const uint8_t *bytes, size_t len, stk_codebook *cb,
										  stk_error *err);
/*
 * Make a view of a stored form. bytes must be 4-byte aligned and outlive the view.
 * Checks shape and length in O(levels + layers); STK_ECORRUPT otherwise.
 */
extern stk_status stk_codebook_view(const uint8_t *bytes, size_t len, stk_codebook *cb,
									stk_error *err);
/*
 * STK_EINVAL when a codeword holds NaN or infinity: err->level and err->row (the code) tell; or
 * the network does.
 */
extern stk_status stk_codebook_check_finite(const stk_codebook *cb, stk_error *err);

#endif
