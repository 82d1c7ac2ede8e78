/*
 * Ids of tokenizers.
 *
 * An id is semtok.tokenizer_id_base plus a number of the sequence, from 1 to a million. Bases are
 * multiples of a million, so nodes with different ones never give the same id, and one whose base
 * changes never gives an id twice: the sequence just goes on.
 *
 * An id of this node's range that comes from elsewhere takes the sequence past it, so that it is
 * not given again even when its tokenizer was dropped. Those of other ranges leave it alone: one at
 * a range's end would use up ours. Changes of a sequence are not undone by a rollback.
 */
#include "postgres.h"

#include "commands/sequence.h"
#include "fmgr.h"
#include "guc.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tokenizer/registry.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

void
TokenizerLockId(int32 id, LOCKMODE mode)
{
	LockDatabaseObject(SemtokRelationOid("tokenizer"), (Oid) id, TOKENIZER_LOCK_ID, mode);
}

/* Between reading the sequence and setting it nobody else may draw from it. */
static void
LockSequence(void)
{
	LockDatabaseObject(SemtokRelationOid("tokenizer"), 0, TOKENIZER_LOCK_SEQUENCE, ExclusiveLock);
}

static void
UnlockSequence(void)
{
	UnlockDatabaseObject(SemtokRelationOid("tokenizer"), 0, TOKENIZER_LOCK_SEQUENCE, ExclusiveLock);
}

/* The last number drawn, 0 before the first. */
static int64
SequenceLast(Oid sequence)
{
	LOCAL_FCINFO(fcinfo, 1);
	Datum last;

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = ObjectIdGetDatum(sequence);
	fcinfo->args[0].isnull = false;
	last = pg_sequence_last_value(fcinfo);
	return fcinfo->isnull ? 0 : DatumGetInt64(last);
}

static int32
DrawId(void)
{
	Oid sequence = SemtokRelationOid("tokenizer_id_seq");
	int64 number;

	LockSequence();
	if (SequenceLast(sequence) >= TOKENIZER_IDS)
		ereport(ERROR,
				(errcode(ERRCODE_SEQUENCE_GENERATOR_LIMIT_EXCEEDED),
				 errmsg("ids of tokenizers are used up"),
				 errdetail("Sequence semtok.tokenizer_id_seq has reached %d.", TOKENIZER_IDS),
				 errhint("Set semtok.tokenizer_id_base to a range that is free, or the sequence back "
						 "by setval(): ids in use are passed over.")));
	number = nextval_internal(sequence, false);
	UnlockSequence();
	return semtok_tokenizer_id_base + (int32) number;
}

int32
TokenizerNextId(void)
{
	for (;;)
	{
		int32 id = DrawId();
		TokenizerInfo info;
		bool taken;

		/* Whoever inserts this very id now is waited for. */
		TokenizerLockId(id, ExclusiveLock);
		PushActiveSnapshot(GetLatestSnapshot());
		taken = TokenizerFindById(id, &info);
		PopActiveSnapshot();
		if (!taken)
			return id;
		/* Rows that came past us, by replication say, without the sequence. */
		CHECK_FOR_INTERRUPTS();
	}
}

void
TokenizerReserveId(int32 id)
{
	Oid sequence = SemtokRelationOid("tokenizer_id_seq");
	int64 number = (int64) id - semtok_tokenizer_id_base;

	if (number < 1 || number > TOKENIZER_IDS)
		return;
	LockSequence();
	if (SequenceLast(sequence) < number)
		DirectFunctionCall2(setval_oid, ObjectIdGetDatum(sequence), Int64GetDatum(number));
	UnlockSequence();
}
