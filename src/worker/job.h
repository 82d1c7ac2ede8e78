/*
 * A request that is computed: what was asked, where its data is, and what the answer will be.
 */
#ifndef STK_JOB_H
#define STK_JOB_H

#include "engine/engine.h"
#include "worker/connection.h"

struct stk_launch;
struct stk_session;

/* Jobs wait by class, so that long ones never stand before short ones. */
typedef enum stk_class
{
	STK_CLASS_SMALL, /* encoding or searching that takes some milliseconds */
	STK_CLASS_LOAD,
	STK_CLASS_BULK, /* other of that */
	STK_CLASS_TRAIN,
	STK_CLASSES
} stk_class;

typedef struct stk_job
{
	struct stk_job *next;        /* in a queue, or in a launch */
	struct stk_session *session; /* NULL once its client has gone */
	struct stk_launch *launch;   /* NULL while it waits */
	stk_class class;
	stk_engine *engine;  /* of those that there are, the one to compute it */
	stk_message message; /* the request; what follows points into its body */
	union
	{
		stk_load load; /* of a trie, too */
		stk_encode encode;
		stk_search_message search;
		stk_train_message train;
	};
	uint64_t counted; /* bytes of the budget, for the message */
	uint64_t since;   /* it has been here, monotonic ns */
	bool held;        /* until what it needs of its client's is loaded; in no queue */
	uint8_t attempts; /* that found no room in memory */

	/* What the computation made of it. */
	stk_kind answer; /* 0 = nothing yet */
	stk_failed failed;
	uint8_t *result; /* of an answer's data that goes inside; NULL = none, or in the file */
	uint64_t result_bytes;
	stk_evaluation *evaluations; /* [2] of the rows and of those held out, after a training */
} stk_job;

/* Takes over the message. NULL, and the message freed, when there is no memory. */
extern stk_job *stk_job_create(struct stk_session *session, stk_message *m);
extern void stk_job_free(stk_job *job);

/* Make a failure the job's answer. err may be NULL. */
extern void stk_job_fail(stk_job *job, stk_failure failure, stk_status status,
						 const stk_error *err);
/*
 * Make the status of reading, computing or writing the answer. A computation's errors are about
 * rows that begin at first_row of the request's.
 */
extern void stk_job_fail_status(stk_job *job, stk_status status, const stk_error *err,
								uint64_t first_row);

/*
 * Copy bytes from `at` on of the data d of this job. STK_EIO with the reason when the file has not
 * got them. Waits for the disk.
 */
extern stk_status stk_job_read(const stk_job *job, const stk_data *d, uint64_t at, void *to,
							   size_t bytes, stk_error *err);
/* Write to the job's file. STK_EIO with the reason. Waits for the disk. */
extern stk_status stk_job_write(const stk_job *job, uint64_t at, const void *from, size_t bytes,
								stk_error *err);

#endif
