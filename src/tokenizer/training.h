/*
 * A training under way: what all training verbs do. Rows are read, a plan is carried out on them
 * wherever that is soonest done, what is learnt is logged and said now and then, and the result
 * becomes a version.
 */
#ifndef SEMTOK_TRAINING_H
#define SEMTOK_TRAINING_H

#include "postgres.h"

#include "core/train.h"
#include "fmgr.h"
#include "tokenizer/registry.h"
#include "tokenizer/sample.h"
#include "utils/jsonb.h"
#include "worker/protocol.h"

typedef struct Training
{
	const char *verb; /* "train" */
	const char *name;
	const char *source;
	const char *failed;  /* begins the message of an error: "could not train tokenizer" */
	stk_train_plan plan; /* dim 0: the first row decides */
	stk_device device;
	int64 limit;             /* rows of the sample, 0 = all */
	const char *eval_source; /* held-out rows; NULL = none */

	/* The rest is for these functions, but for what they say of it. */
	MemoryContext context;
	Spool *spool; /* of the rows, then those held out */
	Sample sample;
	Sample heldout;
	const char *phase;   /* that semtok.stat_progress shows */
	TimestampTz noticed; /* when the last NOTICE went out, at first when the rows were read */
	int step;            /* epochs so far, over all levels */
	TrainingLogRow *log;
	int nlog;
	int maxlog;
} Training;

/* Arguments that training verbs share. */
extern int64 TrainingArgSample(FunctionCallInfo fcinfo, int argno);
/*
 * Null is auto, which semtok.device decides; one that this server cannot have is an error (0A000).
 */
extern stk_device TrainingArgDevice(FunctionCallInfo fcinfo, int argno);

/*
 * Read the rows, of which t->sample then says how many there are, and those held out. Everything
 * lives in the current memory context, and the rows themselves in a temporary file that goes with
 * it.
 */
extern void TrainingRead(Training *t);

/*
 * Learn, log what came of it, on the rows and on those held out, and warn when that is too little.
 *
 *   codewords  [sum of sizes][dim]  out; in too where the plan resumes
 *   counts     [sum of sizes]       out; in too where the plan resumes
 *
 * An error about a row names it as its query counts it.
 */
extern void TrainingRun(Training *t, float *codewords, double *counts);

/* Insert the version; its name and log are the training's. Returns the id. */
extern int32 TrainingFinish(const Training *t, NewTokenizer *tokenizer);

#endif
