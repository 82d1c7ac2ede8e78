/*
 * The argument `options` of the training verbs.
 */
#ifndef SEMTOK_TRAIN_OPTIONS_H
#define SEMTOK_TRAIN_OPTIONS_H

#include "postgres.h"

#include "core/train.h"
#include "tokenizer/catalog.h"
#include "utils/jsonb.h"

/* A way of training; which options there are depends on it. */
typedef enum TrainWay
{
	TRAIN_LLOYD = 1 << 0,   /* rqkmeans, all rows at once */
	TRAIN_BATCHES = 1 << 1, /* rqkmeans in mini-batches */
	TRAIN_EMA = 1 << 2,
	TRAIN_FIT = 1 << 3 /* partial_fit */
} TrainWay;

typedef struct TrainOptions
{
	int refine;             /* rounds, 0 = none */
	int beam;               /* encoding width, of refinement and from then on; 0 = not given */
	double balance;         /* 0 = off */
	stk_empty empty;        /* what becomes of codewords without rows */
	double decay;           /* of averages */
	uint32_t restart_after; /* idle batches, 0 = never */
	char *eval_source;      /* query of held-out rows; NULL = none */
	int eval_every;         /* epochs; 0 = only at the end */
} TrainOptions;

/*
 * Read options, which may be NULL, for this way of training; what is not given has its default.
 * An unknown key, a key of another way, a value of the wrong type or out of range is an error
 * (22023).
 */
extern void TrainOptionsRead(const Jsonb *options, TrainWay way, TrainOptions *to);

/*
 * Check what semtok.tokenizer.options says of a tokenizer that comes from elsewhere: keys that a
 * training writes there, those that we go by (beam, refine) with values that we know.
 */
extern void TrainOptionsCheckImported(const Jsonb *options);

/*
 * The ones that this way has and that make a difference to what is learnt, as members of a JSON
 * object: ", \"refine\": 0, …"; palloc'd.
 */
extern char *TrainOptionsDescribe(const TrainOptions *options, TrainWay way);

#endif
