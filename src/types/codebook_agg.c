/*
 * codebook_agg(level, code, vector [, metric]): a codebook from its rows, in any order.
 *
 * The state keeps codewords in the order they came, each beside its place; the final function
 * checks that they fill levels 0..L-1 and codes 0..K-1 and puts them there. Partial states are
 * concatenated.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "types/codebook.h"

/* Interrupts are checked after placing this many codewords. */
#define PLACE_STEP 4096

typedef struct Place
{
	uint16 level;
	uint16 code;
} Place;

typedef struct AggState
{
	stk_metric metric;
	int dim;
	Size n;                      /* codewords so far */
	Size capacity;               /* of places and vectors, in codewords */
	Place *places;               /* [n] */
	float *vectors;              /* [n][dim] */
	uint8 *seen[STK_MAX_LEVELS]; /* bit c: code c was given; NULL = none of this level */
	uint32 counts[STK_MAX_LEVELS];
} AggState;

static AggState *
AggCreate(MemoryContext context, stk_metric metric, int dim)
{
	AggState *state = MemoryContextAllocZero(context, sizeof(AggState));

	state->metric = metric;
	state->dim = dim;
	return state;
}

static void
AggReserve(AggState *state, MemoryContext context, Size more)
{
	Size needed = add_size(state->n, more);
	Size capacity = Max(state->capacity, 64);

	if (needed <= state->capacity)
		return;
	while (capacity < needed)
		capacity = mul_size(capacity, 2);
	if (state->capacity == 0)
	{
		state->places = MemoryContextAllocHuge(context, mul_size(capacity, sizeof(Place)));
		state->vectors =
			MemoryContextAllocHuge(context, mul_size(capacity, sizeof(float) * state->dim));
	}
	else
	{
		state->places = repalloc_huge(state->places, mul_size(capacity, sizeof(Place)));
		state->vectors =
			repalloc_huge(state->vectors, mul_size(capacity, sizeof(float) * state->dim));
	}
	state->capacity = capacity;
}

/* Add one codeword; level and code are in range. */
static void
AggAdd(AggState *state, MemoryContext context, int level, int code, const float *vector)
{
	uint8 **seen = &state->seen[level];

	if (*seen == NULL)
		*seen = MemoryContextAllocZero(context, STK_MAX_CODES / 8);
	if ((*seen)[code / 8] & 1 << code % 8)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("code %d of level %d was given twice", code, level)));
	AggReserve(state, context, 1);
	(*seen)[code / 8] |= 1 << code % 8;
	state->counts[level]++;
	state->places[state->n].level = (uint16) level;
	state->places[state->n].code = (uint16) code;
	memcpy(state->vectors + state->n * state->dim, vector, sizeof(float) * state->dim);
	state->n++;
}

static MemoryContext
AggContext(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "codebook_agg called in non-aggregate context");
	return context;
}

PG_FUNCTION_INFO_V1(codebook_agg_transition);
Datum
codebook_agg_transition(PG_FUNCTION_ARGS)
{
	MemoryContext context = AggContext(fcinfo);
	AggState *state = PG_ARGISNULL(0) ? NULL : (AggState *) PG_GETARG_POINTER(0);
	static const char *const names[] = {"", "level", "code", "vector", "metric"};
	stk_metric metric = STK_L2;
	int32 level;
	int32 code;
	const float *vector;
	int dim;

	for (int i = 1; i < PG_NARGS(); i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("%s must not be null", names[i])));
	level = PG_GETARG_INT32(1);
	code = PG_GETARG_INT32(2);
	if (level < 0 || level >= STK_MAX_LEVELS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expected a level between 0 and %d, not %d", STK_MAX_LEVELS - 1, level)));
	if (code < 0 || code > STK_MAX_CODE)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected a code between 0 and %d, not %d", STK_MAX_CODE, code)));
	if (PG_NARGS() > 4)
	{
		char *name = text_to_cstring(PG_GETARG_TEXT_PP(4));

		metric = CodebookParseMetric(name);
		pfree(name);
	}
	vector = EmbeddingArg(PG_GETARG_DATUM(3), state ? state->dim : 0, &dim);
	if (state == NULL)
		state = AggCreate(context, metric, dim);
	if (metric != state->metric)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected metric %s in every row, not %s",
							   stk_metric_name(state->metric), stk_metric_name(metric))));
	AggAdd(state, context, level, code, vector);
	PG_RETURN_POINTER(state);
}

PG_FUNCTION_INFO_V1(codebook_agg_combine);
Datum
codebook_agg_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = AggContext(fcinfo);
	AggState *a = PG_ARGISNULL(0) ? NULL : (AggState *) PG_GETARG_POINTER(0);
	AggState *b = PG_ARGISNULL(1) ? NULL : (AggState *) PG_GETARG_POINTER(1);

	if (b == NULL)
	{
		if (a == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(a);
	}
	if (a == NULL)
		a = AggCreate(context, b->metric, b->dim);
	if (a->dim != b->dim)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected %d dimensions, not %d", a->dim, b->dim)));
	if (a->metric != b->metric)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected metric %s in every row, not %s",
							   stk_metric_name(a->metric), stk_metric_name(b->metric))));
	AggReserve(a, context, b->n);
	for (Size i = 0; i < b->n; i++)
	{
		if (i % PLACE_STEP == 0)
			CHECK_FOR_INTERRUPTS();
		AggAdd(a, context, b->places[i].level, b->places[i].code, b->vectors + i * b->dim);
	}
	PG_RETURN_POINTER(a);
}

/* For another process of this server, so in its own byte order. */
PG_FUNCTION_INFO_V1(codebook_agg_serialize);
Datum
codebook_agg_serialize(PG_FUNCTION_ARGS)
{
	AggState *state = (AggState *) PG_GETARG_POINTER(0);
	Size vectors = mul_size(state->n, sizeof(float) * state->dim);
	Size places = mul_size(state->n, sizeof(Place));
	Size bytes = add_size(add_size(vectors, places), VARHDRSZ + 2 * sizeof(int32));
	int32 head[2] = {(int32) state->metric, state->dim};
	bytea *out;
	char *p;

	AggContext(fcinfo);
	if (!AllocSizeIsValid(bytes))
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("a codebook cannot be larger than %zu bytes", (Size) MaxAllocSize)));
	out = palloc(bytes);
	SET_VARSIZE(out, bytes);
	p = VARDATA(out);
	memcpy(p, head, sizeof(head));
	p += sizeof(head);
	memcpy(p, state->places, places);
	memcpy(p + places, state->vectors, vectors);
	PG_RETURN_BYTEA_P(out);
}

PG_FUNCTION_INFO_V1(codebook_agg_deserialize);
Datum
codebook_agg_deserialize(PG_FUNCTION_ARGS)
{
	bytea *in = PG_GETARG_BYTEA_PP(0);
	const char *p = VARDATA_ANY(in);
	int32 head[2];
	AggState *state;
	Size n;

	AggContext(fcinfo);
	memcpy(head, p, sizeof(head));
	p += sizeof(head);
	state = AggCreate(CurrentMemoryContext, (stk_metric) head[0], head[1]);
	n = (VARSIZE_ANY_EXHDR(in) - sizeof(head)) / (sizeof(Place) + sizeof(float) * state->dim);
	AggReserve(state, CurrentMemoryContext, n);
	/* The combine function alone reads this state, so seen and counts are not needed. */
	memcpy(state->places, p, n * sizeof(Place));
	memcpy(state->vectors, p + n * sizeof(Place), n * sizeof(float) * state->dim);
	state->n = n;
	PG_RETURN_POINTER(state);
}

/* Sizes of the levels; holes are errors. Returns the number of levels. */
static int
AggSizes(const AggState *state, uint32 *sizes)
{
	int levels = STK_MAX_LEVELS;

	while (levels > 0 && state->counts[levels - 1] == 0)
		levels--;
	for (int l = 0; l < levels; l++)
	{
		uint32 first = 0;

		if (state->counts[l] == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("level %d is missing", l),
					 errdetail("There are rows of level %d.", levels - 1)));
		while (first < STK_MAX_CODES && state->seen[l][first / 8] & 1 << first % 8)
			first++;
		if (first < state->counts[l])
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("code %u of level %d is missing", first, l)));
		sizes[l] = state->counts[l];
	}
	return levels;
}

PG_FUNCTION_INFO_V1(codebook_agg_final);
Datum
codebook_agg_final(PG_FUNCTION_ARGS)
{
	AggState *state;
	uint32 sizes[STK_MAX_LEVELS] = {0};
	Size first[STK_MAX_LEVELS] = {0}; /* row of a level's first codeword */
	int levels;
	float *out;
	stk_codebook shape;
	struct varlena *v;

	AggContext(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	state = (AggState *) PG_GETARG_POINTER(0);
	levels = AggSizes(state, sizes);
	for (int l = 1; l < levels; l++)
		first[l] = first[l - 1] + sizes[l - 1];
	shape = CodebookShape(state->metric, levels, sizes, state->dim);
	v = CodebookAllocate(&shape, &out);
	for (Size i = 0; i < state->n; i++)
	{
		Size row = first[state->places[i].level] + state->places[i].code;

		if (i % PLACE_STEP == 0)
			CHECK_FOR_INTERRUPTS();
		memcpy(out + row * state->dim, state->vectors + i * state->dim, sizeof(float) * state->dim);
	}
	PG_RETURN_POINTER(v);
}
