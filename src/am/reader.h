/*
 * Reading a semtrie index as a trie: the run and the pending entries as one.
 *
 * For scans and for the decoding verbs. Open it after the snapshot exists (the metapage read in
 * SemtrieReaderOpen is what makes the result complete for that snapshot). Holds no pins or locks
 * between calls. What it shows includes rows that are dead or not visible: callers check the
 * heap.
 */
#ifndef SEMTOK_SEMTRIE_READER_H
#define SEMTOK_SEMTRIE_READER_H

#include "postgres.h"

#include "storage/itemptr.h"
#include "utils/rel.h"

#include "core/search.h"
#include "core/trie.h"

typedef struct SemtrieReader SemtrieReader;

/* Open on a locked index relation. Everything is allocated in `context`. */
extern SemtrieReader *SemtrieReaderOpen(Relation index, MemoryContext context);
extern void SemtrieReaderClose(SemtrieReader *reader);

/*
 * The trie and its roots, one per tokenizer, ascending. expand answers STK_ERETRY when the index
 * was merged and recycled under the reader (possible on a standby): reopen, skip what was
 * returned before, go on.
 */
extern stk_trie *SemtrieReaderTrie(SemtrieReader *reader);
extern const stk_root *SemtrieReaderRoots(SemtrieReader *reader, size_t *n);

/*
 * Heap TIDs behind a posting handle, ascending, without those VACUUM has removed. The array is
 * the reader's, valid until the next call.
 */
extern stk_status SemtrieReaderPosting(SemtrieReader *reader, uint64 posting,
									   const ItemPointerData **tids, size_t *n);

/* Heap TIDs of rows whose semid is NULL; in no particular order. */
extern stk_status SemtrieReaderNulls(SemtrieReader *reader, const ItemPointerData **tids,
									 size_t *n);

#endif
