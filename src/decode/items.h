/*
 * The `items` argument of the decoding verbs: a semtrie index, or a table with exactly one that
 * serves. Opening it checks the caller's rights; reading it gives one trie over all partitions,
 * and says which rows behind an id the caller's snapshot sees.
 */
#ifndef SEMTOK_ITEMS_H
#define SEMTOK_ITEMS_H

#include "postgres.h"

#include "access/attnum.h"
#include "utils/rel.h"

#include "core/search.h"
#include "core/trie.h"

/* A plain index and its table, both locked. */
typedef struct ItemsLeaf
{
	Relation table;
	Relation index;
} ItemsLeaf;

typedef struct Items
{
	Relation table;    /* the table meant: plain, materialized view or partitioned */
	Oid index;         /* its semtrie index; partitioned like the table */
	AttrNumber column; /* the indexed semid column */
	List *predicate;   /* what a partial index, named by the caller, is restricted to */
	bool row_security; /* row security applies to the caller */
	bool unsafe_index; /* the index may miss rows of this transaction's snapshot (indcheckxmin) */
	int n_leaves;
	ItemsLeaf *leaves;
} Items;

/*
 * Open what a regclass names, in the current memory context. Errors: 42809 not a table or a
 * semtrie index, 42704 no index that serves, 55000 several of them or one that is not valid, 42501
 * no SELECT on the column (or those of the index's predicate), 0A000 an index on an expression.
 */
extern Items *ItemsOpen(Oid relid);
/* Close the relations; locks are kept until the transaction ends. */
extern void ItemsClose(Items *items);

/*
 * 0A000 with a hint, for verbs that show nodes, where row security applies or the index is unsafe.
 */
extern void ItemsRefuseNodes(const Items *items, const char *what);

/* One trie over all leaves. */
typedef struct ItemsReader ItemsReader;

/*
 * Read the items under the active snapshot; everything is allocated in `context`. The trie answers
 * STK_ERETRY when an index was rebuilt under the reader: close, and search again.
 */
extern ItemsReader *ItemsReaderOpen(Items *items, MemoryContext context);
extern void ItemsReaderClose(ItemsReader *reader);
extern stk_trie *ItemsReaderTrie(ItemsReader *reader);
extern const stk_root *ItemsReaderRoots(ItemsReader *reader, size_t *n);

/* How many rows behind a posting handle the active snapshot sees. */
extern stk_status ItemsReaderVisible(ItemsReader *reader, uint64 posting, int64 *visible);

/* After STK_ERETRY for the attempt-th time (from 0): returns to try again, or raises 40001. */
extern void ItemsRetry(int attempt);

#endif
