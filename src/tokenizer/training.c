/*
 * A training under way.
 */
#include "postgres.h"

#include "core/rq.h"
#include "storage/shmem.h"
#include "tokenizer/args.h"
#include "tokenizer/measure.h"
#include "tokenizer/progress.h"
#include "tokenizer/source.h"
#include "tokenizer/training.h"
#include "types/bridge.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* A level is called collapsed below this share of its codes, an id scheme poor below this one. */
#define TRAINING_COLLAPSED_SHARE 0.1
#define TRAINING_UNIQUE_FRACTION 0.5

int64
TrainingArgSample(FunctionCallInfo fcinfo, int argno)
{
	int64 limit;

	if (PG_ARGISNULL(argno))
		return 0;
	limit = PG_GETARG_INT64(argno);
	if (limit < 1 || limit > SAMPLE_MAX_ROWS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected sample of 1 to %d, not %lld", SAMPLE_MAX_ROWS,
							   (long long) limit)));
	return limit;
}

void
TrainingCheckDevice(FunctionCallInfo fcinfo, int argno)
{
	char *device;

	if (PG_ARGISNULL(argno))
		return;
	device = text_to_cstring(PG_GETARG_TEXT_PP(argno));
	if (strcmp(device, "cuda") == 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("this build of semtok cannot train on device cuda")));
	if (strcmp(device, "cpu") != 0 && strcmp(device, "auto") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected device auto, cpu or cuda, not \"%s\"", device)));
}

static void
TrainingTakeRow(void *ctx, const SourceItem *item)
{
	SampleAdd(ctx, item->x, item->dim, item->number);
}

void
TrainingRead(Training *t)
{
	Source source = {.query = t->source,
					 .argument = "source",
					 .what = psprintf("training \"%s\"", t->name),
					 .dim = t->shape.dim,
					 .metric = t->shape.metric};
	Source eval = source;

	eval.query = t->eval_source;
	eval.argument = "eval_source";
	if (t->eval_source)
		SourceCheck(&eval);
	SampleInit(&t->sample, (size_t) t->limit, t->seed);
	SourceScan(&source, TrainingTakeRow, &t->sample);
	t->shape.dim = t->sample.dim;
	if (t->eval_source)
	{
		eval.dim = t->shape.dim;
		SampleInit(&t->heldout, 0, t->seed);
		SourceScan(&eval, TrainingTakeRow, &t->heldout);
	}
	SampleSave(&t->sample);
	t->noticed = GetCurrentTimestamp();
}

void
TrainingReadAgain(Training *t)
{
	SampleRestore(&t->sample);
}

/* level and epoch: -1 = none */
static void
TrainingLog(Training *t, int level, int epoch, const char *metric, double value)
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

/*
 * Log an evaluation, level by level from `first` on, and where `whole` says so of the ids. prefix
 * goes before the metrics' names.
 */
static void
TrainingLogEvaluation(Training *t, const stk_evaluation *e, int first, bool whole, int epoch,
					  const char *prefix)
{
	for (int l = first; l < e->levels; l++)
	{
		const stk_level_evaluation *level = &e->level[l];

		TrainingLog(t, l, epoch, psprintf("%smse", prefix), level->mse);
		TrainingLog(t, l, epoch, psprintf("%srelative_error", prefix), level->relative_error);
		TrainingLog(t, l, epoch, psprintf("%sdead_codes", prefix), level->dead);
		TrainingLog(t, l, epoch, psprintf("%sentropy", prefix), level->entropy);
		TrainingLog(t, l, epoch, psprintf("%sperplexity", prefix), level->perplexity);
	}
	if (!whole)
		return;
	TrainingLog(t, -1, epoch, psprintf("%smse", prefix), e->mse);
	TrainingLog(t, -1, epoch, psprintf("%srelative_error", prefix), e->relative_error);
	TrainingLog(t, -1, epoch, psprintf("%sp_unique", prefix), e->unique_fraction);
	TrainingLog(t, -1, epoch, psprintf("%scollision_rate", prefix), e->collision_rate);
	TrainingLog(t, -1, epoch, psprintf("%sentropy", prefix), e->entropy);
	TrainingLog(t, -1, epoch, psprintf("%sperplexity", prefix), e->perplexity);
}

/* What the first `levels` levels of codewords [sum of sizes][dim] make of the rows held out. */
static void
TrainingEvaluate(const Training *t, const float *codewords, int levels, stk_evaluation *e)
{
	MemoryContext context =
		AllocSetContextCreate(CurrentMemoryContext, "semtok held-out rows", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	stk_exec exec = SemtokExec(context);
	stk_codebook cb = t->shape;
	stk_error err = {.level = -1};
	stk_rq *rq;
	stk_status status;

	cb.levels = levels;
	for (int l = 0; l < levels; l++)
	{
		cb.codewords[l] = codewords;
		codewords += (size_t) cb.sizes[l] * cb.dim;
	}
	status = stk_rq_create(&cb, &exec, STK_FILTER_BEST, &rq, &err);
	if (status == STK_OK && t->beam > 1)
		status = stk_rq_prepare_beam(rq, &exec);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not evaluate tokenizer");

	Measurement *measurement = MeasureBeginQuantizer(rq, t->beam);

	MeasureSample(measurement, &t->heldout, "eval_source");
	MeasureFinish(measurement, e);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Evaluate and log when it is time: after the last level's report of every eval_every epochs. */
static void
TrainingEvaluateNow(Training *t, const stk_train_progress *p)
{
	bool together = t->together || p->level < 0;
	stk_evaluation e;

	if (t->eval_every == 0 || p->epoch % t->eval_every != 0 ||
		(p->level >= 0 && p->level < p->trained - 1))
		return;
	TrainingEvaluate(t, p->codewords, p->trained, &e);
	TrainingLogEvaluation(t, &e, together ? 0 : p->level, p->trained == t->shape.levels, p->epoch,
						  "eval_");
}

void
TrainingProgress(void *ctx, const stk_train_progress *p)
{
	Training *t = ctx;

	t->step++;
	TrainingLog(t, p->level, p->epoch, "objective", p->objective);
	TrainingLog(t, p->level, p->epoch, "empty_codes", p->empty);
	TrainingEvaluateNow(t, p);
	if (!ProgressDue(&t->noticed))
		return;
	if (p->level < 0)
		ereport(NOTICE, (errmsg("training \"%s\": refinement round %d of %d, mean squared error %g",
								t->name, p->epoch, t->rounds, p->objective)));
	else
		ereport(
			NOTICE,
			(errmsg("training \"%s\": level %d of %d, epoch %d of %d, mean squared error %g",
					t->name, p->level + 1, t->shape.levels, p->epoch, t->epochs, p->objective)));
}

void
TrainingCheckStatus(const Training *t, stk_status status, const stk_error *err, const char *failed)
{
	if (status != STK_OK)
		SourceReportStatus(status, err, failed, "source", t->sample.numbers, t->sample.rows);
}

/* A WARNING for each level that has collapsed, and for ids that tell few rows apart. */
static void
TrainingWarn(const Training *t, const stk_evaluation *e)
{
	for (int l = 0; l < e->levels; l++)
	{
		const stk_level_evaluation *level = &e->level[l];

		if (level->perplexity < level->size * TRAINING_COLLAPSED_SHARE)
			ereport(WARNING, (errmsg("level %d of tokenizer \"%s\" has collapsed", l, t->name),
							  errdetail("Its rows use %u of %u codes; perplexity is %.1f.",
										level->used, level->size, level->perplexity)));
	}
	if (e->unique_fraction < TRAINING_UNIQUE_FRACTION)
		ereport(WARNING, (errmsg("tokenizer \"%s\" tells few rows apart", t->name),
						  errdetail("%llu rows have %llu distinct ids.",
									(unsigned long long) e->rows, (unsigned long long) e->ids)));
}

static void
TrainingMeasure(const Training *t, CodebookEntry *entry, const Sample *sample, const char *argument,
				stk_evaluation *e)
{
	Measurement *measurement = MeasureBegin(entry, t->beam);

	MeasureSample(measurement, sample, argument);
	MeasureFinish(measurement, e);
}

int32
TrainingFinish(Training *t, NewTokenizer *tokenizer)
{
	CodebookEntry *entry = CodebookPin(tokenizer->codebook, CurrentMemoryContext);
	stk_evaluation e;

	TrainingMeasure(t, entry, &t->sample, "source", &e);
	TrainingLogEvaluation(t, &e, 0, true, -1, "");
	TrainingWarn(t, &e);
	if (t->eval_source)
	{
		TrainingMeasure(t, entry, &t->heldout, "eval_source", &e);
		TrainingLogEvaluation(t, &e, 0, true, -1, "eval_");
	}
	tokenizer->name = t->name;
	tokenizer->log = t->log;
	tokenizer->nlog = t->nlog;
	return TokenizerInsert(tokenizer);
}
