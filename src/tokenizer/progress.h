/*
 * Telling how far long work is: in semtok.stat_progress where there is shared memory, and else by a
 * NOTICE every few seconds.
 */
#ifndef SEMTOK_PROGRESS_H
#define SEMTOK_PROGRESS_H

#include "postgres.h"

#include "datatype/timestamp.h"

/*
 * Has it been a few seconds since *noticed, and is a NOTICE the only way? Then *noticed becomes
 * now.
 */
extern bool ProgressDue(TimestampTz *noticed);

/*
 * This session begins work that the view shows until ProgressEnd, or until `owner` is reset or
 * deleted. subject: the tokenizer's name, or the relation's. Work inside work is not shown.
 */
extern void ProgressBegin(const char *verb, const char *subject, MemoryContext owner);
extern void ProgressEnd(void);

/* What it does now; clears what the phase before had said. */
extern void ProgressPhase(const char *phase);
/* total -1: not known. */
extern void ProgressRows(int64 done, int64 total);
/* level -1: all of them; loss NaN: none. */
extern void ProgressEpoch(int level, int levels, int epoch, int epochs, double loss);
/* Where it is computed: "shared worker", "private worker", "session". */
extern void ProgressWhere(const char *where);

#endif
