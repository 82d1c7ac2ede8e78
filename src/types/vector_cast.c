/*
 * pgvector's types as embeddings.
 *
 * pgvector casts them to real[] by way of an array of Datums, which costs as much as a third of
 * encoding what it made. Its values are simple, and their form is that of its files: after the
 * length word int16 dimensions, int16 zero, then a float or half for each dimension. So
 * semtok.embedding_of copies them, and the planner puts it in the place of the cast.
 *
 * pgvector need not be there. Its types are told by their input function, a C function of a known
 * name; only superusers make such. A value whose length is not that of its dimensions is refused.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "types/codebook.h"
#include "types/vector_cast.h"

typedef struct VectorType
{
	const char *input; /* C functions: the type's input, and its cast to real[] */
	const char *cast;
	Size width; /* bytes of a value: 4, a float, or 2, a half */
} VectorType;

static const VectorType vector_types[] = {
	{"vector_in", "vector_to_float4", sizeof(float)},
	{"halfvec_in", "halfvec_to_float4", sizeof(uint16)},
};

/* Dimensions and what is unused, after the length word. */
#define VECTOR_HEADER (2 * sizeof(int16))

/* A C function's symbol and library. */
typedef struct CFunction
{
	char *symbol;
	char *library;
} CFunction;

/* False for functions that are not in C, or not strict. */
static bool
CFunctionOf(Oid function, CFunction *f)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	Datum symbol, library;
	bool no_symbol, no_library;
	bool found;

	if (!HeapTupleIsValid(tuple))
		return false;
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	symbol = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &no_symbol);
	library = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_probin, &no_library);
	found = proc->prolang == ClanguageId && proc->proisstrict && !no_symbol && !no_library;
	if (found)
	{
		f->symbol = TextDatumGetCString(symbol);
		f->library = TextDatumGetCString(library);
	}
	ReleaseSysCache(tuple);
	return found;
}

/* Which of pgvector's types this is, or a domain over; NULL for any other. */
static const VectorType *
VectorTypeOf(Oid type, CFunction *input)
{
	Oid function, param;

	if (!OidIsValid(type))
		return NULL;
	getTypeInputInfo(getBaseType(type), &function, &param);
	if (!CFunctionOf(function, input))
		return NULL;
	for (int i = 0; i < lengthof(vector_types); i++)
		if (strcmp(input->symbol, vector_types[i].input) == 0)
			return &vector_types[i];
	return NULL;
}

/* semtok.embedding_of, if the current user may execute it. */
static Oid
EmbeddingOf(void)
{
	static const Oid any = ANYOID;
	Oid function =
		GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("embedding_of"),
						PointerGetDatum(buildoidvector(&any, 1)),
						ObjectIdGetDatum(get_namespace_oid("semtok", true)));

	return OidIsValid(function) && SemtokMayExecute(function) ? function : InvalidOid;
}

bool
VectorCastReads(Oid type)
{
	CFunction input;

	return VectorTypeOf(type, &input) != NULL && OidIsValid(EmbeddingOf());
}

/* What a cast has beside its value; a call by hand might compute them, or pass a null. */
static bool
AreConstants(List *args, int first)
{
	for (int i = first; i < list_length(args); i++)
	{
		const Const *arg = list_nth(args, i);

		if (!IsA(arg, Const) || arg->constisnull)
			return false;
	}
	return true;
}

Node *
VectorCastReplace(Node *expr)
{
	const FuncExpr *cast = (const FuncExpr *) expr;
	const VectorType *type;
	CFunction function, input;
	Oid embedding_of;

	if (!IsA(expr, FuncExpr) || cast->funcresulttype != FLOAT4ARRAYOID || cast->funcretset ||
		cast->args == NIL || !AreConstants(cast->args, 1) || !CFunctionOf(cast->funcid, &function))
		return NULL;
	type = VectorTypeOf(exprType(linitial(cast->args)), &input);
	if (type == NULL || strcmp(function.symbol, type->cast) != 0 ||
		strcmp(function.library, input.library) != 0 || !SemtokMayExecute(cast->funcid))
		return NULL;
	embedding_of = EmbeddingOf();
	if (!OidIsValid(embedding_of))
		return NULL;
	return (Node *) makeFuncExpr(embedding_of, FLOAT4ARRAYOID, list_make1(linitial(cast->args)),
								 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
}

/* Planner support of functions that take embeddings */
PG_FUNCTION_INFO_V1(semtok_embedding_support);
Datum
semtok_embedding_support(PG_FUNCTION_ARGS)
{
	Node *node = (Node *) PG_GETARG_POINTER(0);
	FuncExpr *call = NULL;

	if (IsA(node, SupportRequestSimplify))
	{
		FuncExpr *given = ((SupportRequestSimplify *) node)->fcall;

		for (int i = 0; i < list_length(given->args); i++)
		{
			Node *read = VectorCastReplace(list_nth(given->args, i));

			if (read == NULL)
				continue;
			if (call == NULL)
			{
				/* the planner's own copy is not ours to change */
				call = makeNode(FuncExpr);
				*call = *given;
				call->args = list_copy(given->args);
			}
			lfirst(list_nth_cell(call->args, i)) = read;
		}
	}
	PG_RETURN_POINTER(call);
}

/* IEEE 754 binary16 as binary32, which holds all its values. */
static float
FloatOfHalf(uint16 half)
{
	uint32 sign = (uint32) (half & 0x8000) << 16;
	uint32 exponent = (half >> 10) & 0x1f;
	uint32 fraction = half & 0x3ff;
	uint32 bits;
	float value;

	if (exponent == 0)
	{
		value = (float) fraction * 0x1p-24f;
		memcpy(&bits, &value, sizeof(bits));
	}
	else
		bits = (exponent == 0x1f ? 0xff : exponent + 127 - 15) << 23 | fraction << 13;
	bits |= sign;
	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* Which of its types the argument is, found once for a place in a query. */
static const VectorType *
VectorArg(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		Oid type = get_fn_expr_argtype(fcinfo->flinfo, 0);
		CFunction input;

		fcinfo->flinfo->fn_extra = (void *) VectorTypeOf(type, &input);
		if (fcinfo->flinfo->fn_extra == NULL)
			ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
							errmsg("expected pgvector's vector or halfvec, not %s",
								   format_type_be(type))));
	}
	return fcinfo->flinfo->fn_extra;
}

/* semtok.embedding_of("any"): real[] */
PG_FUNCTION_INFO_V1(semtok_embedding_of);
Datum
semtok_embedding_of(PG_FUNCTION_ARGS)
{
	const VectorType *type = VectorArg(fcinfo);
	struct varlena *v = PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(0));
	const char *data = VARDATA_ANY(v);
	Size size = VARSIZE_ANY_EXHDR(v);
	int16 dim = 0;
	ArrayType *array;
	float *values;

	if (size >= VECTOR_HEADER)
		memcpy(&dim, data, sizeof(dim));
	if (dim < 1 || size != VECTOR_HEADER + (Size) dim * type->width)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("a vector of %d dimensions has %zu bytes", dim, size)));
	data += VECTOR_HEADER;
	array = EmbeddingArrayMake(dim);
	values = (float *) ARR_DATA_PTR(array);
	if (type->width == sizeof(float))
		memcpy(values, data, (Size) dim * sizeof(float));
	else
		for (int i = 0; i < dim; i++)
		{
			uint16 half;

			memcpy(&half, data + (Size) i * sizeof(half), sizeof(half));
			values[i] = FloatOfHalf(half);
		}
	PG_RETURN_ARRAYTYPE_P(array);
}
