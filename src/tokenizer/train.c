/*
 * semtok.train: learn a tokenizer's codebook from a query's embeddings.
 */
#include "postgres.h"

#include "core/rqkmeans.h"
#include "fmgr.h"
#include "tokenizer/args.h"
#include "tokenizer/measure.h"
#include "tokenizer/progress.h"
#include "tokenizer/registry.h"
#include "tokenizer/sample.h"
#include "tokenizer/source.h"
#include "types/bridge.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define TRAIN_MAX_EPOCHS 100000
/* A level is called collapsed below this share of its codes, an id scheme poor below this one. */
#define TRAIN_COLLAPSED_SHARE 0.1
#define TRAIN_UNIQUE_FRACTION 0.5

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

/* A training under way. */
typedef struct Training
{
	const char *name;
	const char *source;
	stk_rqkmeans_options options;
	int64 limit; /* rows of the sample, 0 = all */
	Sample sample;
	TimestampTz noticed; /* when the last NOTICE went out, at first when the rows were read */
	int step;            /* epochs so far, over all levels */
	TrainingLogRow *log;
	int nlog;
	int maxlog;
} Training;

static void
TrainCheckMethod(FunctionCallInfo fcinfo, int argno)
{
	char *method = ArgText(fcinfo, argno, "method");

	if (strcmp(method, "rqkmeans") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unknown training method \"%s\"", method),
						errhint("The method of this version is rqkmeans.")));
}

static void
TrainCheckDevice(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(ARG_DEVICE))
		return;

	char *device = text_to_cstring(PG_GETARG_TEXT_PP(ARG_DEVICE));

	if (strcmp(device, "cuda") == 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("this build of semtok cannot train on device cuda")));
	if (strcmp(device, "cpu") != 0 && strcmp(device, "auto") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected device auto, cpu or cuda, not \"%s\"", device)));
}

/* rqkmeans has no option beyond the arguments. */
static void
TrainCheckOptions(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(ARG_OPTIONS))
		return;

	Jsonb *options = PG_GETARG_JSONB_P(ARG_OPTIONS);

	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected a JSON object as options")));

	JsonbIterator *it = JsonbIteratorInit(&options->root);
	JsonbValue key;

	(void) JsonbIteratorNext(&it, &key, true);
	if (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unknown option \"%.*s\" of method rqkmeans", key.val.string.len,
							   key.val.string.val)));
}

static void
TrainReadInit(FunctionCallInfo fcinfo, stk_init *init)
{
	char *name = ArgText(fcinfo, ARG_INIT, "init");

	if (strcmp(name, "kmeans++") == 0)
		*init = STK_INIT_KMEANSPP;
	else if (strcmp(name, "random") == 0)
		*init = STK_INIT_RANDOM;
	else
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected init kmeans++ or random, not \"%s\"", name)));
}

/* The arguments that both overloads have in the same places, and everything's checks. */
static void
TrainReadCommon(FunctionCallInfo fcinfo, Training *t)
{
	stk_rqkmeans_options *opt = &t->options;

	t->name = ArgText(fcinfo, ARG_NAME, "name");
	t->source = ArgText(fcinfo, ARG_SOURCE, "source");

	char *metric = ArgText(fcinfo, ARG_METRIC, "metric");

	if (stk_metric_parse(metric, &opt->metric) != STK_OK)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected metric l2, ip or cosine, not \"%s\"", metric)));
	opt->epochs = ArgInt(fcinfo, ARG_EPOCHS, "epochs", 1, TRAIN_MAX_EPOCHS);
	if (!PG_ARGISNULL(ARG_BATCH_SIZE))
		opt->batch_size = ArgInt(fcinfo, ARG_BATCH_SIZE, "batch_size", 1, PG_INT32_MAX);
	TrainReadInit(fcinfo, &opt->init);
	ArgRequire(fcinfo, ARG_SEED, "seed");
	opt->seed = (uint64) PG_GETARG_INT64(ARG_SEED);
	if (!PG_ARGISNULL(ARG_SAMPLE))
	{
		t->limit = PG_GETARG_INT64(ARG_SAMPLE);
		if (t->limit < 1 || t->limit > SAMPLE_MAX_ROWS)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("expected sample of 1 to %d, not %lld", SAMPLE_MAX_ROWS,
								   (long long) t->limit)));
	}
	TrainCheckDevice(fcinfo);
	TrainCheckOptions(fcinfo);
}

static void
TrainLog(Training *t, int level, int epoch, const char *metric, double value)
{
	if (t->nlog == t->maxlog)
	{
		t->maxlog = t->maxlog ? t->maxlog * 2 : 64;
		t->log = t->log ? repalloc_huge(t->log, mul_size(t->maxlog, sizeof(*t->log)))
						: palloc(mul_size(t->maxlog, sizeof(*t->log)));
	}
	t->log[t->nlog++] =
		(TrainingLogRow){t->step, level, epoch, metric, value, GetCurrentTimestamp()};
}

static void
TrainTakeRow(void *ctx, const float *x, int dim)
{
	Training *t = ctx;

	SampleAdd(&t->sample, x, dim);
}

static void
TrainProgress(void *ctx, const stk_train_progress *p)
{
	Training *t = ctx;

	t->step++;
	TrainLog(t, p->level, p->epoch, "objective", p->objective);
	TrainLog(t, p->level, p->epoch, "empty_codes", p->empty);
	if (ProgressDue(&t->noticed))
		ereport(NOTICE,
				(errmsg("training \"%s\": level %d of %d, epoch %d of %d, mean squared error %g",
						t->name, p->level + 1, t->options.levels, p->epoch, t->options.epochs,
						p->objective)));
}

/* How it was trained, for the catalog. Numbers and known words only, so nothing needs escaping. */
static Jsonb *
TrainDescribe(const Training *t)
{
	const stk_rqkmeans_options *opt = &t->options;
	char *json =
		psprintf("{\"epochs\": %d, \"batch_size\": %s, \"init\": \"%s\", \"seed\": %lld, "
				 "\"sample\": %s}",
				 opt->epochs, opt->batch_size ? psprintf("%zu", opt->batch_size) : "null",
				 opt->init == STK_INIT_KMEANSPP ? "kmeans++" : "random", (long long) opt->seed,
				 t->limit ? psprintf("%lld", (long long) t->limit) : "null");

	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}

/*
 * Log what the finished tokenizer makes of its rows, and warn when it makes too little of them.
 */
static void
TrainMeasure(Training *t, CodebookEntry *entry, const float *x)
{
	Measurement *measurement = MeasureBegin(entry);
	stk_evaluation e;

	MeasureRows(measurement, x, t->sample.rows);
	MeasureFinish(measurement, &e);

	for (int l = 0; l < e.levels; l++)
	{
		const stk_level_evaluation *level = &e.level[l];

		TrainLog(t, l, 0, "mse", level->mse);
		TrainLog(t, l, 0, "relative_error", level->relative_error);
		TrainLog(t, l, 0, "dead_codes", level->dead);
		TrainLog(t, l, 0, "entropy", level->entropy);
		TrainLog(t, l, 0, "perplexity", level->perplexity);
		if (level->perplexity < level->size * TRAIN_COLLAPSED_SHARE)
			ereport(WARNING, (errmsg("level %d of tokenizer \"%s\" has collapsed", l, t->name),
							  errdetail("Its rows use %u of %u codes; perplexity is %.1f.",
										level->used, level->size, level->perplexity)));
	}
	TrainLog(t, -1, 0, "mse", e.mse);
	TrainLog(t, -1, 0, "relative_error", e.relative_error);
	TrainLog(t, -1, 0, "p_unique", e.unique_fraction);
	TrainLog(t, -1, 0, "collision_rate", e.collision_rate);
	TrainLog(t, -1, 0, "entropy", e.entropy);
	TrainLog(t, -1, 0, "perplexity", e.perplexity);
	if (e.unique_fraction < TRAIN_UNIQUE_FRACTION)
		ereport(WARNING, (errmsg("tokenizer \"%s\" tells few rows apart", t->name),
						  errdetail("%llu rows have %llu distinct ids.",
									(unsigned long long) e.rows, (unsigned long long) e.ids)));
}

static int32
Train(Training *t)
{
	stk_rqkmeans_options *opt = &t->options;
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok train", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	stk_exec exec = SemtokExec(context);
	stk_error err = {.level = -1};

	TokenizerCheckWritable("semtok.train()", t->name);
	SampleInit(&t->sample, (size_t) t->limit, opt->seed);
	SourceScan(t->source, psprintf("training \"%s\"", t->name), 0, opt->metric, TrainTakeRow, t);
	t->noticed = GetCurrentTimestamp();

	opt->dim = t->sample.dim;
	opt->progress = TrainProgress;
	opt->progress_ctx = t;

	Size bytes = stk_codebook_bytes(opt->levels, opt->sizes, opt->dim);

	if (bytes == 0 || !AllocSizeIsValid(bytes + VARHDRSZ))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a codebook of these sizes and %d dimensions is too large", opt->dim)));

	size_t codewords = 0;

	for (int l = 0; l < opt->levels; l++)
		codewords += opt->sizes[l];

	/* Training overwrites the rows; measuring needs them once more. */
	Size rows_bytes = mul_size(t->sample.rows, mul_size(opt->dim, sizeof(float)));
	float *rows = memcpy(MemoryContextAllocHuge(context, rows_bytes), t->sample.x, rows_bytes);
	float *vectors = palloc(bytes);
	double *counts = palloc(mul_size(codewords, sizeof(double)));
	stk_status status =
		stk_rqkmeans_train(opt, &exec, t->sample.x, t->sample.rows, vectors, counts, &err);

	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not train tokenizer");

	Datum codebook = CodebookMakeDatum(opt->metric, opt->levels, opt->sizes, opt->dim, vectors);

	TrainMeasure(t, CodebookPin(codebook, context), rows);

	NewTokenizer tokenizer = {.name = t->name,
							  .method = "rqkmeans",
							  .codebook = codebook,
							  .rows = (int64) t->sample.rows,
							  .options = TrainDescribe(t),
							  .counts = counts,
							  .log = t->log,
							  .nlog = t->nlog};
	int32 id = TokenizerInsert(&tokenizer);

	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return id;
}

/* semtok.train(…, levels int, codes int, …): levels of one size */
Datum
semtok_train(PG_FUNCTION_ARGS)
{
	Training t = {0};

	TrainReadCommon(fcinfo, &t);
	TrainCheckMethod(fcinfo, ARG_METHOD);
	t.options.levels = ArgInt(fcinfo, ARG_LEVELS, "levels", 1, STK_MAX_LEVELS);

	int codes = ArgInt(fcinfo, ARG_CODES, "codes", 1, STK_MAX_CODES);

	for (int l = 0; l < t.options.levels; l++)
		t.options.sizes[l] = (uint32) codes;
	PG_RETURN_INT32(Train(&t));
}

/* semtok.train(…, codes int[], …): a size for every level */
Datum
semtok_train_sizes(PG_FUNCTION_ARGS)
{
	Training t = {0};

	TrainReadCommon(fcinfo, &t);
	TrainCheckMethod(fcinfo, ARG_SIZES_METHOD);
	ArgRequire(fcinfo, ARG_SIZES_CODES, "codes");

	ArrayType *codes = PG_GETARG_ARRAYTYPE_P(ARG_SIZES_CODES);
	int levels = ArrayGetNItems(ARR_NDIM(codes), ARR_DIMS(codes));

	if (ARR_NDIM(codes) > 1 || ARR_HASNULL(codes) || levels < 1 || levels > STK_MAX_LEVELS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected codes of 1 to %d levels, without nulls", STK_MAX_LEVELS)));
	if (!PG_ARGISNULL(ARG_SIZES_LEVELS) && PG_GETARG_INT32(ARG_SIZES_LEVELS) != levels)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected codes of %d levels, not %d",
							   PG_GETARG_INT32(ARG_SIZES_LEVELS), levels)));
	t.options.levels = levels;
	for (int l = 0; l < levels; l++)
	{
		int size = ((const int32 *) ARR_DATA_PTR(codes))[l];

		if (size < 1 || size > STK_MAX_CODES)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("expected codes of 1 to %d, not %d", STK_MAX_CODES, size)));
		t.options.sizes[l] = (uint32) size;
	}
	PG_RETURN_INT32(Train(&t));
}
