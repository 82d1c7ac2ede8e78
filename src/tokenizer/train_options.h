/*
 * The argument `options` of the training verbs.
 *
 * Those of a method are what core's method.h lists; beside them there are a few of every method.
 */
#ifndef SEMTOK_TRAIN_OPTIONS_H
#define SEMTOK_TRAIN_OPTIONS_H

#include "postgres.h"

#include "core/method.h"
#include "tokenizer/catalog.h"
#include "utils/jsonb.h"

/* What is asked for beside the plan. */
typedef struct TrainOptions
{
	bool fit; /* for partial_fit, which takes a method's options from what it goes on from */
	char *eval_source; /* query of held-out rows; NULL = none */
	bool resume;       /* go on from a checkpoint, if there is one */
} TrainOptions;

/* The method of this name; another one is an error (22023) that lists them. */
extern stk_train_method TrainMethodByName(const char *name);

/*
 * Read options, which may be NULL, for plan->method, with plan->batch_size as it is or without one;
 * what is not given has the method's defaults, or for partial_fit is as it was; beam may stay 0. An
 * unknown key, a key of another method, a value of the wrong type or out of range is an error
 * (22023).
 */
extern void TrainOptionsRead(const Jsonb *options, stk_train_plan *plan, TrainOptions *to);

/*
 * Set what a method goes by as a training before wrote it to semtok.tokenizer.options: for
 * partial_fit, whose own options come on top of them.
 */
extern void TrainOptionsContinue(const Jsonb *options, stk_train_plan *plan);

/*
 * Check what semtok.tokenizer.options says of a tokenizer that comes from elsewhere: keys that a
 * training writes there, those that we go by (beam, refine) with values that we know.
 */
extern void TrainOptionsCheckImported(const Jsonb *options);

/*
 * The ones that the plan's method has and that make a difference to what is learnt, as members of a
 * JSON object: ", \"refine\": 0, …"; palloc'd.
 */
extern char *TrainOptionsDescribe(const TrainOptions *options, const stk_train_plan *plan);

#endif
