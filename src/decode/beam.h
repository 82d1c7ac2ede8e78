/*
 * What the beam searches share: one search of a scope, and the rows that come out.
 */
#ifndef SEMTOK_BEAM_H
#define SEMTOK_BEAM_H

#include "postgres.h"

#include "nodes/execnodes.h"

#include "core/decode.h"
#include "core/query.h"
#include "decode/items.h"
#include "decode/options.h"
#include "decode/scope.h"

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

/*
 * Keep `bytes` of the nodes that a search of the scope reads for those that follow; in the current
 * memory context, from which the scope comes.
 */
extern void BeamRemember(Scope *scope, size_t bytes);

/*
 * Search a scope for one query. `stream` is the query's number in a batch. Ids without visible rows
 * are passed over. A search that ends short of k results, and has given up prefixes on the way, is
 * done again: exactly, or with a wider beam where something is drawn. STK_OK or STK_ERETRY; the
 * latter leaves the result empty. Leaves nothing in the current memory context.
 */
extern stk_status BeamSearch(const Scope *scope, const stk_query *query,
							 const DecodeOptions *options, uint64 stream, BeamResult *result);

/*
 * The search by an ordered query, for tables whose row security applies to the caller (or whose
 * index is too new for the snapshot). It is exact: the k best of the rows the caller may see.
 * Options that ask for nodes must have been refused.
 */
extern void BeamSearchExecutor(const Items *items, Datum semquery, const DecodeOptions *options,
							   BeamResult *result);

#endif
