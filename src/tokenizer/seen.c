/*
 * What a snapshot lets one see, as a key.
 *
 * Which committed rows an MVCC snapshot sees follows from xmin, xmax and the transactions under
 * way between them. Which rows of its own transaction it sees follows from the command id, and
 * from which subtransactions are still alive: within one and the same subtransaction those that
 * had ended have ended for good, and one that began later has advanced the command id if it wrote
 * a row and another identity while it lasts.
 */
#include "postgres.h"

#include "access/xact.h"
#include "tokenizer/seen.h"
#include "utils/snapmgr.h"

void
SeenTake(SeenKey *key, Snapshot snapshot)
{
	key->subxact = InvalidSubTransactionId;
	if (snapshot->snapshot_type != SNAPSHOT_MVCC || snapshot->subxcnt < 0 ||
		snapshot->xcnt > SEEN_MAX_XIDS || snapshot->subxcnt > SEEN_MAX_XIDS - (int) snapshot->xcnt)
		return;
	key->subxact = GetCurrentSubTransactionId();
	key->command = snapshot->curcid;
	key->xmin = snapshot->xmin;
	key->xmax = snapshot->xmax;
	key->recovery = snapshot->takenDuringRecovery;
	key->overflowed = snapshot->suboverflowed;
	key->xcnt = snapshot->xcnt;
	key->subxcnt = snapshot->subxcnt;
	if (key->xcnt > 0)
		memcpy(key->xids, snapshot->xip, key->xcnt * sizeof(TransactionId));
	if (key->subxcnt > 0)
		memcpy(key->xids + key->xcnt, snapshot->subxip, key->subxcnt * sizeof(TransactionId));
}

static bool
SameXids(const TransactionId *a, const TransactionId *b, int n)
{
	return n == 0 || memcmp(a, b, n * sizeof(TransactionId)) == 0;
}

bool
SeenSame(const SeenKey *key, Snapshot snapshot)
{
	return key->subxact != InvalidSubTransactionId &&
		   key->subxact == GetCurrentSubTransactionId() && key->command == snapshot->curcid &&
		   snapshot->snapshot_type == SNAPSHOT_MVCC && key->xmin == snapshot->xmin &&
		   key->xmax == snapshot->xmax && key->recovery == snapshot->takenDuringRecovery &&
		   key->overflowed == snapshot->suboverflowed && key->xcnt == snapshot->xcnt &&
		   key->subxcnt == snapshot->subxcnt &&
		   SameXids(key->xids, snapshot->xip, (int) key->xcnt) &&
		   SameXids(key->xids + key->xcnt, snapshot->subxip, key->subxcnt);
}
