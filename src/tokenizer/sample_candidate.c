/*
 * semtok.sample_candidate: the rows among which a sample is.
 *
 * It lets pass every row whose hash is at most the bar. It also lets pass whatever may be an error,
 * for the session to see: what is no embedding, zero vectors, and the dimensions that a process
 * meets first and all others. So no error can hide in a row that is left out.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "core/row_hash.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tokenizer/sample_candidate.h"
#include "types/codebook.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "compat.h"

bool
SampleCandidateUsable(void)
{
	static const Oid args[] = {FLOAT4ARRAYOID, INT8OID, INT8OID};
	Oid function =
		GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("sample_candidate"),
						PointerGetDatum(buildoidvector(args, lengthof(args))),
						ObjectIdGetDatum(get_namespace_oid("semtok", true)));

	return OidIsValid(function) && SemtokMayExecute(function);
}

/* The first dimensions of all that this call of the function, in this process, has met. */
static bool
SampleIsOfFirstDim(FmgrInfo *call, int dim)
{
	int *first = call->fn_extra;

	if (first)
		return *first == dim;
	call->fn_extra = first = MemoryContextAlloc(call->fn_mcxt, sizeof(int));
	*first = dim;
	return false;
}

/* semtok.sample_candidate(embedding real[], seed bigint, bar bigint) → boolean */
PG_FUNCTION_INFO_V1(semtok_sample_candidate);
Datum
semtok_sample_candidate(PG_FUNCTION_ARGS)
{
	const float *x;
	int dim;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_BOOL(true);
	x = EmbeddingTry(PG_GETARG_DATUM(0), 0, &dim);
	PG_RETURN_BOOL(!x || !SampleIsOfFirstDim(fcinfo->flinfo, dim) || EmbeddingIsZero(x, dim) ||
				   stk_row_hash(x, dim, (uint64) PG_GETARG_INT64(1)) <=
					   (uint64) PG_GETARG_INT64(2));
}
