/*
 * What changed in a semtrie index since a version.
 *
 * A version is a place in the sequence of entries that inserts and VACUUM append. Whoever took one
 * and what his snapshot saw at the same time learns from the entries behind it which ids to look
 * at again.
 */
#ifndef SEMTOK_SEMTRIE_HISTORY_H
#define SEMTOK_SEMTRIE_HISTORY_H

#include "am/semtrie.h"

#include "utils/snapshot.h"

/*
 * The newest version that the snapshot can have, one that lies before every entry of a transaction
 * that had not ended. Where that is not known any more, a version that is too old.
 */
extern uint64 SemtrieVersion(Relation index, Snapshot snapshot);

/*
 * Call back with the id of every entry behind a version; some come more than once, and some from a
 * little before. Raises 55000 where the version is too old, or not one of this index.
 */
extern void SemtrieChanges(Relation index, uint64 since, SemtrieIdCallback callback, void *state);

#endif
