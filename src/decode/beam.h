/*
 * What the beam searches share: their limits and where their rows go.
 */
#ifndef SEMTOK_BEAM_H
#define SEMTOK_BEAM_H

#include "postgres.h"

#include "nodes/execnodes.h"

#include "core/search.h"
#include "decode/items.h"

typedef struct BeamSink
{
	ReturnSetInfo *rsinfo;
	int k;         /* rows wanted */
	int beam_size; /* prefixes kept per level */
	int rank;      /* rows returned */
	stk_hit last;  /* the last of them */
} BeamSink;

/* Order of two ids: <0, 0, >0. */
extern int BeamCompareIds(const stk_semid *a, const stk_semid *b);

/* Return one row: the next rank, the id, its log-probability and the number of its rows. */
extern void BeamEmit(BeamSink *sink, double cost, const stk_semid *id, int64 items);

/*
 * The search by an ordered query, for tables whose row security applies to the caller (or whose
 * index is too new for the snapshot). It is exact: the k best of the rows the caller may see.
 */
extern void BeamSearchExecutor(const Items *items, Datum semquery, BeamSink *sink);

#endif
