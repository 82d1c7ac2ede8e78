/*
 * One step of a beam search, for an application that runs its model itself.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "core/decode.h"
#include "decode/options.h"
#include "decode/scope.h"
#include "decode/scorer.h"
#include "tokenizer/args.h"
#include "types/bridge.h"
#include "types/semid.h"
#include "types/semset.h"
#include "types/sizes.h"

PG_FUNCTION_INFO_V1(semtok_beam_step);
PG_FUNCTION_INFO_V1(semtok_beam_step_set);

static const DecodeArgs args = {.beam_size = 4,
								.temperature = 5,
								.seed = 6,
								.top_k = 7,
								.top_p = 8,
								.norm = 9,
								.within = 13,
								.exclude = 14,
								.sampler = 15,
								.candidates = 16};

/* A beam that the caller hands in. */
typedef struct GivenBeam
{
	int number; /* from 0, in the caller's order */
	int query;
	stk_semid prefix; /* levels 0: the empty one */
} GivenBeam;

typedef struct Step
{
	DecodeOptions options;
	int n;
	GivenBeam *beams; /* [n], those of a query together */
	const float8 *scores;
	const float8 *keys;  /* NULL: none given */
	const float *logits; /* [n][size] in the caller's order */
	uint32 size;
	uint32 tokenizer; /* of all beams; 0 = as the items have it */
	ReturnSetInfo *rsinfo;
} Step;

/* An array argument of one dimension (or empty) without nulls, of as many elements as beams. */
static void *
plain_array(FunctionCallInfo fcinfo, int argno, const char *what, int n)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(argno);
	int total = PlainArray(array, what);

	if (total != n)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("expected as many %s as beams: %d, not %d", what, n, total)));
	return ARR_DATA_PTR(array);
}

/* The same with numbers that must be finite. */
static const float8 *
finite_array(FunctionCallInfo fcinfo, int argno, const char *what, int n)
{
	const float8 *values = plain_array(fcinfo, argno, what, n);

	for (int i = 0; i < n; i++)
		if (!isfinite(values[i]))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("%s must be finite (beam %d)", what, i + 1)));
	return values;
}

/* One tokenizer for all: that of the argument and of every beam that names one. */
static void
agree_on_tokenizer(Step *step, const GivenBeam *beam)
{
	uint32 tokenizer = beam->prefix.tokenizer;

	if (tokenizer == 0)
		return;
	if (step->tokenizer != 0 && step->tokenizer != tokenizer)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected beams of tokenizer %u, not %u (beam %d)", step->tokenizer,
							   tokenizer, beam->number + 1)));
	step->tokenizer = tokenizer;
}

/* By query, then by prefix. */
static int
compare_beams(const void *a, const void *b)
{
	const GivenBeam *x = a;
	const GivenBeam *y = b;
	int levels = Min(x->prefix.levels, y->prefix.levels);

	if (x->query != y->query)
		return x->query < y->query ? -1 : 1;
	for (int l = 0; l < levels; l++)
		if (x->prefix.codes[l] != y->prefix.codes[l])
			return x->prefix.codes[l] < y->prefix.codes[l] ? -1 : 1;
	return x->prefix.levels - y->prefix.levels;
}

/* By query, then as the caller has them: equal scores keep that order. */
static int
compare_numbers(const void *a, const void *b)
{
	const GivenBeam *x = a;
	const GivenBeam *y = b;

	if (x->query != y->query)
		return x->query < y->query ? -1 : 1;
	return x->number - y->number;
}

/* Read the beams, in the order of their queries; a prefix that a query has twice is an error. */
static void
read_beams(FunctionCallInfo fcinfo, Step *step)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(1);
	const int32 *queries;
	Datum *ids;
	bool *nulls;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("expected beams of one dimension, not %d", ARR_NDIM(array))));
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_INT, &ids, &nulls, &step->n);
	queries = PG_ARGISNULL(11) ? NULL : plain_array(fcinfo, 11, "queries", step->n);
	step->beams = palloc_extended(mul_size(Max(step->n, 1), sizeof(GivenBeam)),
								  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < step->n; i++)
	{
		GivenBeam *beam = &step->beams[i];

		beam->number = i;
		beam->query = queries ? queries[i] : 0;
		if (!nulls[i])
			SemidUnpack(DatumGetSemidPP(ids[i]), &beam->prefix);
		agree_on_tokenizer(step, beam);
	}
	qsort(step->beams, step->n, sizeof(GivenBeam), compare_beams);
	for (int i = 1; i < step->n; i++)
		if (compare_beams(&step->beams[i - 1], &step->beams[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("beams %d and %d are the same prefix",
							Min(step->beams[i - 1].number, step->beams[i].number) + 1,
							Max(step->beams[i - 1].number, step->beams[i].number) + 1),
					 errhint("Beams of several queries are told apart by the argument queries.")));
	qsort(step->beams, step->n, sizeof(GivenBeam), compare_numbers);
}

/* Does it draw by keys, which begin with one drawn for the empty prefix? */
static bool
draws_whole_ids(const Step *step)
{
	const stk_decode_options *options = &step->options.core;

	return options->temperature > 0 && options->sampler == STK_SAMPLER_GUMBEL;
}

/* The draws below a prefix depend on the key that was drawn for it. */
static void
require_keys(const Step *step)
{
	if (!draws_whole_ids(step) || step->keys != NULL)
		return;
	for (int i = 0; i < step->n; i++)
		if (step->beams[i].prefix.levels > 0)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("expected keys: sampling goes on from those drawn before"),
							errhint("Hand back the column key of the step before.")));
}

/* Read all arguments; false where one that must be given is null. */
static bool
begin_step(FunctionCallInfo fcinfo, Step *step)
{
	int32 tokenizer = ArgInt(fcinfo, 12, "tokenizer", 0, PG_INT32_MAX);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	DecodeOptionsRead(fcinfo, &args, &step->options);
	if (!step->options.norm_given)
		step->options.core.norm = STK_NORM_MASKED;
	step->tokenizer = (uint32) tokenizer;
	step->rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
		return false;
	read_beams(fcinfo, step);
	step->scores = finite_array(fcinfo, 2, "logprobs", step->n);
	step->keys = PG_ARGISNULL(10) ? NULL : finite_array(fcinfo, 10, "keys", step->n);
	require_keys(step);
	if (step->n == 0)
		return false;
	step->logits = LogitsRows(PG_GETARG_ARRAYTYPE_P(3), step->n, "logits", &step->size);
	return true;
}

/* The root that the beams are below; NULL where there is none. */
static const stk_root *
choose_root(const Scope *scope, const Step *step)
{
	if (step->tokenizer != 0 || scope->n_roots == 0)
		return ScopeRoot(scope, step->tokenizer);
	if (scope->n_roots > 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("items of %s: expected the argument tokenizer to name one",
							   ScopeTokenizers(scope))));
	return &scope->roots[0];
}

static void
emit(const Step *step, const GivenBeam *given, const stk_beam *beam)
{
	Datum values[5];
	bool nulls[5] = {0};

	values[0] = Int32GetDatum(given[beam->parent].number + 1);
	values[1] = SemidMakeDatum(&beam->id);
	values[2] = Float8GetDatum(beam->score);
	values[3] = Float8GetDatum(beam->key);
	values[4] = BoolGetDatum((beam->at.flags & STK_CHILD_ID) != 0);
	tuplestore_putvalues(step->rsinfo->setResult, step->rsinfo->setDesc, values, nulls);
	pfree(DatumGetPointer(values[1]));
}

/* Find a beam among the items; one that is not there leads nowhere. */
static stk_status
find_beam(const Step *step, stk_stepper *stepper, const stk_root *root, const GivenBeam *given,
		  stk_beam *beam)
{
	bool found;
	stk_status status =
		stk_stepper_seek(stepper, root, given->prefix.codes, given->prefix.levels, &found, beam);

	if (status != STK_OK)
		return status;
	if (!found)
		*beam = (stk_beam){.id = given->prefix};
	beam->score = step->scores[given->number];
	if (step->keys != NULL)
		beam->key = step->keys[given->number];
	else if (!draws_whole_ids(step) || given->prefix.levels > 0)
		beam->key = beam->score;
	return STK_OK;
}

/* The rows of logits of n beams, together. */
static const float *
rows_of(const Step *step, const GivenBeam *given, int n)
{
	float *rows;

	if (given[n - 1].number - given[0].number == n - 1)
		return step->logits + (size_t) given[0].number * step->size;
	rows = palloc_extended(mul_size(mul_size(n, step->size), sizeof(float)), MCXT_ALLOC_HUGE);
	for (int i = 0; i < n; i++)
		memcpy(rows + (size_t) i * step->size, step->logits + (size_t) given[i].number * step->size,
			   step->size * sizeof(float));
	return rows;
}

/* Extend the n beams of one query. */
static stk_status
step_query(const Step *step, stk_stepper *stepper, const stk_root *root, const GivenBeam *given,
		   int n)
{
	stk_beam *beams = palloc_extended(mul_size(n, sizeof(stk_beam)), MCXT_ALLOC_HUGE);
	stk_error err = {.level = -1};
	const stk_beam *out;
	size_t n_out;
	stk_status status = STK_OK;

	CHECK_FOR_INTERRUPTS();
	stk_stepper_set_stream(stepper, (uint64) given[0].query);
	for (int i = 0; i < n && status == STK_OK; i++)
		status = find_beam(step, stepper, root, &given[i], &beams[i]);
	if (status == STK_OK)
		status = stk_stepper_step(stepper, beams, n, rows_of(step, given, n), step->size,
								  step->size, &out, &n_out, &err);
	if (status == STK_ERETRY)
		return status;
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not extend the beams");
	for (size_t i = 0; i < n_out; i++)
		emit(step, given, &out[i]);
	return STK_OK;
}

static stk_status
step_scope(const Scope *scope, void *state)
{
	const Step *step = state;
	const stk_root *root = choose_root(scope, step);
	stk_allocator allocator = SemtokAllocator(CurrentMemoryContext);
	stk_error err = {.level = -1};
	stk_stepper *stepper;
	stk_status status;

	tuplestore_clear(step->rsinfo->setResult);
	if (root == NULL)
		return STK_OK;
	status = stk_stepper_create(&stepper, scope->trie, &step->options.core, &allocator, &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not extend the beams");
	for (int first = 0, n; first < step->n && status == STK_OK; first += n)
	{
		for (n = 1; first + n < step->n; n++)
			if (step->beams[first + n].query != step->beams[first].query)
				break;
		status = step_query(step, stepper, root, &step->beams[first], n);
	}
	stk_stepper_free(stepper);
	return status;
}

/*
 * beam_step(items regclass, beams semid[], logprobs float8[], logits real[], beam_size int,
 *           temperature float8, seed bigint, top_k int, top_p float8, norm text, keys float8[],
 *           queries int[], tokenizer int, within semset, exclude semset, sampler text,
 *           candidates int)
 */
Datum
semtok_beam_step(PG_FUNCTION_ARGS)
{
	Step step = {0};

	if (begin_step(fcinfo, &step))
		ScopeOverItems(PG_GETARG_OID(0), "beam_step", step.options.within, step.options.exclude,
					   step_scope, &step);
	PG_RETURN_NULL();
}

/* beam_step_set(items semset, …): the same over a set. */
Datum
semtok_beam_step_set(PG_FUNCTION_ARGS)
{
	Step step = {0};

	if (begin_step(fcinfo, &step))
		ScopeOverSet(SemsetArg(fcinfo, 0), step.options.within, step.options.exclude, step_scope,
					 &step);
	PG_RETURN_NULL();
}
