/*
 * What to train an RQ-VAE with, in numbers: one part of a training's plan, which goes where the
 * plan goes. Levels, sizes, the dimension of the embeddings, epochs, batch size, seed, metric,
 * decay and restart_after are members of stk_train_plan (train.h) that other methods have, too.
 */
#ifndef STK_RQVAE_PLAN_H
#define STK_RQVAE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "network.h"

/* Layers between the first and the last, at most, of an encoder or a decoder. */
#define STK_RQVAE_MAX_HIDDEN (STK_MAX_LAYERS - 1)

/* What becomes of the embeddings before the encoder sees them. */
typedef enum stk_rqvae_standardize
{
	STK_RQVAE_AS_IS = 0,
	STK_RQVAE_WHOLE = 1, /* less their mean, over one deviation: distances keep their proportions */
	STK_RQVAE_EACH = 2   /* less their mean, each dimension over its own deviation */
} stk_rqvae_standardize;

typedef enum stk_rqvae_schedule
{
	STK_RQVAE_CONSTANT = 0,
	STK_RQVAE_COSINE = 1 /* down to 0 at the end of the last epoch */
} stk_rqvae_schedule;

/* Where codewords come from. */
typedef enum stk_rqvae_init
{
	STK_RQVAE_FIRST_BATCH = 0, /* drawn from the first batch by the plan's init, level by level */
	STK_RQVAE_LLOYD = 1        /* k-means of a sample of latent vectors, level by level */
} stk_rqvae_init;

typedef struct stk_rqvae_plan
{
	int latent;                             /* dimension of the codewords */
	int n_encoder;                          /* hidden layers, 0 .. STK_RQVAE_MAX_HIDDEN */
	int n_decoder;                          /* the same */
	uint32_t encoder[STK_RQVAE_MAX_HIDDEN]; /* their sizes, from the embedding on */
	uint32_t decoder[STK_RQVAE_MAX_HIDDEN]; /* their sizes, from the codewords on */
	stk_activation activation;              /* between layers; none behind the last */
	stk_rqvae_standardize standardize;

	double learning_rate; /* > 0 */
	double weight_decay;  /* >= 0; decoupled */
	double beta1;         /* >= 0, < 1 */
	double beta2;
	double epsilon;  /* > 0 */
	uint32_t warmup; /* steps in which the rate grows to learning_rate; 0 = none */
	stk_rqvae_schedule schedule;
	double clip;    /* gradients longer than this are made so long; 0 = never */
	double average; /* weight averaging: what an average keeps at a step, >= 0, < 1; 0 = off */

	double commitment; /* >= 0, finite */
	bool learnable;    /* codewords learn by gradients, not by moving averages of their rows */
	bool flow;         /* later levels' commitment reaches the encoder; else only the first's */
	double diversity;  /* weight of the entropy of the codes; >= 0, finite; 0 = off */
	stk_rqvae_init init;
	int delay; /* epochs in which nothing is quantized, before codewords are chosen for the rest; the
				* last epoch has them in any case */

	int patience; /* measurings without a better one that end the training; 0 = never */
} stk_rqvae_plan;

#endif
