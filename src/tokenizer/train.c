/*
 * semtok.train: learn a tokenizer's codebook from a query's embeddings.
 */
#include "postgres.h"

#include "core/ema.h"
#include "core/refine.h"
#include "core/rqkmeans.h"
#include "fmgr.h"
#include "storage/shmem.h"
#include "tokenizer/args.h"
#include "tokenizer/train_options.h"
#include "tokenizer/training.h"
#include "types/bridge.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define TRAIN_MAX_EPOCHS 100000
/* What refinement encodes with unless a beam is given. */
#define TRAIN_REFINE_BEAM 5
#define TRAIN_FAILED "could not train tokenizer"

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
	TrainWay way;
	size_t batch_size; /* 0 = all rows */
	stk_init init;
	TrainOptions options;
} TrainRequest;

/* What learning works on. */
typedef struct Learning
{
	stk_exec exec;
	float *vectors; /* [codewords][dim] */
	double *counts; /* [codewords] */
} Learning;

static TrainWay
TrainReadMethod(FunctionCallInfo fcinfo, int argno)
{
	char *method = ArgText(fcinfo, argno, "method");

	if (strcmp(method, "rqkmeans") == 0)
		return PG_ARGISNULL(ARG_BATCH_SIZE) ? TRAIN_LLOYD : TRAIN_BATCHES;
	if (strcmp(method, "ema") == 0)
		return TRAIN_EMA;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("unknown training method \"%s\"", method),
					errhint("The methods of this version are rqkmeans and ema.")));
}

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
TrainCheckRefinement(TrainRequest *t)
{
	if (t->options.refine > 0 && t->training.shape.metric == STK_IP)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"refine\" does not go with metric ip"),
						errhint("Metrics l2 and cosine measure a distance to reduce.")));
	if (t->options.beam == 0)
		t->options.beam = t->options.refine > 0 ? TRAIN_REFINE_BEAM : 1;
}

/* The arguments that both overloads have in the same places, and everything's checks. */
static void
TrainReadCommon(FunctionCallInfo fcinfo, int method_argno, TrainRequest *t)
{
	Training *training = &t->training;

	training->name = ArgText(fcinfo, ARG_NAME, "name");
	training->source = ArgText(fcinfo, ARG_SOURCE, "source");

	char *metric = ArgText(fcinfo, ARG_METRIC, "metric");

	if (stk_metric_parse(metric, &training->shape.metric) != STK_OK)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected metric l2, ip or cosine, not \"%s\"", metric)));
	training->epochs = ArgInt(fcinfo, ARG_EPOCHS, "epochs", 1, TRAIN_MAX_EPOCHS);
	if (!PG_ARGISNULL(ARG_BATCH_SIZE))
		t->batch_size = ArgInt(fcinfo, ARG_BATCH_SIZE, "batch_size", 1, PG_INT32_MAX);
	t->init = TrainReadInit(fcinfo);
	ArgRequire(fcinfo, ARG_SEED, "seed");
	training->seed = (uint64) PG_GETARG_INT64(ARG_SEED);
	training->limit = TrainingArgSample(fcinfo, ARG_SAMPLE);
	TrainingCheckDevice(fcinfo, ARG_DEVICE);
	t->way = TrainReadMethod(fcinfo, method_argno);
	TrainOptionsRead(PG_ARGISNULL(ARG_OPTIONS) ? NULL : PG_GETARG_JSONB_P(ARG_OPTIONS), t->way,
					 &t->options);
	TrainCheckRefinement(t);
	training->rounds = t->options.refine;
	training->together = t->way != TRAIN_LLOYD;
	training->beam = t->options.beam;
	training->eval_source = t->options.eval_source;
	training->eval_every = t->options.eval_every;
}

/* How it was trained, for the catalog. Numbers and known words only, so nothing needs escaping. */
static Jsonb *
TrainDescribe(const TrainRequest *t)
{
	const Training *training = &t->training;
	char *json = psprintf("{\"epochs\": %d, \"batch_size\": %s, \"init\": \"%s\", \"seed\": %lld, "
						  "\"sample\": %s%s}",
						  training->epochs, t->batch_size ? psprintf("%zu", t->batch_size) : "null",
						  init_names[t->init], (long long) training->seed,
						  training->limit ? psprintf("%lld", (long long) training->limit) : "null",
						  TrainOptionsDescribe(&t->options, t->way));

	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}

static void
TrainRqkmeans(TrainRequest *t, const Learning *learning)
{
	const stk_codebook *shape = &t->training.shape;
	stk_rqkmeans_options opt = {.metric = shape->metric,
								.levels = shape->levels,
								.dim = shape->dim,
								.epochs = t->training.epochs,
								.batch_size = t->batch_size,
								.init = t->init,
								.seed = t->training.seed,
								.empty = t->options.empty,
								.balance = t->options.balance,
								.progress = TrainingProgress,
								.progress_ctx = &t->training};
	const Sample *sample = &t->training.sample;
	stk_error err = {.row = SIZE_MAX, .level = -1};
	stk_status status;

	memcpy(opt.sizes, shape->sizes, sizeof(opt.sizes));
	status = stk_rqkmeans_train(&opt, &learning->exec, sample->x, sample->rows, learning->vectors,
								learning->counts, &err);
	TrainingCheckStatus(&t->training, status, &err, TRAIN_FAILED);
}

static void
TrainEma(TrainRequest *t, const Learning *learning)
{
	const stk_codebook *shape = &t->training.shape;
	stk_ema_options opt = {.metric = shape->metric,
						   .levels = shape->levels,
						   .dim = shape->dim,
						   .epochs = t->training.epochs,
						   .batch_size = t->batch_size,
						   .init = t->init,
						   .seed = t->training.seed,
						   .decay = t->options.decay,
						   .restart_after = t->options.restart_after,
						   .progress = TrainingProgress,
						   .progress_ctx = &t->training};
	const Sample *sample = &t->training.sample;
	stk_error err = {.row = SIZE_MAX, .level = -1};
	stk_status status;

	memcpy(opt.sizes, shape->sizes, sizeof(opt.sizes));
	status = stk_ema_train(&opt, &learning->exec, sample->x, sample->rows, learning->vectors,
						   learning->counts, &err);
	TrainingCheckStatus(&t->training, status, &err, TRAIN_FAILED);
}

static void
TrainRefine(TrainRequest *t, const Learning *learning)
{
	stk_refine_options opt = {.beam = t->training.beam,
							  .rounds = t->options.refine,
							  .seed = t->training.seed,
							  .progress = TrainingProgress,
							  .progress_ctx = &t->training};
	const Sample *sample = &t->training.sample;
	stk_error err = {.row = SIZE_MAX, .level = -1};
	stk_status status = stk_refine(&opt, &learning->exec, &t->training.shape, sample->x,
								   sample->rows, learning->vectors, learning->counts, &err);

	TrainingCheckStatus(&t->training, status, &err, TRAIN_FAILED);
}

static int32
Train(TrainRequest *t)
{
	Training *training = &t->training;
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok train", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	TokenizerCheckWritable("semtok.train()", training->name);
	TrainingRead(training);

	const stk_codebook *shape = &training->shape;
	size_t codewords = TokenizerCodewords(shape->levels, shape->sizes);
	Size bytes = stk_codebook_bytes(shape->levels, shape->sizes, shape->dim);

	if (bytes == 0 || !AllocSizeIsValid(bytes + VARHDRSZ))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a codebook of these sizes and %d dimensions is too large", shape->dim)));

	Learning learning = {.exec = SemtokExec(context),
						 .vectors = palloc(bytes),
						 .counts = palloc(mul_size(codewords, sizeof(double)))};

	if (t->way == TRAIN_EMA)
		TrainEma(t, &learning);
	else
		TrainRqkmeans(t, &learning);
	TrainingReadAgain(training);
	if (t->options.refine > 0)
		TrainRefine(t, &learning);

	NewTokenizer tokenizer = {.method = t->way == TRAIN_EMA ? "ema" : "rqkmeans",
							  .codebook =
								  CodebookMakeDatum(shape->metric, shape->levels, shape->sizes,
													shape->dim, learning.vectors),
							  .rows = (int64) training->sample.rows,
							  .options = TrainDescribe(t),
							  .counts = learning.counts};
	int32 id = TrainingFinish(training, &tokenizer);

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
	t.training.shape.levels = ArgInt(fcinfo, ARG_LEVELS, "levels", 1, STK_MAX_LEVELS);

	int codes = ArgInt(fcinfo, ARG_CODES, "codes", 1, STK_MAX_CODES);

	for (int l = 0; l < t.training.shape.levels; l++)
		t.training.shape.sizes[l] = (uint32) codes;
	PG_RETURN_INT32(Train(&t));
}

/* semtok.train(…, codes int[], …): a size for every level */
Datum
semtok_train_sizes(PG_FUNCTION_ARGS)
{
	TrainRequest t = {0};

	TrainReadCommon(fcinfo, ARG_SIZES_METHOD, &t);

	int levels = ArgSizes(fcinfo, ARG_SIZES_CODES, "codes", t.training.shape.sizes);

	if (!PG_ARGISNULL(ARG_SIZES_LEVELS) && PG_GETARG_INT32(ARG_SIZES_LEVELS) != levels)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected codes of %d levels, not %d",
							   PG_GETARG_INT32(ARG_SIZES_LEVELS), levels)));
	t.training.shape.levels = levels;
	PG_RETURN_INT32(Train(&t));
}
