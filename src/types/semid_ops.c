/*
 * semid: order, equality, hashing, "starts with".
 *
 * All of these are leakproof, so nothing here may raise an error on a valid datum: the stored
 * forms are compared as bytes and never taken apart.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/builtins.h"

#include "types/semid.h"

int
SemidCompare(Datum a, Datum b)
{
	struct varlena *va = DatumGetSemidPP(a);
	struct varlena *vb = DatumGetSemidPP(b);
	int c = stk_semid_bytes_cmp(SemidBytes(va), SemidLength(va), SemidBytes(vb), SemidLength(vb));

	if ((Pointer) va != DatumGetPointer(a))
		pfree(va);
	if ((Pointer) vb != DatumGetPointer(b))
		pfree(vb);
	return c;
}

PG_FUNCTION_INFO_V1(semid_eq);
Datum
semid_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(SemidCompare(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) == 0);
}

PG_FUNCTION_INFO_V1(semid_ne);
Datum
semid_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(SemidCompare(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) != 0);
}

PG_FUNCTION_INFO_V1(semid_lt);
Datum
semid_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(SemidCompare(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) < 0);
}

PG_FUNCTION_INFO_V1(semid_le);
Datum
semid_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(SemidCompare(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) <= 0);
}

PG_FUNCTION_INFO_V1(semid_gt);
Datum
semid_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(SemidCompare(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) > 0);
}

PG_FUNCTION_INFO_V1(semid_ge);
Datum
semid_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(SemidCompare(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)) >= 0);
}

PG_FUNCTION_INFO_V1(semid_cmp);
Datum
semid_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(SemidCompare(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)));
}

PG_FUNCTION_INFO_V1(semid_hash);
Datum
semid_hash(PG_FUNCTION_ARGS)
{
	struct varlena *v = PG_GETARG_SEMID_PP(0);
	Datum hash = hash_any(SemidBytes(v), SemidLength(v));

	PG_FREE_IF_COPY(v, 0);
	return hash;
}

PG_FUNCTION_INFO_V1(semid_hash_extended);
Datum
semid_hash_extended(PG_FUNCTION_ARGS)
{
	struct varlena *v = PG_GETARG_SEMID_PP(0);
	Datum hash = hash_any_extended(SemidBytes(v), SemidLength(v), PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(v, 0);
	return hash;
}

/* id ^@ prefix; tokenizer 0 in the prefix stands for every tokenizer. */
PG_FUNCTION_INFO_V1(semid_starts_with);
Datum
semid_starts_with(PG_FUNCTION_ARGS)
{
	struct varlena *id = PG_GETARG_SEMID_PP(0);
	struct varlena *prefix = PG_GETARG_SEMID_PP(1);
	bool result = stk_semid_bytes_starts_with(SemidBytes(id), SemidLength(id), SemidBytes(prefix),
											  SemidLength(prefix));

	PG_FREE_IF_COPY(id, 0);
	PG_FREE_IF_COPY(prefix, 1);
	PG_RETURN_BOOL(result);
}
