/*
 * What the beam searches share: a space of ids to search, one search of it, and the rows that come
 * out.
 */
#ifndef SEMTOK_BEAM_H
#define SEMTOK_BEAM_H

#include "postgres.h"

#include "nodes/execnodes.h"

#include "core/decode.h"
#include "core/query.h"
#include "decode/items.h"
#include "decode/options.h"

/* Where rows go: (rank, sid, logprob, items), in a batch after the number of the query. */
typedef struct BeamSink
{
	ReturnSetInfo *rsinfo;
	int query; /* from 1; 0: of a single query */
	int k;     /* rows wanted */
	int rank;  /* rows returned */
} BeamSink;

/* Return one row of the next rank. */
extern void BeamEmit(BeamSink *sink, double cost, const stk_semid *id, int64 items);

/* One result. */
typedef struct BeamRow
{
	stk_semid id;
	double cost;
	int64 items; /* visible rows; 1 in a set */
} BeamRow;

/* The results of one query, in order of rank. */
typedef struct BeamResult
{
	MemoryContext context; /* of rows */
	BeamRow *rows;
	int n;
	int room;
} BeamResult;

extern void BeamAdd(BeamResult *result, const stk_semid *id, double cost, int64 items);

/* The ids to search: a trie without those that are excluded. */
typedef struct BeamSpace
{
	stk_trie *trie;
	const stk_root *roots;
	size_t n_roots;
	ItemsReader *reader; /* that knows which rows are visible; NULL for a set */
} BeamSpace;

/*
 * The space of a trie; its expansions look for interrupts. Allocated in the current memory context;
 * trie, roots and what is excluded outlive it. `remembered`: bytes for nodes that a later search
 * need not read again. STK_OK or STK_ERETRY.
 */
extern stk_status BeamSpaceInit(BeamSpace *space, stk_trie *trie, const stk_root *roots,
								size_t n_roots, ItemsReader *reader, const DecodeOptions *options,
								size_t remembered);

/*
 * Search it for one query. `stream` is the query's number in a batch. Ids without visible rows are
 * passed over. A search that ends short of k results, and has given up prefixes on the way, is done
 * again: exactly, or with a wider beam where something is drawn. STK_OK or STK_ERETRY; the latter
 * leaves the result empty. Leaves nothing in the current memory context.
 */
extern stk_status BeamSearch(const BeamSpace *space, const stk_query *query,
							 const DecodeOptions *options, uint64 stream, BeamResult *result);

/*
 * The search by an ordered query, for tables whose row security applies to the caller (or whose
 * index is too new for the snapshot). It is exact: the k best of the rows the caller may see.
 * Options that ask for nodes must have been refused.
 */
extern void BeamSearchExecutor(const Items *items, Datum semquery, const DecodeOptions *options,
							   BeamResult *result);

#endif
