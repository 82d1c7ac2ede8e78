/*
 * semset on the PostgreSQL side: a varlena around core's stored form (4-byte aligned).
 */
#ifndef SEMTOK_SEMSET_H
#define SEMTOK_SEMSET_H

#include "postgres.h"

#include "fmgr.h"
#include "core/semset.h"

/* The semset argument of a function, viewed once per query; owns the call site's fn_extra. */
extern const stk_semset *SemsetArg(FunctionCallInfo fcinfo, int argno);
/* View a datum; detoasted into `context` when needed, where the view is allocated too. */
extern const stk_semset *SemsetView(Datum semset, MemoryContext context);

#endif
