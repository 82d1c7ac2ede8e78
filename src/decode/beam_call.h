/*
 * A call of a beam search: what is asked, and the answers to its queries.
 */
#ifndef SEMTOK_BEAM_CALL_H
#define SEMTOK_BEAM_CALL_H

#include "postgres.h"

#include "decode/beam.h"

typedef struct BeamCall
{
	ReturnSetInfo *rsinfo;
	DecodeOptions options;
	bool batch; /* rows begin with the query's number */
	Datum query;
	Datum *queries; /* [n_queries]; of a single one, &query */
	bool *nulls;    /* [n_queries]; NULL for a single one */
	int n_queries;
	int next;     /* the query that comes next */
	Items *items; /* NULL for a set */
} BeamCall;

static inline bool
BeamIsNull(const BeamCall *call, int number)
{
	return call->nulls && call->nulls[number];
}

/*
 * A query of the call under the norm asked for, as a datum and a view of it, in the current memory
 * context; NULL has no answer. Raises what the options or the items do not allow.
 */
extern const stk_query *BeamReadQuery(const BeamCall *call, int number, Datum *semquery);
/* Return the rows of one query. */
extern void BeamReturn(const BeamCall *call, int number, const BeamResult *result);
/* Answer one query. STK_OK or STK_ERETRY; then nothing was returned. */
extern stk_status BeamAnswer(const BeamCall *call, const Scope *scope, int number);
/*
 * Most of work_mem is for nodes that several queries see; the searches need the rest. The default
 * holds two levels of 256 codes each.
 */
extern void BeamRememberForCall(const BeamCall *call, Scope *scope);

/* Answer all queries over a set, detoasted: by a worker where that is sooner, else here. */
extern void BeamSearchSet(BeamCall *call, struct varlena *set);

#endif
