/*
 * The argument `options` of the training verbs: a JSON object, read strictly.
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "lib/stringinfo.h"
#include "tokenizer/train_options.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#define TRAIN_ALL (TRAIN_LLOYD | TRAIN_BATCHES | TRAIN_EMA)
#define TRAIN_ANY (TRAIN_ALL | TRAIN_FIT)

static const char *const empty_names[] = {
	[STK_EMPTY_KEEP] = "keep", [STK_EMPTY_SPLIT] = "split", [STK_EMPTY_FARTHEST] = "farthest"};

static const char *
JsonTypeName(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return "null";
		case jbvString:
			return "a string";
		case jbvNumeric:
			return "a number";
		case jbvBool:
			return "a boolean";
		default:
			return "an array or object";
	}
}

static void
OptionRefuse(const char *name, const char *expected, const char *value)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("expected %s as option \"%s\", not %s", expected, name, value)));
}

/* As a float8; one that is too large for it becomes infinite. */
static double
OptionDouble(const char *name, const JsonbValue *value)
{
	if (value->type != jbvNumeric)
		OptionRefuse(name, "a number", JsonTypeName(value));
	return DatumGetFloat8(
		DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
}

static int
OptionInt(const char *name, const JsonbValue *value, int min, int max)
{
	double number = OptionDouble(name, value);

	if (!(number >= min && number <= max) || number != floor(number))
		OptionRefuse(name, psprintf("a whole number from %d to %d", min, max),
					 numeric_normalize(value->val.numeric));
	return (int) number;
}

static void
ReadRefine(const char *name, const JsonbValue *value, TrainOptions *to)
{
	to->refine = OptionInt(name, value, 0, STK_TRAIN_MAX_ROUNDS);
}

static void
ReadBeam(const char *name, const JsonbValue *value, TrainOptions *to)
{
	to->beam = OptionInt(name, value, 1, ENCODE_MAX_BEAM);
}

static void
ReadBalance(const char *name, const JsonbValue *value, TrainOptions *to)
{
	to->balance = OptionDouble(name, value);
	if (!(to->balance >= 1 && to->balance <= STK_MAX_CODES))
		OptionRefuse(name, psprintf("a number from 1 to %d", STK_MAX_CODES),
					 numeric_normalize(value->val.numeric));
}

static void
ReadEmpty(const char *name, const JsonbValue *value, TrainOptions *to)
{
	if (value->type != jbvString)
		OptionRefuse(name, "a string", JsonTypeName(value));
	for (int i = 0; i < lengthof(empty_names); i++)
	{
		if (value->val.string.len == strlen(empty_names[i]) &&
			memcmp(value->val.string.val, empty_names[i], value->val.string.len) == 0)
		{
			to->empty = (stk_empty) i;
			return;
		}
	}
	OptionRefuse(name, "keep, split or farthest",
				 psprintf("\"%.*s\"", value->val.string.len, value->val.string.val));
}

static void
ReadDecay(const char *name, const JsonbValue *value, TrainOptions *to)
{
	to->decay = OptionDouble(name, value);
	if (!(to->decay >= 0 && to->decay < 1))
		OptionRefuse(name, "a number from 0 to less than 1", numeric_normalize(value->val.numeric));
}

static void
ReadRestartAfter(const char *name, const JsonbValue *value, TrainOptions *to)
{
	to->restart_after = (uint32_t) OptionInt(name, value, 0, PG_INT32_MAX);
}

static void
ReadEvalSource(const char *name, const JsonbValue *value, TrainOptions *to)
{
	if (value->type != jbvString)
		OptionRefuse(name, "a query", JsonTypeName(value));
	to->eval_source = pnstrdup(value->val.string.val, value->val.string.len);
}

static void
ReadEvalEvery(const char *name, const JsonbValue *value, TrainOptions *to)
{
	to->eval_every = OptionInt(name, value, 1, PG_INT32_MAX);
}

typedef struct KnownOption
{
	const char *name;
	int ways;
	void (*read)(const char *name, const JsonbValue *value, TrainOptions *to);
} KnownOption;

static const KnownOption known_options[] = {{"refine", TRAIN_ALL, ReadRefine},
											{"beam", TRAIN_ANY, ReadBeam},
											{"balance", TRAIN_LLOYD, ReadBalance},
											{"empty", TRAIN_LLOYD, ReadEmpty},
											{"decay", TRAIN_EMA, ReadDecay},
											{"restart_after", TRAIN_EMA, ReadRestartAfter},
											{"eval_source", TRAIN_ANY, ReadEvalSource},
											{"eval_every", TRAIN_ANY, ReadEvalEvery}};

static const char *
WayName(TrainWay way)
{
	switch (way)
	{
		case TRAIN_LLOYD:
			return "method rqkmeans";
		case TRAIN_BATCHES:
			return "method rqkmeans with a batch_size";
		case TRAIN_EMA:
			return "method ema";
		case TRAIN_FIT:
			return "semtok.partial_fit()";
	}
	return NULL;
}

static char *
WayOptions(TrainWay way)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < lengthof(known_options); i++)
		if (known_options[i].ways & way)
			appendStringInfo(&list, "%s%s", list.len ? ", " : "", known_options[i].name);
	return list.data;
}

static void
ReadOption(const JsonbValue *key, const JsonbValue *value, TrainWay way, TrainOptions *to)
{
	char *name = pnstrdup(key->val.string.val, key->val.string.len);

	for (int i = 0; i < lengthof(known_options); i++)
	{
		const KnownOption *option = &known_options[i];

		if (strcmp(option->name, name) != 0)
			continue;
		if (!(option->ways & way))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("option \"%s\" does not go with %s", name, WayName(way)),
							errhint("Options of %s: %s.", WayName(way), WayOptions(way))));
		option->read(name, value, to);
		return;
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown option \"%s\"", name),
					errhint("Options of %s: %s.", WayName(way), WayOptions(way))));
}

void
TrainOptionsRead(const Jsonb *options, TrainWay way, TrainOptions *to)
{
	*to = (TrainOptions){.decay = 0.99, .restart_after = 20};
	if (options)
	{
		JsonbIterator *it;
		JsonbIteratorToken token;
		JsonbValue key;
		JsonbValue value;

		if (!JB_ROOT_IS_OBJECT(options))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("expected a JSON object as options")));
		it = JsonbIteratorInit(&((Jsonb *) options)->root);
		(void) JsonbIteratorNext(&it, &key, true);
		while ((token = JsonbIteratorNext(&it, &key, true)) == WJB_KEY)
		{
			(void) JsonbIteratorNext(&it, &value, true);
			ReadOption(&key, &value, way, to);
		}
	}
	if (to->refine > 0 && to->balance > 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("options \"refine\" and \"balance\" exclude each other"),
						errdetail("Refinement chooses codes by their error alone.")));
	if (to->eval_every > 0 && !to->eval_source)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"eval_every\" needs \"eval_source\""),
						errhint("It is a query that returns held-out embeddings.")));
}

static char *
FormatDouble(double value)
{
	char *text = palloc(DOUBLE_SHORTEST_DECIMAL_LEN);

	double_to_shortest_decimal_buf(value, text);
	return text;
}

/* Numbers and known words only, so nothing needs escaping. */
char *
TrainOptionsDescribe(const TrainOptions *options, TrainWay way)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, ", \"beam\": %d", options->beam);
	if (way & TRAIN_ALL)
		appendStringInfo(&json, ", \"refine\": %d", options->refine);
	if (way & TRAIN_LLOYD)
		appendStringInfo(&json, ", \"balance\": %s, \"empty\": \"%s\"",
						 options->balance > 0 ? FormatDouble(options->balance) : "null",
						 empty_names[options->empty]);
	if (way & TRAIN_EMA)
		appendStringInfo(&json, ", \"decay\": %s, \"restart_after\": %u",
						 FormatDouble(options->decay), options->restart_after);
	return json.data;
}

/* What TrainDescribe and FitDescribe write beside the options. */
static const char *const described[] = {"epochs", "batch_size", "init", "seed", "sample", "from"};

static void
CheckImportedOption(const JsonbValue *key, const JsonbValue *value, TrainOptions *unused)
{
	char *name = pnstrdup(key->val.string.val, key->val.string.len);

	for (int i = 0; i < lengthof(described); i++)
		if (strcmp(described[i], name) == 0)
			return;
	for (int i = 0; i < lengthof(known_options); i++)
	{
		if (strcmp(known_options[i].name, name) != 0)
			continue;
		if (value->type != jbvNull)
			known_options[i].read(name, value, unused);
		return;
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown option \"%s\"", name),
					errhint("Options of an import are those that semtok.tokenizers shows, of which "
							"beam and refine have an effect.")));
}

void
TrainOptionsCheckImported(const Jsonb *options)
{
	TrainOptions unused;
	JsonbIterator *it;
	JsonbValue key;
	JsonbValue value;

	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected a JSON object as options")));
	it = JsonbIteratorInit(&((Jsonb *) options)->root);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		CheckImportedOption(&key, &value, &unused);
	}
}
