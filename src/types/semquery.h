/*
 * semquery on the PostgreSQL side. A datum is core's stored form, its first four bytes being
 * the length word; typalign is double.
 */
#ifndef SEMTOK_SEMQUERY_H
#define SEMTOK_SEMQUERY_H

#include "postgres.h"

#include "fmgr.h"
#include "core/query.h"

/*
 * The semquery argument of a function, detoasted and viewed once per query where the argument
 * does not change. Uses the call site's fn_extra, which belongs to this function alone.
 */
extern const stk_query *SemqueryArg(FunctionCallInfo fcinfo, int argno);
/* View a datum; detoasted into `context` when needed, where the view is allocated too. */
extern const stk_query *SemqueryView(Datum semquery, MemoryContext context);
/* Make a datum of what core built (sets the length word of bytes in place). */
extern Datum SemqueryDatum(uint8 *bytes, size_t len);
/* The error for a masked query that carries no set where a cost is asked for (22023, hint). */
extern void SemqueryRefuseMasked(void) pg_attribute_noreturn();

#endif
