/*
 * A training under way.
 */
#include "postgres.h"

#include "tokenizer/args.h"
#include "tokenizer/measure.h"
#include "tokenizer/progress.h"
#include "tokenizer/source.h"
#include "tokenizer/training.h"
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
TrainingTakeRow(void *ctx, const float *x, int dim)
{
	Training *t = ctx;

	SampleAdd(&t->sample, x, dim);
}

void
TrainingRead(Training *t, int dim, stk_metric metric)
{
	SampleInit(&t->sample, (size_t) t->limit, t->seed);
	SourceScan(t->source, psprintf("training \"%s\"", t->name), dim, metric, TrainingTakeRow, t);
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

void
TrainingProgress(void *ctx, const stk_train_progress *p)
{
	Training *t = ctx;

	t->step++;
	TrainingLog(t, p->level, p->epoch, "objective", p->objective);
	TrainingLog(t, p->level, p->epoch, "empty_codes", p->empty);
	if (!ProgressDue(&t->noticed))
		return;
	if (p->level < 0)
		ereport(NOTICE, (errmsg("training \"%s\": refinement round %d of %d, mean squared error %g",
								t->name, p->epoch, t->rounds, p->objective)));
	else
		ereport(NOTICE,
				(errmsg("training \"%s\": level %d of %d, epoch %d of %d, mean squared error %g",
						t->name, p->level + 1, t->levels, p->epoch, t->epochs, p->objective)));
}

/*
 * Log what the finished tokenizer makes of its rows, and warn when it makes too little of them.
 */
static void
TrainingMeasure(Training *t, CodebookEntry *entry, int beam)
{
	Measurement *measurement = MeasureBegin(entry, beam);
	stk_evaluation e;

	MeasureRows(measurement, t->sample.x, t->sample.rows);
	MeasureFinish(measurement, &e);

	for (int l = 0; l < e.levels; l++)
	{
		const stk_level_evaluation *level = &e.level[l];

		TrainingLog(t, l, -1, "mse", level->mse);
		TrainingLog(t, l, -1, "relative_error", level->relative_error);
		TrainingLog(t, l, -1, "dead_codes", level->dead);
		TrainingLog(t, l, -1, "entropy", level->entropy);
		TrainingLog(t, l, -1, "perplexity", level->perplexity);
		if (level->perplexity < level->size * TRAINING_COLLAPSED_SHARE)
			ereport(WARNING, (errmsg("level %d of tokenizer \"%s\" has collapsed", l, t->name),
							  errdetail("Its rows use %u of %u codes; perplexity is %.1f.",
										level->used, level->size, level->perplexity)));
	}
	TrainingLog(t, -1, -1, "mse", e.mse);
	TrainingLog(t, -1, -1, "relative_error", e.relative_error);
	TrainingLog(t, -1, -1, "p_unique", e.unique_fraction);
	TrainingLog(t, -1, -1, "collision_rate", e.collision_rate);
	TrainingLog(t, -1, -1, "entropy", e.entropy);
	TrainingLog(t, -1, -1, "perplexity", e.perplexity);
	if (e.unique_fraction < TRAINING_UNIQUE_FRACTION)
		ereport(WARNING, (errmsg("tokenizer \"%s\" tells few rows apart", t->name),
						  errdetail("%llu rows have %llu distinct ids.",
									(unsigned long long) e.rows, (unsigned long long) e.ids)));
}

int32
TrainingFinish(Training *t, int beam, NewTokenizer *tokenizer)
{
	TrainingMeasure(t, CodebookPin(tokenizer->codebook, CurrentMemoryContext), beam);
	tokenizer->name = t->name;
	tokenizer->log = t->log;
	tokenizer->nlog = t->nlog;
	return TokenizerInsert(tokenizer);
}
