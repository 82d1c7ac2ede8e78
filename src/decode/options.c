#include "postgres.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "decode/options.h"
#include "tokenizer/args.h"
#include "types/bridge.h"
#include "types/semset.h"

#define MAX_PER_PREFIX "max_per_prefix"

static const char *const sampler_names[] = {
	[STK_SAMPLER_GUMBEL] = "gumbel", [STK_SAMPLER_RECTOKENS] = "rectokens"};

static void
read_k(FunctionCallInfo fcinfo, int argno, DecodeOptions *options)
{
	ArgRequire(fcinfo, argno, "k");
	options->k = PG_GETARG_INT32(argno);
	if (options->k < 1 || options->k > STK_MAX_BEAM)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("k must be between 1 and %d, not %d", STK_MAX_BEAM, options->k)));
}

/* Less than k prefixes could not give k results; a best-first search keeps no beam. */
static void
read_beam_size(FunctionCallInfo fcinfo, int argno, DecodeOptions *options)
{
	int least = options->core.exact ? 1 : Max(options->k, 1);
	int32 beam_size;

	ArgRequire(fcinfo, argno, "beam_size");
	beam_size = PG_GETARG_INT32(argno);
	if (beam_size < least || beam_size > STK_MAX_BEAM)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("beam_size must be between %s%d and %d, not %d",
							   least == options->k && least > 1 ? "k = " : "", least, STK_MAX_BEAM,
							   beam_size)));
	options->core.beam_size = beam_size;
}

static void
read_temperature(FunctionCallInfo fcinfo, int argno, DecodeOptions *options)
{
	ArgRequire(fcinfo, argno, "temperature");
	options->core.temperature = PG_GETARG_FLOAT8(argno) + 0.0; /* -0 is 0 */
}

/* Without a seed nothing is repeatable: any will do, and none is needed where nothing is drawn. */
static void
read_seed(FunctionCallInfo fcinfo, int argno, DecodeOptions *options)
{
	options->seed_given = argno > 0 && !PG_ARGISNULL(argno);
	if (options->seed_given)
		options->core.seed = (uint64) PG_GETARG_INT64(argno);
	else if (options->core.temperature > 0 &&
			 !pg_strong_random(&options->core.seed, sizeof(options->core.seed)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate a random seed")));
}

static void
read_top_p(FunctionCallInfo fcinfo, int argno, DecodeOptions *options)
{
	double top_p = PG_GETARG_FLOAT8(argno);

	if (!(top_p > 0 && top_p <= 1))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("top_p must be greater than 0 and at most 1")));
	options->core.top_p = top_p;
}

static void
read_norm(FunctionCallInfo fcinfo, int argno, DecodeOptions *options)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(argno));

	if (stk_norm_parse(name, &options->core.norm) != STK_OK)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected norm full, none or masked, not \"%s\"", name)));
	options->norm_given = true;
}

static void
read_length_penalty(FunctionCallInfo fcinfo, int argno, DecodeOptions *options)
{
	double penalty;

	ArgRequire(fcinfo, argno, "length_penalty");
	penalty = PG_GETARG_FLOAT8(argno);
	if (isnan(penalty) || isinf(penalty))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("length_penalty must be finite")));
	options->core.length_penalty = penalty + 0.0;
}

static void
read_sampler(FunctionCallInfo fcinfo, int argno, DecodeOptions *options)
{
	char *name = ArgText(fcinfo, argno, "sampler");

	for (int i = 0; i < lengthof(sampler_names); i++)
	{
		if (strcmp(sampler_names[i], name) == 0)
		{
			options->core.sampler = (stk_sampler) i;
			return;
		}
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("expected sampler gumbel or rectokens, not \"%s\"", name)));
}

static void
read_candidates(FunctionCallInfo fcinfo, int argno, DecodeOptions *options)
{
	int32 candidates = ArgInt(fcinfo, argno, "candidates", 1, STK_MAX_CODES);

	if (options->core.sampler != STK_SAMPLER_RECTOKENS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("candidates is for sampler rectokens, not %s",
							   sampler_names[options->core.sampler])));
	options->core.candidates = candidates;
}

/* The levels that a key of max_per_prefix names, written as PostgreSQL writes an int. */
static int
prefix_levels(const JsonbValue *key)
{
	char *name = pnstrdup(key->val.string.val, key->val.string.len);
	int levels = 0;

	for (const char *c = name; *c >= '0' && *c <= '9' && levels <= STK_MAX_LEVELS; c++)
		levels = levels * 10 + (*c - '0');
	if (levels < 1 || levels > STK_MAX_LEVELS || strcmp(name, psprintf("%d", levels)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expected \"1\" to \"%d\" as a key of " MAX_PER_PREFIX ", not \"%s\"",
						STK_MAX_LEVELS, name),
				 errdetail("A key is the number of codes of a prefix.")));
	return levels;
}

static int64
prefix_limit(int levels, const JsonbValue *value)
{
	double number = value->type == jbvNumeric
						? DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
															 NumericGetDatum(value->val.numeric)))
						: 0;

	/* More than there can be results is as good as any. */
	if (number >= 1 && number == floor(number))
		return (int64) Min(number, (double) PG_INT32_MAX);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("expected a whole number of 1 or more as \"%d\" of " MAX_PER_PREFIX, levels)));
}

/* '{"1": 3}': at most 3 results that begin with the same code. */
static void
read_max_per_prefix(FunctionCallInfo fcinfo, int argno, DecodeOptions *options)
{
	Jsonb *limits = PG_GETARG_JSONB_P(argno);
	JsonbIterator *it;
	JsonbValue key;
	JsonbValue value;

	if (!JB_ROOT_IS_OBJECT(limits))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected a JSON object as " MAX_PER_PREFIX)));
	it = JsonbIteratorInit(&limits->root);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		int levels = prefix_levels(&key);

		(void) JsonbIteratorNext(&it, &value, true);
		options->core.per_prefix[levels] = prefix_limit(levels, &value);
	}
}

/* A set, or NULL: there is none. */
static const stk_semset *
set_argument(FunctionCallInfo fcinfo, int argno)
{
	return argno == 0 || PG_ARGISNULL(argno)
			   ? NULL
			   : SemsetView(PG_GETARG_DATUM(argno), CurrentMemoryContext);
}

void
DecodeOptionsRead(FunctionCallInfo fcinfo, const DecodeArgs *args, DecodeOptions *options)
{
#define GIVEN(argument) (args->argument > 0 && !PG_ARGISNULL(args->argument))
	stk_error err = {.level = -1};
	stk_status status;

	*options = (DecodeOptions){0};
	stk_decode_defaults(&options->core);
	if (args->exact > 0)
	{
		ArgRequire(fcinfo, args->exact, "exact");
		options->core.exact = PG_GETARG_BOOL(args->exact);
	}
	if (args->k > 0)
		read_k(fcinfo, args->k, options);
	if (args->beam_size > 0)
		read_beam_size(fcinfo, args->beam_size, options);
	if (args->temperature > 0)
		read_temperature(fcinfo, args->temperature, options);
	read_seed(fcinfo, args->seed, options);
	if (GIVEN(top_k))
		options->core.top_k = ArgInt(fcinfo, args->top_k, "top_k", 1, PG_INT32_MAX);
	if (GIVEN(top_p))
		read_top_p(fcinfo, args->top_p, options);
	if (GIVEN(norm))
		read_norm(fcinfo, args->norm, options);
	if (args->length_penalty > 0)
		read_length_penalty(fcinfo, args->length_penalty, options);
	if (GIVEN(max_per_prefix))
		read_max_per_prefix(fcinfo, args->max_per_prefix, options);
	if (args->sampler > 0)
		read_sampler(fcinfo, args->sampler, options);
	if (GIVEN(candidates))
		read_candidates(fcinfo, args->candidates, options);
	options->within = set_argument(fcinfo, args->within);
	options->exclude = set_argument(fcinfo, args->exclude);
	status = stk_decode_check(&options->core, &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not decode");
#undef GIVEN
}
