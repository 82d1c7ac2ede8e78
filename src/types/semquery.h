/*
 * semquery on the PostgreSQL side. A datum is core's stored form, its first four bytes being
 * the length word; typalign is double.
 */
#ifndef SEMTOK_SEMQUERY_H
#define SEMTOK_SEMQUERY_H

#include "postgres.h"

#include "fmgr.h"
#include "compat.h"
#include "core/query.h"
#include "types/codebook.h"

#define PG_GETARG_SEMQUERY_P(n) ((struct varlena *) PG_DETOAST_DATUM(PG_GETARG_DATUM(n)))

/*
 * The semquery argument of a function, viewed without being copied where it can be; toasted values
 * are fetched once per query. Valid until the next call. Owns the call site's fn_extra.
 */
extern const stk_query *SemqueryArg(FunctionCallInfo fcinfo, int argno);
/*
 * View a datum; detoasted into `context` when needed, where the view is allocated too. Else the
 * view points into the datum.
 */
extern const stk_query *SemqueryView(Datum semquery, MemoryContext context);
/* A query for items near an embedding ([dim] of the codebook); tokenizer 0 is any. */
extern Datum SemqueryNeighbors(CodebookEntry *codebook, int32 tokenizer, const float *embedding);
/* Make a datum of what core built (sets the length word of bytes in place). */
extern Datum SemqueryDatum(uint8 *bytes, size_t len);
/* The error for a masked query that carries no set where a cost is asked for (22023, hint). */
pg_noreturn extern void SemqueryRefuseMasked(void);

#endif
