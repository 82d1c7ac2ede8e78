/*
 * An RQ-VAE's state and batches on a device: where everything lies, one step, and many as a graph.
 */
#ifndef STK_TRAIN_RQVAE_H
#define STK_TRAIN_RQVAE_H

#include "core/rqvae.h"
#include "network_step.h"
#include "train_blas.h"
#include "train_cuda_impl.h"

/* A layer; all pointers are the device's, columns as network_step.h has them. */
typedef struct stk_device_layer
{
	uint32_t in, out;
	size_t at;       /* of its weights [out][stk_wide(in)] among the parameters */
	float *input;    /* [rows][stk_wide(in)] */
	float *output;   /* [rows][stk_wide(out)] before the activation */
	float *gradient; /* [rows][stk_wide(out)] of the output */
} stk_device_layer;

struct stk_rqvae_device
{
	stk_trainer *trainer;
	const stk_monitor *monitor;
	stk_train_plan plan;
	stk_rqvae_shape shape;
	size_t n;       /* rows of the training */
	size_t most;    /* of a batch */
	size_t portion; /* of the batches that go there together; whole ones */
	size_t steps;   /* of them */
	uint64_t step;  /* of the training so far */

	/* On the device, in one piece: */
	float *x; /* [n][inputs] */
	stk_device_layer layers[2 * STK_MAX_LAYERS];
	float *start;     /* the decoder's gradient of its input [most][stk_wide(latent)] */
	float *residuals; /* [levels + 1][most][latent] */
	float *parameters, *gradient, *first, *second; /* [wide], layers as above, then codewords */
	float *average;                                /* the same; NULL: there are none */
	double *counts, *sums;                         /* as the state's */
	uint32_t *idle;
	stk_step_view run;
	stk_step_sum errors, squares, lengths;
	void *memory;
	size_t bytes; /* of everything */
	size_t taken; /* counted */

	size_t codewords; /* where they begin among the parameters */
	size_t wide;      /* numbers of the parameters, a multiple of 4 */

	/* Products of weights, and codewords, beside what the next layer waits for. */
	cudaStream_t beside, codes_stream;
	cudaEvent_t ready, beside_ends, codes_end;
	stk_blas *blas, *blas_beside;

	cudaGraphExec_t graph; /* of a batch of `most` rows; NULL: none yet */
	bool graph_quantizes;
};

/* Where everything lies from d->memory on (NULL: nowhere yet); d->bytes out. */
extern void stk_rqvae_lay_out(stk_rqvae_device *d);

/* The next step, of n <= d->most rows. Asynchronous on the trainer's stream. STK_EIO. */
extern stk_status stk_rqvae_step_launch(const stk_rqvae_device *d, size_t n, bool quantize,
										stk_error *err);
/* Make d->graph of the step of d->most rows. STK_ENOMEM, STK_EIO. */
extern stk_status stk_rqvae_step_graph(stk_rqvae_device *d, bool quantize, stk_error *err);

#endif
