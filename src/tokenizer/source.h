/*
 * Reading embeddings from a query of the caller.
 */
#ifndef SEMTOK_SOURCE_H
#define SEMTOK_SOURCE_H

#include "postgres.h"

#include "compat.h"
#include "core/codebook.h"

/* Which rows are enough: those that semtok.sample_candidate (sample_candidate.c) lets pass. */
typedef struct SourceFilter
{
	uint64 seed;
	uint64 bar;
} SourceFilter;

/* A query of embeddings, and what is asked of it. */
typedef struct Source
{
	const char *query;
	const char *argument; /* the argument or option it came as, for messages: "source" */
	const char *what;     /* whom it is read for, for the NOTICE that tells how far it is */
	int dim;              /* dimensions that every row must have; 0 = those of the first row */
	stk_metric metric;    /* cosine refuses zero vectors */
	bool keyed;           /* a column of keys, of any type, may come before the embeddings */
	bool all_rows;        /* rows without an embedding are wanted too, and no row is no error */
	/*
	 * Told before the rows how many there will be, about: what the table's statistics say, where
	 * the query reads a whole table and nothing else, or 0. If true, some of the rows are enough,
	 * which parallel workers may choose. May be NULL.
	 */
	bool (*expect)(void *ctx, double rows, SourceFilter *filter);
	/*
	 * Asked after the rows: is the query to be read again? It is, without an answer, where `anew`
	 * says that the rows so far do not count. Comes with expect.
	 */
	bool (*again)(void *ctx, bool anew);
} Source;

/* A row; what it points to is good only during the call. */
typedef struct SourceItem
{
	int64 number;   /* from 1; 0 = not known, as rows were left out */
	const float *x; /* [dim], finite; NULL = the embedding is null, with all_rows only */
	int dim;
	const text *key; /* NULL = null, or there is no such column */
} SourceItem;

typedef void (*SourceRow)(void *ctx, const SourceItem *item);

/*
 * Refuse what is not one SELECT (or VALUES, TABLE) of one column, or of two where the source may be
 * keyed, before any of it is run. The column of embeddings, the last, may be of any type with a
 * cast to real[].
 */
extern void SourceCheck(const Source *source);

/*
 * Run the query, as the current user and with the current search_path, and hand its rows to `row`,
 * in the caller's memory context and, unless some are enough, in their order. It may only read
 * (readonly.h).
 *
 * Rows whose embedding is null are skipped and counted in a NOTICE, and no other row at all is an
 * error, unless all rows are wanted. Errors about a row's embedding have its number in their
 * context; what `row` raises has not, as it may be about a row before.
 */
extern void SourceScan(const Source *source, SourceRow row, void *ctx);

/* Which row an error is about. */
typedef struct SourcePlace
{
	const char *argument;
	int64 number;
	ErrorContextCallback callback;
} SourcePlace;

/* Push an error context that names a row of the query that came as `argument`; place is filled. */
extern void SourcePushPlace(SourcePlace *place, const char *argument, int64 number);

/*
 * SemtokReportStatus for rows that were read before: an error that core puts down to one of them,
 * err->row < n, has its number in its context. err->row is SIZE_MAX or so where core names none.
 *
 *   numbers  [n]  the rows' in the query that came as `argument`; 0 = not known
 */
pg_noreturn extern void SourceReportStatus(stk_status status, const stk_error *err,
										   const char *failed, const char *argument,
										   const int64 *numbers, size_t n);

#endif
