/*
 * Equality and hashing by content, for the types whose equal values have equal bytes: codebook
 * and semset.
 */
#include "postgres.h"

#include "compat.h"

#include "access/detoast.h"
#include "common/hashfn.h"
#include "fmgr.h"

static bool
ContentEqual(FunctionCallInfo fcinfo)
{
	struct varlena *a;
	struct varlena *b;
	bool equal;

	if (toast_raw_datum_size(PG_GETARG_DATUM(0)) != toast_raw_datum_size(PG_GETARG_DATUM(1)))
		return false;
	a = PG_GETARG_VARLENA_PP(0);
	b = PG_GETARG_VARLENA_PP(1);
	equal = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return equal;
}

PG_FUNCTION_INFO_V1(content_eq);
Datum
content_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(ContentEqual(fcinfo));
}

PG_FUNCTION_INFO_V1(content_ne);
Datum
content_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!ContentEqual(fcinfo));
}

PG_FUNCTION_INFO_V1(content_hash);
Datum
content_hash(PG_FUNCTION_ARGS)
{
	struct varlena *v = PG_GETARG_VARLENA_PP(0);
	Datum hash = hash_any((const uint8 *) VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v));

	PG_FREE_IF_COPY(v, 0);
	return hash;
}

PG_FUNCTION_INFO_V1(content_hash_extended);
Datum
content_hash_extended(PG_FUNCTION_ARGS)
{
	struct varlena *v = PG_GETARG_VARLENA_PP(0);
	Datum hash =
		hash_any_extended((const uint8 *) VARDATA_ANY(v), VARSIZE_ANY_EXHDR(v), PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(v, 0);
	return hash;
}
