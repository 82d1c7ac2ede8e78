/*
 * A launch: one job, or several that ask for encoding with the same codebook or for searches in the
 * same trie, computed together by
 * a runner's thread. The loop's thread makes it, hands it over, and has it again when the outbox
 * says that it has ended; in between only `cancelled`, `ticks` and `unread` are shared.
 */
#ifndef STK_LAUNCH_H
#define STK_LAUNCH_H

#include <stdatomic.h>

#include "engine/crew.h"
#include "worker/cache.h"
#include "worker/job.h"

struct stk_letter;
struct stk_outbox;

/* What all computations have in common. */
typedef struct stk_shop
{
	stk_budget *budget;
	stk_cache *cache;
	stk_engine *cores;
	stk_engine *device; /* NULL: there is none */
	stk_cpu cpu;
	struct stk_outbox *outbox;
} stk_shop;

typedef struct stk_launch
{
	stk_class class;
	stk_engine *engine; /* that it was meant for */
	stk_job *jobs;      /* linked by next */
	uint32_t njobs;
	uint64_t rows;           /* or queries, of all jobs */
	stk_cached *pin;         /* the codebook or set; NULL: none; the loop's to unpin */
	uint64_t train_bytes;    /* of a training, the loop's to count */
	struct stk_team *team;   /* of threads, the loop's to let go */
	const stk_pool *pool;    /* of the team */
	struct stk_letter *last; /* to say that it has ended, so that nothing can fail then */
	atomic_bool cancelled;   /* nobody waits for it any more */
	uint64_t cancelled_ns;   /* when that was, monotonic; 0 = not; the loop's */
	atomic_ullong ticks;     /* looks at the monitor so far */
	unsigned unread;         /* reports in the outbox or not yet sent; under the outbox's lock */
	unsigned unsent;         /* of these, written to the client's connection; the loop's */
	bool unheard;            /* out: it ended because its reports were not read */
	bool no_room;            /* out: memory ran out; the jobs have no answers */
	unsigned fallbacks;      /* out: computations that the device left to the cores */
	char fallback[160];      /* out: why, the last time */
} stk_launch;

/*
 * Rows or queries like this job's that are in memory at a time, and so the most that are gathered.
 */
extern uint64_t stk_launch_piece(const stk_shop *shop, const stk_job *job);

/* Bytes that a training takes; UINT64_MAX at overflow. */
extern uint64_t stk_launch_train_bytes(const stk_job *job, int threads);

/* Compute, in a runner's thread. Every job has its answer then, unless no_room. */
extern void stk_launch_run(const stk_shop *shop, stk_launch *l);

#endif
