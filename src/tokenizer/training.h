/*
 * A training under way: what all training verbs do beside learning. Rows are read, what is learnt
 * is logged and said now and then, the result is measured on the rows and becomes a version.
 */
#ifndef SEMTOK_TRAINING_H
#define SEMTOK_TRAINING_H

#include "postgres.h"

#include "core/codebook.h"
#include "core/train_rows.h"
#include "fmgr.h"
#include "tokenizer/registry.h"
#include "tokenizer/sample.h"
#include "utils/jsonb.h"

typedef struct Training
{
	const char *name;
	const char *source;
	stk_codebook shape; /* what is learnt; dim is the rows', codewords are not set */
	int epochs;
	int rounds;    /* of refinement */
	bool together; /* levels learn together, batch by batch, or else one after the other */
	int beam;      /* width to encode with */
	int64 limit;   /* rows of the sample, 0 = all */
	uint64 seed;
	Sample sample;
	const char *eval_source; /* held-out rows; NULL = none */
	int eval_every;          /* epochs, or rounds of refinement; 0 = only the finished tokenizer */
	Sample heldout;
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
 * Read the rows, which are then in t->sample, and those held out, in t->heldout. t->shape.dim is
 * what they must have; where it is 0 the first row decides. A copy of the former goes to a
 * temporary file, as learning overwrites them; TrainingReadAgain brings it back. Everything lives
 * in the current memory context.
 */
extern void TrainingRead(Training *t);
extern void TrainingReadAgain(Training *t);

/*
 * For core's progress callbacks; ctx is the Training. Refinement's rounds have level -1. Logs what
 * core measured and, when it is time, what the codebook makes of the rows held out: the whole
 * codebook, or, of levels that learn one after the other, the one that is learning, behind those
 * that are finished.
 */
extern void TrainingProgress(void *ctx, const stk_train_progress *p);

/* When core fails on t->sample: raise its error, with the source's row. */
extern void TrainingCheckStatus(const Training *t, stk_status status, const stk_error *err,
								const char *failed);

/*
 * The rest, with t->sample as it was read: log what the codebook makes of the rows, and of those
 * held out, warn when it makes too little of the former, and insert the version. The log of
 * *tokenizer is the training's. Returns the id.
 */
extern int32 TrainingFinish(Training *t, NewTokenizer *tokenizer);

#endif
