/*
 * Equality, hashing and naming by content, for the types whose equal values have equal bytes:
 * codebook and semset.
 */
#include "postgres.h"

#include "types/content.h"

#include "access/detoast.h"
#include "common/cryptohash.h"
#include "common/hashfn.h"
#include "common/sha2.h"
#include "compat.h"
#include "fmgr.h"
#include "miscadmin.h"

#if CONTENT_HASH_LENGTH != PG_SHA256_DIGEST_LENGTH
#error "the hash of a content is its SHA-256"
#endif

/* Interrupts are checked after hashing this many bytes. */
#define HASH_STEP (1024 * 1024)

void
ContentComputeHash(const struct varlena *v, uint8 *hash)
{
	const uint8 *bytes = (const uint8 *) VARDATA(v);
	Size left = VARSIZE(v) - VARHDRSZ;
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);

	if (pg_cryptohash_init(ctx) < 0)
		elog(ERROR, "could not hash a value: %s", pg_cryptohash_error(ctx));
	while (left > 0)
	{
		Size step = Min(left, HASH_STEP);

		CHECK_FOR_INTERRUPTS();
		if (pg_cryptohash_update(ctx, bytes, step) < 0)
			elog(ERROR, "could not hash a value: %s", pg_cryptohash_error(ctx));
		bytes += step;
		left -= step;
	}
	if (pg_cryptohash_final(ctx, hash, CONTENT_HASH_LENGTH) < 0)
		elog(ERROR, "could not hash a value: %s", pg_cryptohash_error(ctx));
	pg_cryptohash_free(ctx);
}

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
