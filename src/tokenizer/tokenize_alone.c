/*
 * CALL semtok.tokenize: proof that nothing but its own batches has written to the tables.
 *
 * Who writes to a table has a transaction id. If none was running when the first walk began, and
 * all that were given out since are those of our batches, then nobody else has written anything, in
 * this database or another. A transaction that began before and commits later has its id already,
 * and is seen to be running; one that comes later gets an id that we do not know. It is all or
 * nothing: on a server that does other work there is no such proof.
 *
 * A caller that has an id itself, and calls from a DO block or a procedure, proves nothing: what it
 * has deferred writes when the first batch begins, after the tables were measured.
 *
 * A batch writes through our statements alone if the tables have no triggers, and if its count of
 * commands, which goes up with each that writes, is as it should be: that leaves no room for a
 * rule, or for a function of the caller's that writes. It must still be so when the batch commits,
 * as cursors WITH HOLD, which such a function may have declared, are read then.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/transam.h"
#include "access/xact.h"
#include "storage/lockdefs.h"
#include "tokenizer/tokenize.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* The count of commands that the batch under way is to commit with; InvalidCommandId: none is. */
static CommandId at_commit = InvalidCommandId;
/* Some batch since the beginning committed with another one. */
static bool wrote_at_commit = false;

static void
TokenizeAloneEnds(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT && at_commit != InvalidCommandId &&
		GetCurrentCommandId(false) != at_commit)
		wrote_at_commit = true;
	at_commit = InvalidCommandId;
}

void
TokenizeAloneBegin(TokenizeAlone *alone)
{
	static bool registered = false;
	Snapshot snapshot;

	if (!registered)
		RegisterXactCallback(TokenizeAloneEnds, NULL);
	registered = true;
	wrote_at_commit = false;
	alone->next = ReadNextFullTransactionId();
	snapshot = GetLatestSnapshot();
	/* An id that has been given out and is not in the snapshot's range has not been finished. */
	alone->proven = !TransactionIdIsValid(GetTopTransactionIdIfAny()) && snapshot->xcnt == 0 &&
					!snapshot->suboverflowed &&
					!TransactionIdPrecedes(snapshot->xmax, XidFromFullTransactionId(alone->next));
	alone->own = 0;
}

void
TokenizeAloneBatch(TokenizeAlone *alone, Oid table, CommandId commands)
{
	Relation rel = relation_open(table, NoLock);

	if (rel->trigdesc || GetCurrentCommandId(false) != commands)
		alone->proven = false;
	relation_close(rel, NoLock);
	at_commit = commands;
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		alone->own++;
}

bool
TokenizeAloneProven(const TokenizeAlone *alone)
{
	return alone->proven && !wrote_at_commit &&
		   U64FromFullTransactionId(ReadNextFullTransactionId()) -
				   U64FromFullTransactionId(alone->next) ==
			   alone->own;
}
