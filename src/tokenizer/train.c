/*
 * semtok.train: learn a tokenizer's codebook from a query's embeddings.
 */
#include "postgres.h"

#include "fmgr.h"
#include "tokenizer/args.h"
#include "tokenizer/train_options.h"
#include "tokenizer/training.h"
#include "types/bridge.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* What refinement encodes with unless a beam is given. */
#define TRAIN_REFINE_BEAM 5

PG_FUNCTION_INFO_V1(semtok_train);
PG_FUNCTION_INFO_V1(semtok_train_sizes);

/* Arguments of both overloads; from ARG_METRIC on they are the same. */
enum
{
	ARG_NAME = 0,
	ARG_SOURCE = 1,
	ARG_METHOD = 2,
	ARG_LEVELS = 3,
	ARG_CODES = 4,
	ARG_SIZES_CODES = 2,
	ARG_SIZES_METHOD = 3,
	ARG_SIZES_LEVELS = 4,
	ARG_METRIC = 5,
	ARG_EPOCHS = 6,
	ARG_BATCH_SIZE = 7,
	ARG_INIT = 8,
	ARG_SEED = 9,
	ARG_SAMPLE = 10,
	ARG_DEVICE = 11,
	ARG_OPTIONS = 12
};

static const char *const init_names[] = {[STK_INIT_KMEANSPP] = "kmeans++",
										 [STK_INIT_RANDOM] = "random",
										 [STK_INIT_KMEANSII] = "kmeans||"};

/* What is to be trained, and how. */
typedef struct TrainRequest
{
	Training training;
	TrainOptions options;
} TrainRequest;

static stk_init
TrainReadInit(FunctionCallInfo fcinfo)
{
	char *name = ArgText(fcinfo, ARG_INIT, "init");

	for (int i = 0; i < lengthof(init_names); i++)
		if (strcmp(name, init_names[i]) == 0)
			return (stk_init) i;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("expected init kmeans++, kmeans|| or random, not \"%s\"", name)));
}

/* Nothing measures a refit for the inner product; a refined codebook is meant for a beam. */
static void
TrainCheckRefinement(stk_train_plan *plan)
{
	if (plan->refine > 0 && plan->metric == STK_IP)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"refine\" does not go with metric ip"),
						errhint("Metrics l2 and cosine measure a distance to reduce.")));
	if (plan->beam == 0)
		plan->beam = plan->refine > 0 ? TRAIN_REFINE_BEAM : 1;
}

/* The arguments that both overloads have in the same places, and everything's checks. */
static void
TrainReadCommon(FunctionCallInfo fcinfo, int method_argno, TrainRequest *t)
{
	Training *training = &t->training;
	stk_train_plan *plan = &training->plan;

	training->verb = "train";
	training->name = ArgText(fcinfo, ARG_NAME, "name");
	training->source = ArgText(fcinfo, ARG_SOURCE, "source");
	training->failed = "could not train tokenizer";

	char *metric = ArgText(fcinfo, ARG_METRIC, "metric");

	if (stk_metric_parse(metric, &plan->metric) != STK_OK)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected metric l2, ip or cosine, not \"%s\"", metric)));
	plan->epochs = ArgInt(fcinfo, ARG_EPOCHS, "epochs", 1, STK_TRAIN_MAX_EPOCHS);
	if (!PG_ARGISNULL(ARG_BATCH_SIZE))
		plan->batch_size = ArgInt(fcinfo, ARG_BATCH_SIZE, "batch_size", 1, PG_INT32_MAX);
	plan->init = TrainReadInit(fcinfo);
	ArgRequire(fcinfo, ARG_SEED, "seed");
	plan->seed = (uint64) PG_GETARG_INT64(ARG_SEED);
	training->limit = TrainingArgSample(fcinfo, ARG_SAMPLE);
	training->device = TrainingArgDevice(fcinfo, ARG_DEVICE);
	plan->method = TrainMethodByName(ArgText(fcinfo, method_argno, "method"));
	TrainOptionsRead(PG_ARGISNULL(ARG_OPTIONS) ? NULL : PG_GETARG_JSONB_P(ARG_OPTIONS), plan,
					 &t->options);
	TrainCheckRefinement(plan);
	training->eval_source = t->options.eval_source;
	training->resume = t->options.resume;
}

/* How it was trained, for the catalog. Numbers and known words only, so nothing needs escaping. */
static char *
TrainDescribe(const TrainRequest *t)
{
	const stk_train_plan *plan = &t->training.plan;
	int64 limit = t->training.limit;

	return psprintf("{\"epochs\": %d, \"batch_size\": %s, \"init\": \"%s\", \"seed\": %lld, "
					"\"sample\": %s%s}",
					plan->epochs,
					plan->batch_size ? psprintf(UINT64_FORMAT, plan->batch_size) : "null",
					init_names[plan->init], (long long) plan->seed,
					limit ? psprintf("%lld", (long long) limit) : "null",
					TrainOptionsDescribe(&t->options, plan));
}

/* Refuse what no rows would do for, before any is read. */
static void
TrainCheckPlan(const Training *t)
{
	stk_train_plan plan = t->plan;
	stk_error err = {.row = SIZE_MAX, .level = -1};
	stk_status status;

	plan.dim = 1;
	status = stk_train_check(&plan, &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, t->failed);
}

static int32
Train(TrainRequest *t)
{
	Training *training = &t->training;
	stk_train_plan *plan = &training->plan;
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok train", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	TokenizerCheckWritable("semtok.train()", training->name);
	TrainCheckPlan(training);
	TrainingRead(training);

	stk_train_result result = TrainingRoom(plan);

	training->how = TrainDescribe(t);
	TrainingRun(training, &result);

	NewTokenizer tokenizer = {
		.method = stk_method_of(plan->method)->name,
		.rows = (int64) training->sample.rows,
		.options = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(training->how)))};
	int32 id = TrainingFinish(training, &result, &tokenizer);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return id;
}

/* semtok.train(…, levels int, codes int, …): levels of one size */
Datum
semtok_train(PG_FUNCTION_ARGS)
{
	TrainRequest t = {0};

	TrainReadCommon(fcinfo, ARG_METHOD, &t);
	t.training.plan.levels = ArgInt(fcinfo, ARG_LEVELS, "levels", 1, STK_MAX_LEVELS);

	int codes = ArgInt(fcinfo, ARG_CODES, "codes", 1, STK_MAX_CODES);

	for (int l = 0; l < t.training.plan.levels; l++)
		t.training.plan.sizes[l] = (uint32) codes;
	PG_RETURN_INT32(Train(&t));
}

/* semtok.train(…, codes int[], …): a size for every level */
Datum
semtok_train_sizes(PG_FUNCTION_ARGS)
{
	TrainRequest t = {0};

	TrainReadCommon(fcinfo, ARG_SIZES_METHOD, &t);

	int levels = ArgSizes(fcinfo, ARG_SIZES_CODES, "codes", t.training.plan.sizes);

	if (!PG_ARGISNULL(ARG_SIZES_LEVELS) && PG_GETARG_INT32(ARG_SIZES_LEVELS) != levels)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected codes of %d levels, not %d",
							   PG_GETARG_INT32(ARG_SIZES_LEVELS), levels)));
	t.training.plan.levels = levels;
	PG_RETURN_INT32(Train(&t));
}
