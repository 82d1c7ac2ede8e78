/*
 * Running SQL of the caller that may only read.
 *
 * XactReadOnly is what SET TRANSACTION READ ONLY sets; a subtransaction gives it back its value at
 * its end, however that comes, and nothing inside can take it back. It lets pass what a standby has
 * no use for refusing, so at the end we look whether the subtransaction has got a transaction id,
 * without which no row is written or locked, and for locks on tables that reading does not take.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "tokenizer/readonly.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"

/* The locks that this backend has on one user table, but for what reading takes. */
typedef struct TableLock
{
	Oid relation;
	LOCKMASK modes;
} TableLock;

typedef struct TableLocks
{
	TableLock *locks;
	int n;
} TableLocks;

/* Large objects are read under locks that their system table gets for writing too. */
static TableLocks
TableLocksTake(void)
{
	LockData *all = GetLockStatusData();
	TableLocks taken = {.locks = palloc(mul_size(Max(all->nelements, 1), sizeof(TableLock)))};

	for (int i = 0; i < all->nelements; i++)
	{
		const LockInstanceData *lock = &all->locks[i];
		LOCKMASK modes = lock->holdMask & ~LOCKBIT_ON(AccessShareLock);
		Oid relation = lock->locktag.locktag_field2;

		if (lock->pid == MyProcPid && modes != 0 &&
			lock->locktag.locktag_type == LOCKTAG_RELATION && relation >= FirstNormalObjectId)
			taken.locks[taken.n++] = (TableLock){relation, modes};
	}
	return taken;
}

static bool
TableLocksHave(const TableLocks *held, const TableLock *lock)
{
	LOCKMASK modes = lock->modes;

	/* A lock can be listed in two parts, one of which is on the fast path. */
	for (int i = 0; i < held->n; i++)
		if (held->locks[i].relation == lock->relation)
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
ReadOnlyCheck(const char *what, const TableLocks *before)
{
	TableLocks after = TableLocksTake();

	for (int i = 0; i < after.n; i++)
	{
		char *name;

		if (TableLocksHave(before, &after.locks[i]))
			continue;
		name = get_rel_name(after.locks[i].relation);
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
	TableLocks before = TableLocksTake();

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
