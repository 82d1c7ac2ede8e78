/*
 * Running SQL of the caller that may only read.
 */
#ifndef SEMTOK_READONLY_H
#define SEMTOK_READONLY_H

#include "postgres.h"

#include "nodes/pg_list.h"

/*
 * Refuse queries, as the parser analysed and the rewriter made them of one statement, that do not
 * return rows (42601: `returns` says of what, "embeddings") or that write or lock rows (25006).
 * `what` is for messages, as below.
 */
extern void ReadOnlyCheckQueries(const char *what, const char *returns, List *queries);

/*
 * Run body(arg), in the caller's memory context, in a read-only subtransaction of its own. What
 * runs inside, functions in any language too, can read as it always can, but can neither write nor
 * lock rows or tables: PostgreSQL refuses most of it when it is tried; what a read-only transaction
 * is allowed beyond reading (temporary tables, LOCK TABLE) is refused at the end, and undone.
 * Errors have SQLSTATE 25006 and leave nothing; `what` is for messages: "source". Advisory locks
 * are on no data, and are let be.
 */
extern void ReadOnlyRun(const char *what, void (*body)(void *arg), void *arg);

#endif
