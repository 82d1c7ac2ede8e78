/*
 * Private to the rqvae files: a network at work on a batch, forward and backward, and what lies
 * between its halves. Everything runs on exec's pool and in the caller's floating-point
 * environment; rows are taken in chunks that do not depend on the threads, and what is added up
 * over rows is added chunk by chunk, in binary64.
 *
 * Where exec's monitor says to stop, the tasks of a batch are cut short and what comes out has no
 * meaning: who has a batch worked on asks the monitor behind it.
 */
#ifndef STK_RQVAE_IMPL_H
#define STK_RQVAE_IMPL_H

#include "gemm.h"
#include "pack.h"
#include "rqvae.h"

/* Rows of a network that looks forward only, or between two looks at the monitor. */
#define STK_RQVAE_PIECE 2048
/* Rows, and numbers of a long array, that are one task. */
#define STK_RQVAE_CHUNK 32
#define STK_RQVAE_NUMBERS 8192

/* Room for batches of up to `rows` rows; rows of a matrix are one after the other. */
typedef struct stk_rqvae_net
{
	const stk_exec *exec;
	const stk_train_plan *plan;
	const stk_rqvae_shape *shape;
	size_t rows;
	const float *parameters; /* [total], the caller's; may change between calls */

	float *x;                             /* [rows][inputs] the batch, standardised */
	float *before[2 * STK_MAX_LAYERS];    /* [rows][out] of a layer; NULL where `after` tells */
	float *after[2 * STK_MAX_LAYERS];     /* [rows][out] behind the activation */
	float *lengths;                       /* [rows] of the encoder's output, under cosine */
	float *residuals[STK_MAX_LEVELS + 1]; /* [rows][latent] r_l */
	float *quantized;                     /* [rows][latent] what the decoder gets */
	uint16_t *codes[STK_MAX_LEVELS];      /* [rows] */
	stk_pack packs[STK_MAX_LEVELS];

	/* Backward only: */
	float *back[2];   /* [rows][widest] gradients of what layers give and take */
	float *gradients; /* [trained] */
	stk_members members;
	float *scores;  /* [rows][largest size] diversity: the codes' shares of the rows */
	float *pull;    /* [rows][latent] and what they do to the rows */
	double *masses; /* [largest size] and their means over the rows */

	float *products; /* scratch of stk_gemm */
	double *sums;    /* [chunks] */
	void *memory;
} stk_rqvae_net;

/*
 * Room to work; `backward` with what gradients need. STK_ENOMEM; free with stk_rqvae_net_free in
 * any case. exec, plan and shape outlive it.
 */
extern stk_status stk_rqvae_net_init(stk_rqvae_net *net, const stk_exec *exec,
									 const stk_train_plan *plan, const stk_rqvae_shape *shape,
									 size_t rows, bool backward);
extern void stk_rqvae_net_free(stk_rqvae_net *net);
/*
 * Bytes of that beside packed codewords and groups of rows, with these threads; SIZE_MAX at
 * overflow.
 */
extern size_t stk_rqvae_net_bytes(const stk_train_plan *plan, const stk_rqvae_shape *shape,
								  size_t rows, bool backward, int threads);

/* Codewords of a level among parameters. */
static inline const float *
stk_rqvae_codewords(const stk_rqvae_shape *shape, const float *parameters, int level)
{
	parameters += shape->network;
	for (int l = 0; l < level; l++)
		parameters += shape->sizes[l] * (size_t) shape->latent;
	return parameters;
}

/* Run a task on chunks of n things. */
static inline size_t
stk_rqvae_chunks(size_t n, size_t chunk)
{
	return (n + chunk - 1) / chunk;
}

/*
 * Forward. Encode: net->x to net->residuals[0], which is z. False: a number of z is not finite.
 */
extern bool stk_rqvae_encode(stk_rqvae_net *net, size_t n);
/*
 * Codes, residuals and what the decoder gets, of net->residuals[0], whose numbers are finite;
 * commits [levels] out: the sums of |r_{l+1}|^2. False, in *finite: a codeword or a residual is
 * not. STK_ENOMEM, STK_ECANCELED.
 */
extern stk_status stk_rqvae_quantize(stk_rqvae_net *net, size_t n, double *commits, bool *finite);
/* Decode net->quantized to the last layer's `after`. */
extern void stk_rqvae_decode(stk_rqvae_net *net, size_t n);

/* The factor of sums of |r_{l+1}|^2 that makes them the commitment. */
extern double stk_rqvae_commitment_scale(const stk_rqvae_net *net, size_t n);

/*
 * The loss of a batch of n rows in net->x, and the gradients of all that AdamW moves, to
 * net->gradients. *finite: the loss is a number; otherwise there are no gradients. STK_ENOMEM,
 * STK_ECANCELED.
 */
extern stk_status stk_rqvae_gradients(stk_rqvae_net *net, size_t n, bool quantize,
									  stk_rqvae_loss *loss, bool *finite);

/*
 * The diversity of one level, whose codes and residuals are there, and its gradient, weighted:
 * added to gradient [n][latent], which may be NULL. Returns the loss, without its weight.
 */
extern double stk_rqvae_diversity(stk_rqvae_net *net, size_t n, int level, float *gradient);

/* Copy step and everything that steps change. */
extern void stk_rqvae_state_copy(stk_rqvae_state *to, const stk_rqvae_state *from);

/* Choose codewords for a state that has none, for rows x [n][inputs], standardised, whose first
 * epoch begins with the rows in order [n]. STK_ENOMEM, STK_ECANCELED, STK_EINVAL (latent vectors
 * are not finite). */
extern stk_status stk_rqvae_choose(const stk_train_plan *plan, const stk_exec *exec, const float *x,
								   size_t n, const size_t *order, stk_rqvae_state *state,
								   stk_error *err);

/* How many rows codewords are chosen for. */
extern size_t stk_rqvae_sample_rows(const stk_train_plan *plan, size_t n);

/* Take mean and scale from rows x [n][inputs], as the plan says. STK_ENOMEM, STK_ECANCELED. */
extern stk_status stk_rqvae_take_scale(const stk_train_plan *plan, const stk_exec *exec,
									   const float *x, size_t n, stk_rqvae_state *state);
/* to = (x - mean) * scale, [n][inputs]; to may be x. */
extern void stk_rqvae_standardize_rows(const stk_rqvae_state *state, const stk_exec *exec,
									   const float *x, size_t n, float *to);

/* How parameters do on rows x [n][inputs], as they came. STK_ENOMEM, STK_ECANCELED; numbers that
 * are not finite: *finite. */
extern stk_status stk_rqvae_measure_rows(const stk_train_plan *plan, const stk_exec *exec,
										 const stk_rqvae_state *state, const float *parameters,
										 const float *x, size_t n, stk_rqvae_measure *result,
										 bool *finite);

#endif
