/*
 * RQ-VAE: an encoder, a decoder and the codebooks between them, learnt together. Lee et al. 2022,
 * "Autoregressive image generation using residual quantization"; Rajput et al. 2023, "Recommender
 * systems with generative retrieval", for semantic ids.
 *
 * One step, for a batch x [B][inputs] of standardised rows (means are over all elements):
 *
 *    z = encoder(x); under cosine each row over its length
 *    r_0 = z;  k_l = nearest codeword of r_l;  e_l = C_l[k_l];  r_{l+1} = r_l - e_l
 *    y = decoder(z + sg(sum of e_l - z))          sg: no gradient passes (straight-through)
 *
 *    reconstruction  mean (y - x)^2
 *    commitment      moving averages:  beta * sum over l of mean (r_l - sg(e_l))^2
 *                    learnable:        beta * sum over l of (sum over dim (r_l - sg(e_l))^2) / B
 *    codebook        learnable:        sum over l of (sum over dim (e_l - sg(r_l))^2) / B
 *    diversity       w * sum over l of (1 - H(mean over rows of p_l) / log K_l), where
 *                    p_l = softmax over k of -|r_l - c_k|^2 / t, t = sg(mean |r_l - e_l|^2)
 *    loss            their sum
 *
 * r_l of later levels carries no gradient unless plan->rqvae.flow. Where gradients reach it they
 * reach z unchanged, since e_l is constant there; codewords get none from the diversity.
 *
 * Then all gradients together are cut to a length of `clip`, and AdamW (Loshchilov and Hutter 2019,
 * as PyTorch computes it) moves the parameters p by their gradients g; t counts steps from 1:
 *
 *    p <- p - rate * weight_decay * p
 *    m <- m + (1 - beta1) (g - m);  v <- beta2 v + (1 - beta2) g^2
 *    p <- p - rate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
 *
 * Codewords that are not learnable follow r_l of their rows by moving averages (ema.h), level by
 * level, with the codes and residuals above; dead ones restart as there. Learnable ones restart the
 * same way once AdamW has moved the rest, and their moments are 0 then. Under cosine the first
 * level's codewords are kept at length 1. Last, averages: a <- a + (1 - keep) (p - a), codewords
 * too, and under cosine the first level's at length 1 as well.
 *
 * On the processor the same state comes out whatever the threads and the vector unit. A device
 * agrees to tolerance, and with itself bit for bit.
 */
#ifndef STK_RQVAE_H
#define STK_RQVAE_H

#include "train.h"

/* One linear layer among the parameters: weight [out][in] at `weight`, bias [out] at `bias`. */
typedef struct stk_rqvae_layer
{
	uint32_t in;
	uint32_t out;
	size_t weight;
	size_t bias;
} stk_rqvae_layer;

/* Where everything is among the parameters: layers, encoder first, then codewords. */
typedef struct stk_rqvae_shape
{
	uint32_t inputs;
	uint32_t latent;
	int n_encoder; /* layers */
	int n_decoder;
	stk_rqvae_layer layers[2 * STK_MAX_LAYERS]; /* encoder's, then decoder's */
	int levels;
	uint32_t sizes[STK_MAX_LEVELS];
	size_t codes;   /* of all levels together */
	size_t network; /* numbers of all layers; codewords [codes][latent] are behind them */
	size_t total;   /* numbers of all parameters */
	size_t trained; /* that AdamW moves: total with learnable codewords, else network */
} stk_rqvae_shape;

/* Of a plan that stk_rqvae_check lets pass. */
extern void stk_rqvae_shape_of(const stk_train_plan *plan, stk_rqvae_shape *shape);

/*
 * Refuse what no training takes: STK_EINVAL, with the reason, or STK_ERANGE for shapes beyond the
 * limits. Safe on plans from anywhere. stk_train_check calls it.
 */
extern stk_status stk_rqvae_check(const stk_train_plan *plan, stk_error *err);

/* Everything that a training is between two steps. All arrays belong to the state. */
typedef struct stk_rqvae_state
{
	stk_rqvae_shape shape;
	uint64_t step;     /* steps so far: AdamW's t, and the step of dead codes' draws */
	uint64_t begin;    /* step at which this training began: warm-up and schedule count from it */
	uint32_t epoch;    /* epochs so far of this training */
	bool quantized;    /* codewords have been chosen */
	float *mean;       /* [inputs] what a row loses before the encoder sees it ... */
	float *scale;      /* [inputs] ... and what it is then multiplied by; > 0 */
	float *parameters; /* [total] */
	float *first;      /* [trained] AdamW's m */
	float *second;     /* [trained] AdamW's v */
	float *average;    /* [total] */
	double *counts;    /* [codes] moving averages: of how many rows chose a code */
	double *sums;      /* [codes][latent] and of their sum */
	uint32_t *idle;    /* [codes] steps since a row last chose it */

	/* The best measuring on held-out rows so far, and what was measured. */
	float *best;      /* [total] */
	double best_loss; /* infinite before the first */
	uint32_t best_epoch;
	uint32_t waited; /* measurings since */

	stk_allocator a;
	void *memory;
} stk_rqvae_state;

/*
 * A state before the first step: weights and biases uniform within 1 / sqrt(in) of 0 (PyTorch's
 * way), drawn from the plan's seed; codewords 0, not chosen; rows taken as they are. STK_ENOMEM;
 * free with stk_rqvae_state_free in any case.
 */
extern stk_status stk_rqvae_state_init(stk_rqvae_state *s, const stk_train_plan *plan,
									   const stk_allocator *a);
extern void stk_rqvae_state_free(stk_rqvae_state *s);

/* Let a state train again: epochs, schedule and the best begin anew, the moments stay. */
extern void stk_rqvae_state_again(stk_rqvae_state *s);

/* The state as bytes, little-endian, with a checksum; the same for equal states. */
extern size_t stk_rqvae_state_bytes(const stk_train_plan *plan);
extern void stk_rqvae_state_write(const stk_rqvae_state *s, uint8_t *out);

/*
 * Read them back into a state that stk_rqvae_state_init has made for the plan. STK_ECORRUPT: cut
 * off, damaged, of another version, or of another shape than the plan's; then s is as it was.
 */
extern stk_status stk_rqvae_state_read(stk_rqvae_state *s, const uint8_t *bytes, size_t n,
									   stk_error *err);

/* What a step computes with beside the state. */
typedef struct stk_rqvae_pace
{
	double rate; /* learning rate */
	double keep; /* of averages; 0: they become the parameters */
} stk_rqvae_pace;

/* What a step found, before it moved anything. */
typedef struct stk_rqvae_loss
{
	double reconstruction;
	double commitment; /* with its weight */
	double codebook;
	double diversity; /* with its weight */
	double norm;      /* length of all gradients together, before any cut */
} stk_rqvae_loss;

/* Steps, one after the other. */
typedef struct stk_rqvae_run
{
	const size_t *places;        /* [n] rows of the batches, each batch's in order */
	size_t n;                    /* of all batches, >= 1 */
	size_t size;                 /* of each; the last may have fewer */
	bool quantize;               /* else y = decoder(z): reconstruction alone, codewords stay */
	const stk_rqvae_pace *paces; /* [steps] */

	/* Out: */
	stk_rqvae_loss *losses; /* [steps] */
	uint16_t *codes;        /* [n][levels] of the rows when they were seen, with quantize */
} stk_rqvae_run;

/*
 * Whoever computes steps: the processor (stk_rqvae_processor), or a device behind an accelerator,
 * which offers the same four (accelerator.h). It has a state of its own.
 */
typedef struct stk_rqvae_device stk_rqvae_device;

typedef struct stk_rqvae_device_ops
{
	/*
	 * Begin at a state, on rows x [n][inputs], standardised and finite, which outlive the device.
	 * STK_ENOMEM; STK_EDEVICE: it does not take such a plan; STK_EIO: it is of no use any more.
	 */
	stk_status (*create)(void *ctx, const stk_train_plan *plan, const stk_exec *exec,
						 const stk_rqvae_state *state, const float *x, size_t n,
						 stk_rqvae_device **out);
	/*
	 * Take steps. The monitor is asked at every step: STK_ECANCELED. A loss that is not finite is
	 * no error here: it is among the losses, and what follows means nothing. STK_EIO as above.
	 */
	stk_status (*run)(stk_rqvae_device *d, stk_rqvae_run *run);
	/*
	 * Copy step and everything that steps change to a state of the same plan. STK_EIO as above; the
	 * state is as it was then.
	 */
	stk_status (*read)(stk_rqvae_device *d, stk_rqvae_state *state);
	void (*free)(stk_rqvae_device *d);
} stk_rqvae_device_ops;

/* The processor's; ctx is NULL. */
extern const stk_rqvae_device_ops stk_rqvae_processor;

/* How a state does on rows. */
typedef struct stk_rqvae_measure
{
	uint64_t rows;
	double loss;           /* reconstruction + commitment, of standardised rows */
	double reconstruction; /* mean squared error of standardised rows, element by element */
	double commitment;     /* with its weight */
	double mse;            /* mean squared distance of a row, as it came, from its reconstruction */
	double relative_error; /* mse / mean squared length of the rows as they came */
	uint64_t ids;          /* distinct ids */
	double p_unique;       /* ids / rows */
	int levels;
	uint32_t used[STK_MAX_LEVELS];  /* codes that some row has */
	double entropy[STK_MAX_LEVELS]; /* of the codes, in nats */
} stk_rqvae_measure;

/* What is said after every epoch. */
typedef struct stk_rqvae_report
{
	uint32_t epoch; /* 1-based */
	uint64_t step;  /* steps so far */
	bool quantized;
	stk_rqvae_loss loss;            /* means over the epoch's batches */
	double p_unique;                /* mean over its batches: distinct ids / rows */
	uint32_t used[STK_MAX_LEVELS];  /* codes that some row had */
	double entropy[STK_MAX_LEVELS]; /* of the epoch's codes, in nats */
	bool evaluated;                 /* held-out rows were measured */
	bool best;                      /* and were never better */
	stk_rqvae_measure heldout;
	double seconds_start;   /* spent so far: on standardising and choosing codewords, */
	double seconds_steps;   /* on steps, */
	double seconds_heldout; /* on measuring; 0 without a clock */
} stk_rqvae_report;

typedef struct stk_rqvae_hooks
{
	/* After every epoch; may be NULL. */
	void (*report)(void *ctx, const stk_rqvae_report *r);
	/*
	 * After every checkpoint_every epochs but the last: the state, between two steps, all of it
	 * read back. What it returns other than STK_OK ends the training with that status. May be NULL.
	 */
	stk_status (*checkpoint)(void *ctx, const stk_rqvae_state *state);
	int checkpoint_every;         /* 0 = never */
	double (*seconds)(void *ctx); /* a clock that never goes back; may be NULL */
	void *ctx;
} stk_rqvae_hooks;

/*
 * Train from state->epoch on to the plan's last, or until patience ends.
 *
 *   x        [n][dim]          finite, n >= 1; sorted by content and standardised in place
 *   heldout  [heldout_n][dim]  as it came; may be NULL
 *   state                      in and out: from stk_rqvae_state_init, or as a checkpoint or an
 *                              earlier training left it
 *
 * A state whose step is 0 takes its mean and scale from x; codewords are chosen when plan->delay
 * epochs are over. Held-out rows are measured after every plan->eval_every epochs (0: after the
 * last), by the averages where the plan has them. From a checkpoint the same bits come out as
 * without the interruption, on one engine.
 *
 * STK_EINVAL (no rows, a row that is not finite: err->row; a plan that stk_rqvae_check refuses; a
 * loss that is not finite: the message names the step, err->row is SIZE_MAX), STK_ERANGE,
 * STK_ENOMEM, STK_ECANCELED, and what checkpoint returned. state is then as it was after its last
 * whole epoch.
 */
extern stk_status stk_rqvae_train(const stk_train_plan *plan, const stk_exec *exec, float *x,
								  size_t n, const float *heldout, size_t heldout_n,
								  const stk_rqvae_hooks *hooks, stk_rqvae_state *state,
								  stk_error *err);

/*
 * The parameters [total] that a training came to: with patience the best measured, else the
 * averages, else the last. A pointer into the state.
 */
extern const float *stk_rqvae_result(const stk_train_plan *plan, const stk_rqvae_state *s);

/* Views into parameters [total] of a state, and its mean and scale: nothing is copied. */
extern void stk_rqvae_codebook(const stk_train_plan *plan, const stk_rqvae_state *s,
							   const float *parameters, stk_codebook *cb);

/* Bytes that stk_rqvae_train takes beside x, heldout and the state; SIZE_MAX at overflow. */
extern size_t stk_rqvae_train_bytes(const stk_train_plan *plan, size_t n, size_t heldout_n,
									int threads);

/*
 * A plan's numbers for RQ-VAE: ours, and RecTokens' (its recipes' shape is up to the caller).
 * levels, sizes, dim and seed stay as they are; everything else that the method reads is set.
 */
typedef enum stk_rqvae_preset
{
	STK_RQVAE_OURS = 0,
	STK_RQVAE_RECTOKENS = 1
} stk_rqvae_preset;

extern void stk_rqvae_defaults(stk_rqvae_preset preset, stk_train_plan *plan);

#endif
