/*
 * Embeddings are real[]: one dimension, no NULLs, every value finite.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"

#include "core/kernel.h"
#include "guc.h"
#include "types/bridge.h"
#include "types/codebook.h"

/* Say what is wrong with an array that is no embedding of these dimensions. */
pg_noreturn static void
EmbeddingRefuse(ArrayType *a, int expected_dim)
{
	const float *values = (const float *) ARR_DATA_PTR(a);
	int n = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
	int i = 0;

	if (ARR_NDIM(a) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("expected an array of one dimension, not %d", ARR_NDIM(a))));
	if (expected_dim > 0 && n != expected_dim)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected %d dimensions, not %d", expected_dim, n)));
	if (n < 1 || n > STK_MAX_DIM)
		ereport(ERROR,
				(errcode(n < 1 ? ERRCODE_INVALID_PARAMETER_VALUE : ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("expected 1 to %d dimensions, not %d", STK_MAX_DIM, n)));
	if (array_contains_nulls(a))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("a value of an embedding must not be null")));
	while (isfinite(values[i]))
		i++;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("value %d of the embedding is %s", i + 1,
						   isnan(values[i]) ? "NaN" : "infinite")));
}

/* Its values, or NULL where it is none of these dimensions. */
static const float *
EmbeddingValues(ArrayType *a, int expected_dim, int *dim)
{
	const float *values = (const float *) ARR_DATA_PTR(a);
	int n = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));

	Assert(ARR_ELEMTYPE(a) == FLOAT4OID);
	if (ARR_NDIM(a) > 1 || n < 1 || n > STK_MAX_DIM || (expected_dim > 0 && n != expected_dim) ||
		array_contains_nulls(a) ||
		!SemtokCpu((stk_simd) semtok_simd, NULL)->reference->finite(values, n))
		return NULL;
	*dim = n;
	return values;
}

const float *
EmbeddingArg(Datum array, int expected_dim, int *dim)
{
	ArrayType *a = DatumGetArrayTypeP(array);
	const float *values = EmbeddingValues(a, expected_dim, dim);

	if (!values)
		EmbeddingRefuse(a, expected_dim);
	return values;
}

const float *
EmbeddingTry(Datum array, int expected_dim, int *dim)
{
	return EmbeddingValues(DatumGetArrayTypeP(array), expected_dim, dim);
}

bool
EmbeddingIsZero(const float *x, int dim)
{
	for (int i = 0; i < dim; i++)
		if (x[i] != 0.0f)
			return false;
	return true;
}

ArrayType *
EmbeddingArrayMake(int dim)
{
	Size bytes = ARR_OVERHEAD_NONULLS(1) + sizeof(float) * (Size) dim;
	ArrayType *a = palloc(bytes);

	SET_VARSIZE(a, bytes);
	a->ndim = 1;
	a->dataoffset = 0;
	a->elemtype = FLOAT4OID;
	ARR_DIMS(a)[0] = dim;
	ARR_LBOUND(a)[0] = 1;
	return a;
}

ArrayType *
EmbeddingArray(const float *values, int dim)
{
	ArrayType *a = EmbeddingArrayMake(dim);

	memcpy(ARR_DATA_PTR(a), values, sizeof(float) * (Size) dim);
	return a;
}
