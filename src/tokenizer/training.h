/*
 * A training under way: what all training verbs do beside learning. Rows are read, what is learnt
 * is logged and said now and then, the result is measured on the rows and becomes a version.
 */
#ifndef SEMTOK_TRAINING_H
#define SEMTOK_TRAINING_H

#include "postgres.h"

#include "core/train_rows.h"
#include "fmgr.h"
#include "tokenizer/registry.h"
#include "tokenizer/sample.h"
#include "utils/jsonb.h"

typedef struct Training
{
	const char *name;
	const char *source;
	int levels;
	int epochs;
	int rounds;  /* of refinement */
	int64 limit; /* rows of the sample, 0 = all */
	uint64 seed;
	Sample sample;
	TimestampTz noticed; /* when the last NOTICE went out, at first when the rows were read */
	int step;            /* epochs so far, over all levels */
	TrainingLogRow *log;
	int nlog;
	int maxlog;
} Training;

/* Arguments that training verbs share. */
extern int64 TrainingArgSample(FunctionCallInfo fcinfo, int argno);
extern void TrainingCheckDevice(FunctionCallInfo fcinfo, int argno);

/*
 * Read the rows, which are then in t->sample. dim is what they must have, 0 where the first row
 * decides. A copy goes to a temporary file, as learning overwrites them; TrainingReadAgain brings
 * it back. Everything lives in the current memory context.
 */
extern void TrainingRead(Training *t, int dim, stk_metric metric);
extern void TrainingReadAgain(Training *t);

/* For core's progress callbacks; ctx is the Training. Refinement's rounds have level -1. */
extern void TrainingProgress(void *ctx, const stk_train_progress *p);

/*
 * The rest, with t->sample as it was read: log what the codebook makes of the rows when they are
 * encoded with this beam, warn when it makes too little of them, and insert the version. The log
 * of *tokenizer is the training's. Returns the id.
 */
extern int32 TrainingFinish(Training *t, int beam, NewTokenizer *tokenizer);

#endif
