/*
 * CALL semtok.tokenize: room for the new versions of rows.
 *
 * An update leaves the row's old version where it was, so that giving every row an id would double
 * a table without room. But the old versions of a batch that has committed are dead as soon as no
 * snapshot is left that sees them: their pages are pruned, as any scan of them might do, and the
 * free space map is told, which it is not after other scans. The next batch's rows go there, and
 * the table grows by little more than a batch.
 *
 * What VACUUM does beyond that is left to it: the line pointers stay, and so does all that indexes
 * say of them. Where an older snapshot lasts, nothing is pruned, and the table grows.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/freespace.h"
#include "tokenizer/tokenize.h"
#include "utils/rel.h"

void
TokenizeMakeRoom(Relation table, BlockNumber first, BlockNumber end)
{
	if (table->rd_tableam != GetHeapamTableAmRoutine())
		return;
	/* The table may have been truncated since, when no lock was held on it. */
	end = Min(end, RelationGetNumberOfBlocks(table));
	for (BlockNumber block = first; block < end; block++)
	{
		Buffer buffer = ReadBuffer(table, block);
		Page page = BufferGetPage(buffer);
		bool fresh;
		Size room;

		CHECK_FOR_INTERRUPTS();
		heap_page_prune_opt(table, buffer);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		/*
		 * What is known of a page that another session has added and not filled yet is that it is
		 * free.
		 */
		fresh = PageIsNew(page);
		room = PageGetHeapFreeSpace(page);
		UnlockReleaseBuffer(buffer);
		if (!fresh)
			RecordPageWithFreeSpace(table, block, room);
	}
	if (first < end)
		FreeSpaceMapVacuumRange(table, first, end);
}
