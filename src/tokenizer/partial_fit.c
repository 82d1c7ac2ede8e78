/*
 * semtok.partial_fit: go on training from a tokenizer's active version.
 *
 * Mini-batch k-means with the counts that the version keeps: a codeword moves the less the more
 * rows are behind it already. The result is a new version, which is not activated.
 */
#include "postgres.h"

#include "core/rqkmeans.h"
#include "fmgr.h"
#include "storage/shmem.h"
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

#define FIT_MAX_EPOCHS 100000

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
FitDescribe(const Training *t, size_t batch_size, int32 base, const TrainOptions *options)
{
	char *json = psprintf("{\"from\": %d, \"epochs\": %d, \"batch_size\": %zu, \"seed\": %lld, "
						  "\"sample\": %s%s}",
						  base, t->epochs, batch_size, (long long) t->seed,
						  t->limit ? psprintf("%lld", (long long) t->limit) : "null",
						  TrainOptionsDescribe(options, TRAIN_FIT));

	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}

/*
 * semtok.partial_fit(name text, source text, epochs int, batch_size int, seed bigint,
 * sample bigint, device text, options jsonb)
 */
Datum
semtok_partial_fit(PG_FUNCTION_ARGS)
{
	Training t = {.name = ArgText(fcinfo, ARG_NAME, "name"),
				  .source = ArgText(fcinfo, ARG_SOURCE, "source"),
				  .epochs = ArgInt(fcinfo, ARG_EPOCHS, "epochs", 1, FIT_MAX_EPOCHS),
				  .limit = TrainingArgSample(fcinfo, ARG_SAMPLE)};
	size_t batch_size = ArgInt(fcinfo, ARG_BATCH_SIZE, "batch_size", 1, PG_INT32_MAX);
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok partial_fit", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	stk_exec exec = SemtokExec(context);
	stk_error err = {.row = SIZE_MAX, .level = -1};
	TrainOptions options;
	TokenizerInfo base;

	ArgRequire(fcinfo, ARG_SEED, "seed");
	t.seed = (uint64) PG_GETARG_INT64(ARG_SEED);
	TrainingCheckDevice(fcinfo, ARG_DEVICE);
	TrainOptionsRead(PG_ARGISNULL(ARG_OPTIONS) ? NULL : PG_GETARG_JSONB_P(ARG_OPTIONS), TRAIN_FIT,
					 &options);

	TokenizerCheckWritable("semtok.partial_fit()", t.name);

	double *counts = FitFindBase(t.name, &base);
	CodebookEntry *entry = TokenizerCodebook(&base, context);
	Size bytes =
		mul_size(TokenizerCodewords(base.levels, base.sizes), mul_size(base.dim, sizeof(float)));
	float *vectors = memcpy(palloc(bytes), CodebookView(entry)->codewords[0], bytes);

	if (options.beam == 0)
		options.beam = base.beam;
	t.shape = *CodebookView(entry);
	t.together = true;
	t.beam = options.beam;
	t.eval_source = options.eval_source;
	t.eval_every = options.eval_every;
	TrainingRead(&t);

	stk_rqkmeans_options opt = {.metric = base.metric,
								.levels = base.levels,
								.dim = base.dim,
								.epochs = t.epochs,
								.batch_size = batch_size,
								.seed = t.seed,
								.resume = true,
								.progress = TrainingProgress,
								.progress_ctx = &t};

	memcpy(opt.sizes, base.sizes, sizeof(opt.sizes));

	stk_status status =
		stk_rqkmeans_train(&opt, &exec, t.sample.x, t.sample.rows, vectors, counts, &err);

	TrainingCheckStatus(&t, status, &err, "could not continue tokenizer");
	TrainingReadAgain(&t);

	NewTokenizer tokenizer = {
		.method = base.method,
		.codebook = CodebookMakeDatum(base.metric, base.levels, base.sizes, base.dim, vectors),
		.rows = base.rows + (int64) t.sample.rows,
		.options = FitDescribe(&t, batch_size, base.id, &options),
		.counts = counts};
	int32 id = TrainingFinish(&t, &tokenizer);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	PG_RETURN_INT32(id);
}
