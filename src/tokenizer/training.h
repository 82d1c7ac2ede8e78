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
#include "tokenizer/checkpoint.h"
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
	bool resume;             /* go on from a checkpoint, if there is one */
	const char *how; /* what makes a difference to what is learnt, beside the plan's shape */

	/* The rest is for these functions, but for what they say of it. */
	MemoryContext context;
	Spool *spool; /* of the rows, then those held out */
	Sample sample;
	Sample heldout;
	const char *phase;   /* that semtok.stat_progress shows */
	TimestampTz noticed; /* when the last NOTICE went out, at first when the rows were read */
	int step;            /* epochs so far, over all levels */
	int resumed;         /* those behind the checkpoint that it went on from; 0 = none */
	bool kept;           /* there may be a checkpoint: */
	Checkpoint checkpoint;
	Size state_bytes; /* of a method that has a state; else 0 */
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
 * Room for what the plan comes to, in the current memory context: codewords and counts, or a state.
 * Sizes that no column takes are an error (54000).
 */
extern stk_train_result TrainingRoom(const stk_train_plan *plan);

/*
 * Learn, log what came of it, on the rows and on those held out, and warn when that is too little.
 * result is TrainingRoom's; where the plan resumes what it holds comes in. Where there is to be a
 * checkpoint, or was one, states are kept and gone on from.
 *
 * An error about a row names it as its query counts it.
 */
extern void TrainingRun(Training *t, stk_train_result *result);

/* Insert the version; its name, log, codebook and what else it is made of are the training's. */
extern int32 TrainingFinish(Training *t, const stk_train_result *result, NewTokenizer *tokenizer);

#endif
