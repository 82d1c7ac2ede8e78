/*
 * Running SQL of the caller that may only read.
 *
 * XactReadOnly is what SET TRANSACTION READ ONLY sets; a subtransaction gives it back its value at
 * its end, however that comes, and nothing inside can take it back. It lets pass what a standby has
 * no use for refusing, so at the end we look whether the subtransaction has got a transaction id,
 * without which no row is written or locked, and for locks that reading does not take: on tables,
 * and advisory ones, of which those of the session stay with it, as after any statement that fails.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lock.h"
#include "tokenizer/readonly.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"

void
ReadOnlyCheckQueries(const char *what, const char *returns, List *queries)
{
	ListCell *cell;

	foreach (cell, queries)
	{
		const Query *query = lfirst_node(Query, cell);

		if (query->commandType == CMD_UTILITY)
			ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
							errmsg("expected a query that returns %s as %s", returns, what)));
		if (query->commandType != CMD_SELECT || query->hasModifyingCTE || query->rowMarks != NIL)
			ereport(ERROR,
					(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION), errmsg("%s must only read", what),
					 errdetail("It is a query that %s.",
							   query->rowMarks == NIL ? "writes" : "locks rows")));
	}
	if (queries == NIL)
		ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("expected a query that returns %s as %s", returns, what)));
}

/* What this backend has locked one object with, but for what reading takes. */
typedef struct HeldLock
{
	LOCKTAG tag; /* of a user table, or an advisory lock */
	LOCKMASK modes;
} HeldLock;

typedef struct HeldLocks
{
	HeldLock *locks;
	int n;
} HeldLocks;

/* Large objects are read under locks that their system table gets for writing too. */
static bool
HeldLockCounts(const LOCKTAG *tag)
{
	return tag->locktag_type == LOCKTAG_ADVISORY ||
		   (tag->locktag_type == LOCKTAG_RELATION && tag->locktag_field2 >= FirstNormalObjectId);
}

static HeldLocks
HeldLocksTake(void)
{
	LockData *all = GetLockStatusData();
	HeldLocks taken = {.locks = palloc(mul_size(Max(all->nelements, 1), sizeof(HeldLock)))};

	for (int i = 0; i < all->nelements; i++)
	{
		const LockInstanceData *lock = &all->locks[i];
		LOCKMASK modes = lock->holdMask & ~LOCKBIT_ON(AccessShareLock);

		if (lock->pid == MyProcPid && modes != 0 && HeldLockCounts(&lock->locktag))
			taken.locks[taken.n++] = (HeldLock){lock->locktag, modes};
	}
	return taken;
}

static bool
HeldLocksHave(const HeldLocks *held, const HeldLock *lock)
{
	LOCKMASK modes = lock->modes;

	/* A lock can be listed in two parts, one of which is on the fast path. */
	for (int i = 0; i < held->n; i++)
		if (memcmp(&held->locks[i].tag, &lock->tag, sizeof(LOCKTAG)) == 0)
			modes &= ~held->locks[i].modes;
	return modes == 0;
}

static void
ReadOnlyRefuse(const char *what, const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION), errmsg("%s must only read", what),
					errdetail("%s", detail)));
}

static void
ReadOnlyCheck(const char *what, const HeldLocks *before)
{
	HeldLocks after = HeldLocksTake();

	for (int i = 0; i < after.n; i++)
	{
		const HeldLock *lock = &after.locks[i];
		char *name;

		if (HeldLocksHave(before, lock))
			continue;
		if (lock->tag.locktag_type == LOCKTAG_ADVISORY)
			ReadOnlyRefuse(what, "It took an advisory lock.");
		name = get_rel_name(lock->tag.locktag_field2);
		ReadOnlyRefuse(what, psprintf("It locked table \"%s\".", name ? name : "(dropped)"));
	}
	if (TransactionIdIsValid(GetCurrentTransactionIdIfAny()))
		ReadOnlyRefuse(what, "It took a transaction id, as what writes or locks rows does.");
}

void
ReadOnlyRun(const char *what, void (*body)(void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	HeldLocks before = HeldLocksTake();

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		XactReadOnly = true;
		body(arg);
		ReadOnlyCheck(what, &before);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode == ERRCODE_READ_ONLY_SQL_TRANSACTION && !error->detail &&
			!error->hint)
			error->hint = psprintf("What %s runs may neither write nor lock.", what);
		ReThrowError(error);
	}
	PG_END_TRY();
}
