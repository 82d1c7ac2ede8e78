/*
 * semtok.partial_fit: go on training from a tokenizer's active version.
 *
 * Mini-batch k-means with the counts that the version keeps: a codeword moves the less the more
 * rows are behind it already. The result is a new version, which is not activated.
 */
#include "postgres.h"

#include "fmgr.h"
#include "storage/shmem.h"
#include "tokenizer/args.h"
#include "tokenizer/train_options.h"
#include "tokenizer/training.h"
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

/* The version to continue from, and its counts. */
static double *
FitFindBase(const char *name, TokenizerInfo *base)
{
	double *counts;

	TokenizerGetByName(name, 0, base);
	TokenizerRequireCodebook(base);
	if (base->refined)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("version %d of tokenizer \"%s\" was refined", base->version, name),
				 errdetail("Its levels were fitted jointly; mini-batches, which move one level "
						   "after the other, would undo that."),
				 errhint("Train a new version, or activate one that was not refined.")));
	counts = TokenizerCounts(base);
	if (!counts)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("version %d of tokenizer \"%s\" has no counts to continue from",
							   base->version, name),
						errhint("Train a new version, or import this one with its counts.")));
	return counts;
}

/* How it was trained, for the catalog. Numbers and known words only, so nothing needs escaping. */
static Jsonb *
FitDescribe(const Training *t, int32 base, const TrainOptions *options)
{
	char *json = psprintf("{\"from\": %d, \"epochs\": %d, \"batch_size\": " UINT64_FORMAT
						  ", \"seed\": %lld, \"sample\": %s%s}",
						  base, t->plan.epochs, t->plan.batch_size, (long long) t->plan.seed,
						  t->limit ? psprintf("%lld", (long long) t->limit) : "null",
						  TrainOptionsDescribe(options, &t->plan));

	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
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
	TrainOptionsRead(PG_ARGISNULL(ARG_OPTIONS) ? NULL : PG_GETARG_JSONB_P(ARG_OPTIONS), &t.plan,
					 &options);

	TokenizerCheckWritable("semtok.partial_fit()", t.name);

	double *counts = FitFindBase(t.name, &base);
	CodebookEntry *entry = TokenizerCodebook(&base, context);
	Size bytes =
		mul_size(TokenizerCodewords(base.levels, base.sizes), mul_size(base.dim, sizeof(float)));
	float *codewords = memcpy(palloc(bytes), CodebookView(entry)->codewords[0], bytes);

	FitPlan(&base, &t.plan);
	t.eval_source = options.eval_source;
	TrainingRead(&t);
	TrainingRun(&t, codewords, counts);

	NewTokenizer tokenizer = {
		.method = base.method,
		.codebook = CodebookMakeDatum(base.metric, base.levels, base.sizes, base.dim, codewords),
		.rows = base.rows + (int64) t.sample.rows,
		.options = FitDescribe(&t, base.id, &options),
		.counts = counts};
	int32 id = TrainingFinish(&t, &tokenizer);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	PG_RETURN_INT32(id);
}
