/*
 * semset on the PostgreSQL side: a varlena around core's stored form (4-byte aligned).
 */
#ifndef SEMTOK_SEMSET_H
#define SEMTOK_SEMSET_H

#include "postgres.h"

#include "fmgr.h"
#include "core/semset.h"

/*
 * The semset argument of a function, viewed without being copied where it can be; toasted values
 * are fetched once per query. Valid until the next call. Owns the call site's fn_extra.
 */
extern const stk_semset *SemsetArg(FunctionCallInfo fcinfo, int argno);
/*
 * View a datum; detoasted into `context` when needed, where the view is allocated too. Else the
 * view points into the datum.
 */
extern const stk_semset *SemsetView(Datum semset, MemoryContext context);

/* Make the datum of a stored form that core has left VARHDRSZ bytes in front of (54000). */
extern struct varlena *SemsetFromBytes(uint8 *bytes, Size len);

/*
 * Ids on their way into a semset: in any order, with duplicates.
 */
typedef struct SemsetBuilder
{
	MemoryContext context;
	Size n;
	Size bytes;     /* used */
	Size capacity;  /* of records */
	uint8 *records; /* of each id its length in one byte, then its stored form */
} SemsetBuilder;

extern SemsetBuilder *SemsetBuilderCreate(MemoryContext context);
/* Add an id by its stored form. */
extern void SemsetBuilderAdd(SemsetBuilder *builder, const uint8 *id, Size len);
/* A datum of the ids, which stay as they are. */
extern struct varlena *SemsetBuilderFinish(const SemsetBuilder *builder);

#endif
