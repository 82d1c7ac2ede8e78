/*
 * Data on its way to a worker: a temporary file of the session's, in pgsql_tmp, gone when it is
 * closed and counted by temp_file_limit. The worker gets its descriptor and reads and writes it.
 *
 * It survives commits. A full disk, or the limit, is the usual error (53100, 53400).
 */
#ifndef SEMTOK_SPOOL_H
#define SEMTOK_SPOOL_H

#include "postgres.h"

typedef struct Spool Spool;

/* Closed when `owner` is reset or deleted, or by SpoolClose. */
extern Spool *SpoolCreate(MemoryContext owner);
extern void SpoolClose(Spool *spool);

extern uint64 SpoolBytes(const Spool *spool);
/* At the end; small pieces are gathered. */
extern void SpoolAppend(Spool *spool, const void *data, Size bytes);
/* Anywhere up to the end, and beyond it. */
extern void SpoolWrite(Spool *spool, uint64 at, const void *data, Size bytes);
/* All of it is there, or it is an error. Looks for interrupts. */
extern void SpoolRead(Spool *spool, uint64 at, void *data, Size bytes);
/* Make room at the end for someone else to write so many bytes. Returns where it begins, a multiple
 * of 8. */
extern uint64 SpoolReserve(Spool *spool, uint64 bytes);
/*
 * The kernel's descriptor, good until any other file is used; all that was written is in the file.
 */
extern int SpoolDescriptor(Spool *spool);

#endif
