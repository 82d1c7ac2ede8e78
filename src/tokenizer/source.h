/*
 * Reading embeddings from a query of the caller.
 */
#ifndef SEMTOK_SOURCE_H
#define SEMTOK_SOURCE_H

#include "postgres.h"

#include "compat.h"
#include "core/codebook.h"

/* A query of embeddings, and what is asked of it. */
typedef struct Source
{
	const char *query;
	const char *argument; /* the argument or option it came as, for messages: "source" */
	const char *what;     /* whom it is read for, for the NOTICE that tells how far it is */
	int dim;              /* dimensions that every row must have; 0 = those of the first row */
	stk_metric metric;    /* cosine refuses zero vectors */
} Source;

/* One embedding, [dim] finite values, good only during the call; rows count from 1. */
typedef void (*SourceRow)(void *ctx, const float *x, int dim, int64 number);

/*
 * Refuse what is not one SELECT (or VALUES, TABLE) of one column, before any of it is run. The
 * column, whose type is returned, may be of any type with a cast to real[].
 */
extern Oid SourceCheck(const Source *source);

/*
 * Run the query, as the current user and with the current search_path, and hand every embedding of
 * its only column to `row`, in the caller's memory context. It may only read (readonly.h).
 *
 * Rows whose embedding is null are skipped and counted in a NOTICE; no other row at all is an
 * error. Errors about a row have its number in their context.
 */
extern void SourceScan(const Source *source, SourceRow row, void *ctx);

/*
 * SemtokReportStatus for rows that were read before: an error that core puts down to one of them,
 * err->row < n, has its number in its context. err->row is SIZE_MAX or so where core names none.
 *
 *   numbers  [n]  the rows' in the query that came as `argument`
 */
pg_noreturn extern void SourceReportStatus(stk_status status, const stk_error *err,
										   const char *failed, const char *argument,
										   const int64 *numbers, size_t n);

#endif
