/*
 * Reading embeddings from a query of the caller.
 */
#ifndef SEMTOK_SOURCE_H
#define SEMTOK_SOURCE_H

#include "postgres.h"

#include "core/codebook.h"

/* One embedding, [dim] finite values, good only during the call. */
typedef void (*SourceRow)(void *ctx, const float *x, int dim);

/*
 * Run `query`, as the current user and with the current search_path, and hand every embedding of
 * its only column to `row`, in the caller's memory context. The column may be of any type with a
 * cast to real[].
 *
 *   what    whom it is read for, for the NOTICE that says every few seconds how far it is
 *   dim     dimensions that every row must have; 0 = those of the first row
 *   metric  cosine refuses zero vectors
 *
 * Rows whose embedding is null are skipped and counted in a NOTICE; no other row at all is an
 * error. Errors about a row have its number in their context.
 */
extern void SourceScan(const char *query, const char *what, int dim, stk_metric metric,
					   SourceRow row, void *ctx);

#endif
