/*
 * Inserting a row: append to the delta, and merge when that has become too long.
 */
#include "am/semtrie.h"

#include "commands/tablespace.h"
#include "types/semid.h"

bool
semtrie_insert(Relation index, Datum *values, bool *isnull, ItemPointer tid, Relation heap,
			   IndexUniqueCheck check_unique, bool index_unchanged, IndexInfo *info)
{
	bool over_limit;

	if (isnull[0])
		SemtrieDeltaAppend(index, NULL, 0, tid, &over_limit);
	else
	{
		struct varlena *v = DatumGetSemidPP(values[0]);
		stk_semid id;

		/* nothing that could not be an id gets in, whatever made the datum */
		SemidUnpack(v, &id);
		SemtrieDeltaAppend(index, SemidBytes(v), SemidLength(v), tid, &over_limit);
	}

	/* Whoever merges already does it for us: nobody waits. */
	if (over_limit)
	{
		PrepareTempTablespaces();
		if (SemtrieTryLockMaintenance(index))
		{
			SemtrieMerge(index, NULL);
			SemtrieUnlockMaintenance(index);
		}
	}
	return false;
}
