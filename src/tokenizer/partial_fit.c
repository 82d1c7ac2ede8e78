/*
 * semtok.partial_fit: go on training from a tokenizer's active version.
 *
 * Mini-batch k-means with the counts that the version keeps: a codeword moves the less the more
 * rows are behind it already. Or, of a method that keeps a state, its own steps, with the
 * optimizer's part of it. The result is a new version, which is not activated.
 */
#include "postgres.h"

#include "fmgr.h"
#include "tokenizer/args.h"
#include "tokenizer/train_options.h"
#include "tokenizer/training.h"
#include "types/bridge.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(semtok_partial_fit);

enum
{
	ARG_NAME,
	ARG_SOURCE,
	ARG_EPOCHS,
	ARG_BATCH_SIZE,
	ARG_SEED,
	ARG_SAMPLE,
	ARG_DEVICE,
	ARG_OPTIONS
};

/* The version to continue from. */
static void
FitFindBase(const char *name, TokenizerInfo *base)
{
	TokenizerGetByName(name, 0, base);
	TokenizerRequireCodebook(base);
	if (base->refined)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("version %d of tokenizer \"%s\" was refined", base->version, name),
				 errdetail("Its levels were fitted jointly; mini-batches, which move one level "
						   "after the other, would undo that."),
				 errhint("Train a new version, or activate one that was not refined.")));
}

/* The method that goes on from a version: mini-batches where none says otherwise. */
static stk_train_method
FitMethod(const TokenizerInfo *base)
{
	for (int m = 0; m < STK_TRAIN_METHODS; m++)
	{
		const stk_method *method = stk_method_of((stk_train_method) m);

		if (strcmp(method->name, base->method) == 0)
			return method->fit;
	}
	return STK_TRAIN_RQKMEANS;
}

pg_noreturn static void
FitNothing(const TokenizerInfo *base, const char *what, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("version %d of tokenizer \"%s\" has no %s to continue from",
						   base->version, base->name, what),
					errhint("%s", hint)));
}

/* How it was trained, for the catalog. Numbers and known words only, so nothing needs escaping. */
static char *
FitDescribe(const Training *t, int32 base, const TrainOptions *options)
{
	return psprintf("{\"from\": %d, \"epochs\": %d, \"batch_size\": " UINT64_FORMAT
					", \"seed\": %lld, \"sample\": %s%s}",
					base, t->plan.epochs, t->plan.batch_size, (long long) t->plan.seed,
					t->limit ? psprintf("%lld", (long long) t->limit) : "null",
					TrainOptionsDescribe(options, &t->plan));
}

/* A plan that goes on from this version. */
static void
FitPlan(const TokenizerInfo *base, stk_train_plan *plan)
{
	plan->metric = base->metric;
	plan->levels = base->levels;
	memcpy(plan->sizes, base->sizes, sizeof(plan->sizes));
	plan->dim = base->dim;
	plan->resume = true;
	if (plan->beam == 0)
		plan->beam = base->beam;
}

/* What the version was when its training ended, for another one to begin with. */
static void
FitBeginState(const TokenizerInfo *base, stk_train_plan *plan, uint8 *state)
{
	const stk_method *method = stk_method_of(plan->method);
	stk_allocator a = SemtokAllocator(CurrentMemoryContext);
	bytea *kept = TokenizerState(base);
	stk_error err = {.level = -1};

	if (!kept)
		FitNothing(base, "state", "Train a new version: its state comes with it.");
	if (VARSIZE(kept) - VARHDRSZ == method->state_bytes(plan))
		memcpy(state, VARDATA(kept), method->state_bytes(plan));
	if (VARSIZE(kept) - VARHDRSZ != method->state_bytes(plan) ||
		method->again(plan, &a, state, &err) != STK_OK)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("state of tokenizer %d in semtok.tokenizer is damaged", base->id)));
	pfree(kept);
}

/* The codewords that the version has, and its counts. */
static void
FitBeginCodewords(const TokenizerInfo *base, stk_train_result *result)
{
	double *counts = TokenizerCounts(base);
	CodebookEntry *entry = TokenizerCodebook(base, CurrentMemoryContext);
	const stk_codebook *cb = CodebookView(entry);
	Size codewords = TokenizerCodewords(base->levels, base->sizes);

	if (cb->network.inputs)
		FitNothing(base, "state", "A network that was imported is not trained further.");
	if (!counts)
		FitNothing(base, "counts", "Train a new version, or import this one with its counts.");
	memcpy(result->codewords, cb->codewords[0], codewords * base->dim * sizeof(float));
	memcpy(result->counts, counts, codewords * sizeof(double));
}

/*
 * semtok.partial_fit(name text, source text, epochs int, batch_size int, seed bigint,
 * sample bigint, device text, options jsonb)
 */
Datum
semtok_partial_fit(PG_FUNCTION_ARGS)
{
	Training t = {.verb = "partial_fit",
				  .name = ArgText(fcinfo, ARG_NAME, "name"),
				  .source = ArgText(fcinfo, ARG_SOURCE, "source"),
				  .failed = "could not continue tokenizer",
				  .plan = {.epochs = ArgInt(fcinfo, ARG_EPOCHS, "epochs", 1, STK_TRAIN_MAX_EPOCHS)},
				  .limit = TrainingArgSample(fcinfo, ARG_SAMPLE)};
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok partial_fit", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	TrainOptions options = {.fit = true};
	TokenizerInfo base;

	t.plan.batch_size = ArgInt(fcinfo, ARG_BATCH_SIZE, "batch_size", 1, PG_INT32_MAX);
	ArgRequire(fcinfo, ARG_SEED, "seed");
	t.plan.seed = (uint64) PG_GETARG_INT64(ARG_SEED);
	t.device = TrainingArgDevice(fcinfo, ARG_DEVICE);
	TokenizerCheckWritable("semtok.partial_fit()", t.name);
	FitFindBase(t.name, &base);
	t.plan.method = FitMethod(&base);
	if (stk_method_of(t.plan.method)->state_bytes)
		TrainOptionsContinue(TokenizerOptions(&base), &t.plan);
	TrainOptionsRead(PG_ARGISNULL(ARG_OPTIONS) ? NULL : PG_GETARG_JSONB_P(ARG_OPTIONS), &t.plan,
					 &options);
	FitPlan(&base, &t.plan);
	t.eval_source = options.eval_source;
	t.resume = options.resume;

	stk_train_result result = TrainingRoom(&t.plan);

	if (result.state)
		FitBeginState(&base, &t.plan, result.state);
	else
		FitBeginCodewords(&base, &result);
	t.how = FitDescribe(&t, base.id, &options);
	TrainingRead(&t);
	TrainingRun(&t, &result);

	NewTokenizer tokenizer = {
		.method = base.method,
		.rows = base.rows + (int64) t.sample.rows,
		.options = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(t.how)))};
	int32 id = TrainingFinish(&t, &result, &tokenizer);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	PG_RETURN_INT32(id);
}
