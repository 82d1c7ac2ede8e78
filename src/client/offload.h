/*
 * Heavy work for the verbs, wherever it is computed: in the shared worker, in one of the session's
 * own, or in the session. The answer is the same, bit for bit. A worker that is lost is tried once
 * more; then the session computes, with a WARNING.
 *
 * Waiting honours cancels, timeouts and the end of the server. An error anywhere closes the
 * connection, so that no late answer is taken for another's.
 */
#ifndef SEMTOK_OFFLOAD_H
#define SEMTOK_OFFLOAD_H

#include "postgres.h"

#include "client/spool.h"
#include "core/train.h"
#include "types/codebook.h"
#include "worker/protocol.h"

/* Encoding one row after the other, in batches of which several are on their way at once. */
typedef struct EncodePipe EncodePipe;

/*
 * Rows that have their codes, in the order they were added.
 *
 *   x      [n][dim]
 *   tags   [n]          as they were added
 *   codes  [n][levels]
 */
typedef void (*EncodePipeTake)(void *ctx, const float *x, const int64 *tags, size_t n,
							   const uint16 *codes);

typedef struct EncodePipeOptions
{
	CodebookEntry *codebook; /* stays pinned as long as the pipe */
	int beam;
	stk_device device;  /* AUTO: semtok.device */
	const char *failed; /* begins the message of an error: "could not encode embedding" */
	EncodePipeTake take;
	/*
	 * Called with the tag of the row that an error is about, before it is raised: to push an error
	 * context. May be NULL.
	 */
	void (*blame)(void *ctx, int64 tag);
	void *ctx;
} EncodePipeOptions;

/* Lives in the current memory context; resetting it lets go of everything. */
extern EncodePipe *EncodePipeBegin(const EncodePipeOptions *options);
/* Add a row [dim], finite. May call take for rows added before. */
extern void EncodePipeAdd(EncodePipe *pipe, const float *x, int64 tag);
/* Have all rows taken. More may be added then. */
extern void EncodePipeFlush(EncodePipe *pipe);
/* Flush, and let go. */
extern void EncodePipeEnd(EncodePipe *pipe);

typedef struct OffloadTraining
{
	stk_train_plan plan;
	stk_device device; /* AUTO: semtok.device */
	const char *name;  /* of the tokenizer, for messages */
	Spool *spool;      /* everything below is in it */
	uint64 rows_at;    /* [n][dim], a multiple of 8 */
	size_t n;
	uint64 heldout_at; /* [heldout_n][dim], a multiple of 8 */
	size_t heldout_n;
	void (*report)(void *ctx, const stk_train_report *r); /* may raise errors */
	void *report_ctx;
} OffloadTraining;

/*
 * Train. result as stk_train has it; err too, for a status other than STK_OK. A training whose
 * report has been called may be run again, from the last report that had a state, or else from its
 * beginning, epoch 0: `restarted` is called before; may be NULL.
 */
extern stk_status OffloadTrain(const OffloadTraining *t, void (*restarted)(void *ctx, int epoch),
							   stk_train_result *result, stk_error *err);

/*
 * Raise 0A000 where a verb was asked for device cuda and there is none, or no worker to have it:
 * before long work. AUTO: semtok.device.
 */
extern void OffloadCheckDevice(stk_device device);

#endif
