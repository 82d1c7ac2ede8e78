/*
 * Verifying the structure of a semtrie index.
 */
#ifndef SEMTOK_SEMTRIE_CHECK_H
#define SEMTOK_SEMTRIE_CHECK_H

#include "am/semtrie.h"

/* Called for every row that the index holds; id is NULL for rows without. */
typedef void (*SemtrieRowCallback)(const stk_semid *id, const ItemPointerData *tid, void *state);

/*
 * Verify everything that the metapage leads to, under the maintenance lock: page headers, the
 * order and the counts of the trie, that every reference hits a record and every record is
 * referred to once, that no block has two uses, the delta's chain. Raises XX002 naming the
 * block. STK_ERETRY when the index was merged meanwhile (on a standby).
 */
extern stk_status SemtrieCheckStructure(Relation index, SemtrieRowCallback callback, void *state);

#endif
