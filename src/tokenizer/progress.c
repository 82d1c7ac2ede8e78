/*
 * Telling how far long work is.
 *
 * What the view shows is this session's part of the shared memory, which nobody else writes. Work
 * may begin inside work, as when a source calls a verb; only the outermost is told.
 */
#include "postgres.h"

#include <math.h>

#include "client/shared.h"
#include "tokenizer/progress.h"
#include "utils/palloc.h"
#include "utils/timestamp.h"

/* Between two NOTICEs, in milliseconds. */
#define PROGRESS_INTERVAL 5000

/* Work that has begun, in the memory of its owner. */
typedef struct ProgressWork
{
	MemoryContextCallback callback;
	struct ProgressWork *outer;
	bool ended;
} ProgressWork;

/* The innermost; NULL = none. */
static ProgressWork *progress_work = NULL;

bool
ProgressDue(TimestampTz *noticed)
{
	TimestampTz now;

	if (SharedGet())
		return false;
	now = GetCurrentTimestamp();
	if (!TimestampDifferenceExceeds(*noticed, now, PROGRESS_INTERVAL))
		return false;
	*noticed = now;
	return true;
}

/* The part to write to, or NULL inside other work and outside of all. */
static SharedSession *
ProgressMine(void)
{
	return progress_work && !progress_work->outer ? SharedMine() : NULL;
}

/* A phase of which nothing is known. Under the mutex. */
static void
ProgressClear(SharedSession *mine, TimestampTz now)
{
	mine->phase_began = now;
	mine->level = -1;
	mine->levels = 0;
	mine->epoch = 0;
	mine->epochs = 0;
	mine->rows_done = 0;
	mine->rows_total = -1;
	mine->loss = NAN;
}

/* Work is over, with an error or without. An error may let go of it before of what is inside it. */
static void
ProgressOver(void *arg)
{
	ProgressWork *work = arg;
	ProgressWork **at = &progress_work;

	if (work->ended)
		return;
	work->ended = true;
	while (*at != work)
		at = &(*at)->outer;
	*at = work->outer;
	if (!progress_work)
	{
		SharedSession *mine = SharedMine();

		SpinLockAcquire(&mine->mutex);
		mine->verb[0] = '\0';
		SpinLockRelease(&mine->mutex);
	}
}

void
ProgressBegin(const char *verb, const char *subject, MemoryContext owner)
{
	ProgressWork *work = MemoryContextAllocZero(owner, sizeof(ProgressWork));
	TimestampTz now = GetCurrentTimestamp();
	SharedSession *mine = SharedMine();
	char name[sizeof(mine->subject)];

	work->outer = progress_work;
	work->callback.func = ProgressOver;
	work->callback.arg = work;
	MemoryContextRegisterResetCallback(owner, &work->callback);
	progress_work = work;
	if (work->outer)
		return;

	SharedSetText(name, sizeof(name), subject);
	SpinLockAcquire(&mine->mutex);
	strlcpy(mine->verb, verb, sizeof(mine->verb));
	strcpy(mine->subject, name);
	mine->phase[0] = '\0';
	mine->where[0] = '\0';
	mine->began = now;
	ProgressClear(mine, now);
	SpinLockRelease(&mine->mutex);
}

void
ProgressEnd(void)
{
	if (progress_work)
		ProgressOver(progress_work);
}

void
ProgressPhase(const char *phase)
{
	SharedSession *mine = ProgressMine();
	TimestampTz now;

	if (!mine)
		return;
	now = GetCurrentTimestamp();
	SpinLockAcquire(&mine->mutex);
	strlcpy(mine->phase, phase, sizeof(mine->phase));
	ProgressClear(mine, now);
	SpinLockRelease(&mine->mutex);
}

void
ProgressRows(int64 done, int64 total)
{
	SharedSession *mine = ProgressMine();

	if (!mine)
		return;
	SpinLockAcquire(&mine->mutex);
	mine->rows_done = done;
	mine->rows_total = total;
	SpinLockRelease(&mine->mutex);
}

void
ProgressEpoch(int level, int levels, int epoch, int epochs, double loss)
{
	SharedSession *mine = ProgressMine();

	if (!mine)
		return;
	SpinLockAcquire(&mine->mutex);
	mine->level = level;
	mine->levels = levels;
	mine->epoch = epoch;
	mine->epochs = epochs;
	mine->loss = loss;
	SpinLockRelease(&mine->mutex);
}

void
ProgressWhere(const char *where)
{
	SharedSession *mine = ProgressMine();

	if (!mine)
		return;
	SpinLockAcquire(&mine->mutex);
	strlcpy(mine->where, where, sizeof(mine->where));
	SpinLockRelease(&mine->mutex);
}
