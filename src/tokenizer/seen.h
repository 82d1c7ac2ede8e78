/*
 * What a snapshot lets one see, as a key: two lookups under equal keys find the same rows.
 *
 * Call sites that look into the catalog for every row remember what they found by it. They may
 * live longer than a snapshot (PL/pgSQL keeps its expressions for a transaction).
 */
#ifndef SEMTOK_SEEN_H
#define SEMTOK_SEEN_H

#include "postgres.h"

#include "utils/snapshot.h"

/* Transactions under way that a key holds; a snapshot with more of them equals no key. */
#define SEEN_MAX_XIDS 64

typedef struct SeenKey
{
	SubTransactionId subxact; /* what it did is seen by it alone; InvalidSubTransactionId: no key */
	CommandId command;
	TransactionId xmin;
	TransactionId xmax;
	bool recovery;
	bool overflowed;
	uint32 xcnt;
	int32 subxcnt;
	TransactionId xids[SEEN_MAX_XIDS]; /* xcnt of them, then subxcnt */
} SeenKey;

/* Take the key of a snapshot, where it has one. */
extern void SeenTake(SeenKey *key, Snapshot snapshot);
/* Does the snapshot see, now, what the one that the key was taken of saw then? */
extern bool SeenSame(const SeenKey *key, Snapshot snapshot);

#endif
