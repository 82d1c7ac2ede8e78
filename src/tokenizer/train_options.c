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

/* Of every method, and of partial_fit. */
static const stk_option common_options[] = {{.name = "beam",
											 .kind = STK_OPTION_WHOLE,
											 .at = offsetof(stk_train_plan, beam),
											 .least = 1,
											 .most = ENCODE_MAX_BEAM},
											{.name = "eval_every",
											 .kind = STK_OPTION_WHOLE,
											 .at = offsetof(stk_train_plan, eval_every),
											 .least = 1,
											 .most = PG_INT32_MAX}};

/* Of methods with a state, and of partial_fit for them. */
static const stk_option state_options[] = {{.name = "checkpoint_every",
											.kind = STK_OPTION_WHOLE,
											.at = offsetof(stk_train_plan, checkpoint_every),
											.least = 1,
											.most = STK_TRAIN_MAX_EPOCHS}};

stk_train_method
TrainMethodByName(const char *name)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int m = 0; m < STK_TRAIN_METHODS; m++)
	{
		const char *known = stk_method_of((stk_train_method) m)->name;

		if (strcmp(known, name) == 0)
			return (stk_train_method) m;
		appendStringInfo(&list, "%s%s", m > 0 ? ", " : "", known);
	}
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unknown training method \"%s\"", name),
					errhint("Methods of this version: %s.", list.data)));
}

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

static void
OptionWhole(const stk_option *option, const JsonbValue *value, void *to)
{
	double number = OptionDouble(option->name, value);
	int whole;

	if (!(number >= option->least && number <= option->most) || number != floor(number))
		OptionRefuse(
			option->name,
			psprintf("a whole number from %d to %d", (int) option->least, (int) option->most),
			numeric_normalize(value->val.numeric));
	whole = (int) number;
	memcpy(to, &whole, sizeof(whole));
}

static void
OptionReal(const stk_option *option, const JsonbValue *value, void *to)
{
	double number = OptionDouble(option->name, value);

	if (!(number >= option->least && number <= option->most) ||
		(option->above && number == option->least) || (option->below && number == option->most))
		OptionRefuse(option->name,
					 psprintf("a number from %s%g to %s%g", option->above ? "more than " : "",
							  option->least, option->below ? "less than " : "", option->most),
					 numeric_normalize(value->val.numeric));
	memcpy(to, &number, sizeof(number));
}

/* "keep, split or farthest" */
static char *
OptionWords(const char *const *words, int n)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < n; i++)
		appendStringInfo(&list, "%s%s", i == 0 ? "" : i + 1 == n ? " or " : ", ", words[i]);
	return list.data;
}

/* The place of a string among words. */
static int
OptionPick(const char *name, const JsonbValue *value, const char *const *words, int n)
{
	if (value->type != jbvString)
		OptionRefuse(name, "a string", JsonTypeName(value));
	for (int i = 0; i < n; i++)
		if (value->val.string.len == strlen(words[i]) &&
			memcmp(value->val.string.val, words[i], value->val.string.len) == 0)
			return i;
	OptionRefuse(name, OptionWords(words, n),
				 psprintf("\"%.*s\"", value->val.string.len, value->val.string.val));
	return 0;
}

static bool
OptionFlag(const char *name, const JsonbValue *value)
{
	if (value->type != jbvBool)
		OptionRefuse(name, "a boolean", JsonTypeName(value));
	return value->val.boolean;
}

/* Whole numbers, to the plan's array and the number of them. */
static void
OptionList(const stk_option *option, const JsonbValue *value, stk_train_plan *plan)
{
	uint32_t *to = (uint32_t *) ((char *) plan + option->at);
	int *count = (int *) ((char *) plan + option->count_at);
	JsonbIterator *it;
	JsonbValue member;
	int n = 0;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data) ||
		JsonContainerIsScalar(value->val.binary.data))
		OptionRefuse(option->name, "an array of whole numbers", JsonTypeName(value));
	if (JsonContainerSize(value->val.binary.data) > option->nwords)
		OptionRefuse(option->name, psprintf("at most %d numbers", option->nwords),
					 psprintf("%u", JsonContainerSize(value->val.binary.data)));
	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &member, true);
	while (JsonbIteratorNext(&it, &member, true) == WJB_ELEM)
		OptionWhole(option, &member, &to[n++]);
	*count = n;
}

static void
OptionRead(const stk_option *option, const JsonbValue *value, stk_train_plan *plan)
{
	void *to = (char *) plan + option->at;
	int word;
	bool flag;

	switch (option->kind)
	{
		case STK_OPTION_WHOLE:
			OptionWhole(option, value, to);
			break;
		case STK_OPTION_REAL:
			OptionReal(option, value, to);
			break;
		case STK_OPTION_WORD:
			word = OptionPick(option->name, value, option->words, option->nwords);
			memcpy(to, &word, sizeof(word));
			break;
		case STK_OPTION_FLAG:
			flag = OptionFlag(option->name, value);
			memcpy(to, &flag, sizeof(flag));
			break;
		case STK_OPTION_LIST:
			OptionList(option, value, plan);
			break;
	}
}

static void
OptionReadSource(const char *name, const JsonbValue *value, TrainOptions *to)
{
	if (value->type != jbvString)
		OptionRefuse(name, "a query", JsonTypeName(value));
	to->eval_source = pnstrdup(value->val.string.val, value->val.string.len);
}

static const stk_option *
OptionFind(const stk_option *options, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(options[i].name, name) == 0)
			return &options[i];
	return NULL;
}

/* Of any method; NULL: of none. */
static const stk_option *
OptionFindAnywhere(const char *name)
{
	const stk_option *option = OptionFind(common_options, lengthof(common_options), name);

	if (!option)
		option = OptionFind(state_options, lengthof(state_options), name);
	for (int m = 0; m < STK_TRAIN_METHODS && !option; m++)
	{
		const stk_method *method = stk_method_of((stk_train_method) m);

		option = OptionFind(method->options, method->noptions, name);
	}
	return option;
}

/* Those that are no members of a plan. */
static const char *const other_options[] = {"eval_source", "preset", "resume"};

static bool
OptionIsOther(const char *name)
{
	for (int i = 0; i < lengthof(other_options); i++)
		if (strcmp(other_options[i], name) == 0)
			return true;
	return false;
}

static bool
OptionGoes(const stk_option *option, const stk_train_plan *plan, const TrainOptions *to)
{
	return !to->fit && !(option->all_rows && plan->batch_size > 0);
}

/* What the options are of, for messages. */
static const char *
OptionsOwner(const stk_train_plan *plan, const TrainOptions *to)
{
	const stk_method *method = stk_method_of(plan->method);

	if (to->fit)
		return "semtok.partial_fit()";
	for (int i = 0; i < method->noptions; i++)
		if (!OptionGoes(&method->options[i], plan, to))
			return psprintf("method %s with a batch_size", method->name);
	return psprintf("method %s", method->name);
}

static char *
OptionsList(const stk_train_plan *plan, const TrainOptions *to)
{
	const stk_method *method = stk_method_of(plan->method);
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < method->noptions; i++)
		if (OptionGoes(&method->options[i], plan, to))
			appendStringInfo(&list, "%s, ", method->options[i].name);
	if (method->presets && !to->fit)
		appendStringInfoString(&list, "preset, ");
	for (int i = 0; i < lengthof(state_options) && method->state_bytes; i++)
		appendStringInfo(&list, "%s, ", state_options[i].name);
	if (method->state_bytes)
		appendStringInfoString(&list, "resume, ");
	for (int i = 0; i < lengthof(common_options); i++)
		appendStringInfo(&list, "%s, ", common_options[i].name);
	appendStringInfoString(&list, "eval_source");
	return list.data;
}

/* The plan's member of this name that may be set here; NULL: there is none. */
static const stk_option *
OptionOfPlan(const char *name, const stk_train_plan *plan, const TrainOptions *to)
{
	const stk_method *method = stk_method_of(plan->method);
	const stk_option *option = OptionFind(common_options, lengthof(common_options), name);

	if (!option && method->state_bytes)
		option = OptionFind(state_options, lengthof(state_options), name);
	if (option)
		return option;
	option = OptionFind(method->options, method->noptions, name);
	return option && OptionGoes(option, plan, to) ? option : NULL;
}

static void
OptionTake(const JsonbValue *key, const JsonbValue *value, stk_train_plan *plan, TrainOptions *to)
{
	const stk_method *method = stk_method_of(plan->method);
	char *name = pnstrdup(key->val.string.val, key->val.string.len);
	const stk_option *option = OptionOfPlan(name, plan, to);

	if (option)
		OptionRead(option, value, plan);
	else if (strcmp(name, "eval_source") == 0)
		OptionReadSource(name, value, to);
	else if (strcmp(name, "resume") == 0 && method->state_bytes)
		to->resume = OptionFlag(name, value);
	else if (strcmp(name, "preset") != 0 || !method->presets || to->fit)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 OptionFindAnywhere(name) || OptionIsOther(name)
					 ? errmsg("option \"%s\" does not go with %s", name, OptionsOwner(plan, to))
					 : errmsg("unknown option \"%s\"", name),
				 errhint("Options of %s: %s.", OptionsOwner(plan, to), OptionsList(plan, to))));
}

/* Which of the method's sets of defaults; options is an object or NULL. */
static int
OptionsPreset(const Jsonb *options, const stk_method *method)
{
	JsonbValue buffer;
	JsonbValue *value = NULL;

	if (options && method->presets)
		value = getKeyJsonValueFromContainer(&((Jsonb *) options)->root, "preset",
											 (int) strlen("preset"), &buffer);
	return value ? OptionPick("preset", value, method->presets, method->npresets) : 0;
}

/* What a method goes by, as a training before wrote it to the catalog. */
void
TrainOptionsContinue(const Jsonb *options, stk_train_plan *plan)
{
	const stk_method *method = stk_method_of(plan->method);

	for (int i = 0; i < method->noptions; i++)
	{
		const stk_option *option = &method->options[i];
		JsonbValue buffer;
		JsonbValue *value = getKeyJsonValueFromContainer(&((Jsonb *) options)->root, option->name,
														 (int) strlen(option->name), &buffer);

		if (value && value->type != jbvNull)
			OptionRead(option, value, plan);
	}
}

void
TrainOptionsRead(const Jsonb *options, stk_train_plan *plan, TrainOptions *to)
{
	const stk_method *method = stk_method_of(plan->method);

	if (options && !JB_ROOT_IS_OBJECT(options))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected a JSON object as options")));
	if (!to->fit)
		method->defaults(OptionsPreset(options, method), plan);
	if (options)
	{
		JsonbIterator *it;
		JsonbIteratorToken token;
		JsonbValue key;
		JsonbValue value;

		it = JsonbIteratorInit(&((Jsonb *) options)->root);
		(void) JsonbIteratorNext(&it, &key, true);
		while ((token = JsonbIteratorNext(&it, &key, true)) == WJB_KEY)
		{
			(void) JsonbIteratorNext(&it, &value, true);
			OptionTake(&key, &value, plan, to);
		}
	}
	if (method->settle && !to->fit)
		method->settle(plan);
	if (plan->refine > 0 && plan->balance > 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("options \"refine\" and \"balance\" exclude each other"),
						errdetail("Refinement chooses codes by their error alone.")));
	if (plan->eval_every > 0 && !to->eval_source)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"eval_every\" needs \"eval_source\""),
						errhint("It is a query that returns held-out embeddings.")));
	if (plan->rqvae.patience > 0 && plan->eval_every == 0 && !to->fit)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"patience\" needs \"eval_every\""),
						errhint("It counts measurings on held-out rows.")));
}

static char *
FormatDouble(double value)
{
	char *text = palloc(DOUBLE_SHORTEST_DECIMAL_LEN);

	double_to_shortest_decimal_buf(value, text);
	return text;
}

static void
OptionDescribe(const stk_option *option, const stk_train_plan *plan, StringInfo json)
{
	const void *from = (const char *) plan + option->at;
	double real;
	int whole;
	bool flag;
	const uint32_t *list = from;

	appendStringInfo(json, ", \"%s\": ", option->name);
	switch (option->kind)
	{
		case STK_OPTION_WHOLE:
			memcpy(&whole, from, sizeof(whole));
			appendStringInfo(json, "%d", whole);
			break;
		case STK_OPTION_REAL:
			memcpy(&real, from, sizeof(real));
			appendStringInfoString(json, real < option->least ? "null" : FormatDouble(real));
			break;
		case STK_OPTION_WORD:
			memcpy(&whole, from, sizeof(whole));
			appendStringInfo(json, "\"%s\"", option->words[whole]);
			break;
		case STK_OPTION_FLAG:
			memcpy(&flag, from, sizeof(flag));
			appendStringInfoString(json, flag ? "true" : "false");
			break;
		case STK_OPTION_LIST:
			memcpy(&whole, (const char *) plan + option->count_at, sizeof(whole));
			for (int i = 0; i < whole; i++)
				appendStringInfo(json, "%s%u", i == 0 ? "[" : ", ", list[i]);
			appendStringInfoString(json, whole == 0 ? "[]" : "]");
			break;
	}
}

/* Numbers and known words only, so nothing needs escaping. */
char *
TrainOptionsDescribe(const TrainOptions *options, const stk_train_plan *plan)
{
	const stk_method *method = stk_method_of(plan->method);
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, ", \"beam\": %d", plan->beam);
	for (int i = 0; i < method->noptions; i++)
		if (method->state_bytes || OptionGoes(&method->options[i], plan, options))
			OptionDescribe(&method->options[i], plan, &json);
	return json.data;
}

/* What TrainDescribe and FitDescribe write beside the options. */
static const char *const described[] = {"epochs", "batch_size", "init", "seed", "sample", "from"};

static void
CheckImportedOption(const JsonbValue *key, const JsonbValue *value)
{
	char *name = pnstrdup(key->val.string.val, key->val.string.len);
	const stk_option *option = OptionFindAnywhere(name);
	stk_train_plan unused = {0};
	TrainOptions nowhere;

	for (int i = 0; i < lengthof(described); i++)
		if (strcmp(described[i], name) == 0)
			return;
	if (strcmp(name, "eval_source") == 0)
	{
		if (value->type != jbvNull)
			OptionReadSource(name, value, &nowhere);
		return;
	}
	if (!option)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown option \"%s\"", name),
				 errhint("Options of an import are those that semtok.tokenizers shows, of which "
						 "beam and refine have an effect.")));
	if (value->type != jbvNull)
		OptionRead(option, value, &unused);
}

void
TrainOptionsCheckImported(const Jsonb *options)
{
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
		CheckImportedOption(&key, &value);
	}
}
