/*
 * Beam searches in a set, one query after the other, in pieces of which several are on their way to
 * a worker at once. What a worker does not answer is the caller's to search for.
 */
#ifndef SEMTOK_SEARCH_PIPE_H
#define SEMTOK_SEARCH_PIPE_H

#include "postgres.h"

#include "engine/search_batch.h"

typedef struct SearchPipe SearchPipe;

/*
 * A query has its answer: number `query` of the batch, whose arrays are filled. NULL: it has none,
 * and the caller searches. In the order in which queries were added.
 */
typedef void (*SearchPipeTake)(void *ctx, int tag, const stk_search_batch *batch, size_t query);

typedef struct SearchPipeOptions
{
	const struct varlena *datum; /* the set, detoasted, as long as the pipe */
	const stk_semset *set;       /* a view of it */
	stk_search_batch shape;      /* its numbers but n and width */
	size_t queries;              /* about so many will come */
	SearchPipeTake take;
	void *ctx;
} SearchPipeOptions;

/*
 * A pipe in the current memory context, or NULL where the session is to search: by semtok.offload,
 * semtok.device and how much there is to do.
 */
extern SearchPipe *SearchPipeBegin(const SearchPipeOptions *options);
/* Add a query by its terms, which are copied. May call take for those added before. */
extern void SearchPipeAdd(SearchPipe *pipe, const void *terms, int tag);
/* Have all queries taken. More may be added then. */
extern void SearchPipeFlush(SearchPipe *pipe);
/* Let go; all have been taken. */
extern void SearchPipeEnd(SearchPipe *pipe);

#endif
