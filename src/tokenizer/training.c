/*
 * A training under way.
 */
#include "postgres.h"

#include "client/offload.h"
#include "core/method.h"
#include "lib/stringinfo.h"
#include "storage/shmem.h"
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

stk_device
TrainingArgDevice(FunctionCallInfo fcinfo, int argno)
{
	char *name = PG_ARGISNULL(argno) ? "auto" : text_to_cstring(PG_GETARG_TEXT_PP(argno));
	stk_device device;

	if (strcmp(name, "auto") == 0)
		device = STK_DEVICE_AUTO;
	else if (strcmp(name, "cpu") == 0)
		device = STK_DEVICE_CPU;
	else if (strcmp(name, "cuda") == 0)
		device = STK_DEVICE_CUDA;
	else
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected device auto, cpu or cuda, not \"%s\"", name)));
	OffloadCheckDevice(device);
	return device;
}

static void
TrainingTakeRow(void *ctx, const SourceItem *item)
{
	SampleAdd(ctx, item->x, item->dim, item->number);
}

static bool
TrainingExpect(void *ctx, double rows, SourceFilter *filter)
{
	Sample *sample = ctx;

	if (!SampleExpect(sample, rows))
		return false;
	*filter = (SourceFilter){.seed = sample->seed, .bar = sample->bar};
	return true;
}

static bool
TrainingAgain(void *ctx, bool anew)
{
	if (anew)
		SampleForget(ctx);
	return !anew && SampleAgain(ctx);
}

static void
TrainingPhase(Training *t, const char *phase)
{
	if (t->phase && strcmp(t->phase, phase) == 0)
		return;
	t->phase = phase;
	ProgressPhase(phase);
}

/* The metric is between latent vectors where a method has any: rows may be zero then. */
static Source
TrainingSource(const Training *t)
{
	bool latent = stk_method_of(t->plan.method)->state_bytes != NULL;

	return (Source){.query = t->source,
					.argument = "source",
					.what = psprintf("training \"%s\"", t->name),
					.dim = t->plan.dim,
					.metric = latent ? STK_L2 : t->plan.metric};
}

void
TrainingRead(Training *t)
{
	Source source = TrainingSource(t);
	Source eval = source;

	eval.query = t->eval_source;
	eval.argument = "eval_source";
	if (t->eval_source)
		SourceCheck(&eval);
	t->context = CurrentMemoryContext;
	t->spool = SpoolCreate(t->context);
	ProgressBegin(t->verb, t->name, t->context);
	TrainingPhase(t, "reading");
	SampleInit(&t->sample, t->spool, (size_t) t->limit, t->plan.seed);
	source.expect = TrainingExpect;
	source.again = TrainingAgain;
	SourceScan(&source, TrainingTakeRow, &t->sample);
	t->plan.dim = t->sample.dim;
	if (t->eval_source)
	{
		TrainingPhase(t, "reading held-out rows");
		eval.dim = t->plan.dim;
		SampleInit(&t->heldout, t->spool, 0, 0);
		SourceScan(&eval, TrainingTakeRow, &t->heldout);
	}
	t->noticed = GetCurrentTimestamp();
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

/* Is it of all levels, which learn at once, or of one behind those that are finished? */
static bool
TrainingIsJoint(const Training *t, const stk_train_report *r)
{
	return r->level < 0 || stk_method_of(t->plan.method)->joint(&t->plan);
}

static void
TrainingTell(const Training *t, const stk_train_report *r)
{
	if (r->nnumbers > 0)
		ereport(NOTICE, (errmsg("training \"%s\": epoch %d of %d, loss %g", t->name, r->epoch,
								t->plan.epochs, r->objective)));
	else if (r->level < 0)
		ereport(NOTICE, (errmsg("training \"%s\": refinement round %d of %d, mean squared error %g",
								t->name, r->epoch, t->plan.refine, r->objective)));
	else
		ereport(
			NOTICE,
			(errmsg("training \"%s\": level %d (0 to %d), epoch %d of %d, mean squared error %g",
					t->name, r->level, t->plan.levels - 1, r->epoch, t->plan.epochs,
					r->objective)));
}

/*
 * The view's part of a report. Its rows are those that the phase has gone through, counted again in
 * every epoch. What follows the last report of a phase is the next one, though Lloyd's iterations
 * may end sooner than that.
 */
static void
TrainingShow(Training *t, const stk_train_report *r)
{
	const stk_train_plan *plan = &t->plan;
	int64 rows = (int64) t->sample.rows;
	bool refining = r->level < 0;
	bool joint = TrainingIsJoint(t, r);
	/* refinement encodes before its first round and after its last */
	int64 done = refining ? r->epoch + 1 : r->epoch + (joint ? 0 : (int64) r->level * plan->epochs);
	int64 total = refining ? plan->refine + 2 : plan->epochs * (joint ? 1 : (int64) plan->levels);

	TrainingPhase(t, refining ? "refining" : "training");
	ProgressRows(done * rows, total * rows);
	ProgressEpoch(r->nnumbers > 0 ? -1 : r->level, plan->levels, r->epoch,
				  refining ? plan->refine : plan->epochs, r->objective);
	if (done == total && (refining || r->level == plan->levels - 1))
		TrainingPhase(t, refining || plan->refine == 0 ? "evaluating" : "refining");
}

/*
 * A report's part of the log: what was measured while learning and, when it was time, what the
 * codebook makes of the rows held out: the whole codebook, or, of levels that learn one after the
 * other, the one that is learning.
 */
static void
TrainingReported(void *ctx, const stk_train_report *r)
{
	Training *t = ctx;
	MemoryContext old = MemoryContextSwitchTo(t->context);

	t->step++;
	for (int i = 0; i < r->nnumbers; i++)
	{
		const stk_train_number *n = &r->numbers[i];

		TrainingLog(t, n->level, r->epoch,
					psprintf("%s%s", n->heldout ? "eval_" : "", stk_train_metric_name(n->metric)),
					n->value);
	}
	if (r->nnumbers == 0)
	{
		TrainingLog(t, r->level, r->epoch, "objective", r->objective);
		TrainingLog(t, r->level, r->epoch, "empty_codes", r->empty);
	}
	if (r->evaluated)
		TrainingLogEvaluation(t, &r->heldout, TrainingIsJoint(t, r) ? 0 : r->level,
							  r->trained == t->plan.levels, r->epoch, "eval_");
	if (r->state && t->kept)
		CheckpointWrite(&t->checkpoint, r->state, t->state_bytes);
	TrainingShow(t, r);
	if (ProgressDue(&t->noticed))
		TrainingTell(t, r);
	MemoryContextSwitchTo(old);
}

/* The training begins again behind an epoch: what the log has of others had never been. */
static void
TrainingRestarted(void *ctx, int epoch)
{
	Training *t = ctx;

	while (t->nlog > 0 && t->log[t->nlog - 1].epoch > epoch)
		t->nlog--;
	if (epoch == 0)
		t->nlog = 0;
	t->step = epoch > 0 ? epoch : t->resumed;
	TrainingPhase(t, "training");
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
										level->used, level->size, level->perplexity),
							  errhint("Most rows share few codes: train on rows that are less "
									  "alike, with fewer codes, or with option \"%s\".",
									  t->state_bytes > 0 ? "diversity" : "balance")));
	}
	if (e->unique_fraction < TRAINING_UNIQUE_FRACTION)
		ereport(WARNING, (errmsg("tokenizer \"%s\" tells few rows apart", t->name),
						  errdetail("%llu rows have %llu distinct ids.",
									(unsigned long long) e->rows, (unsigned long long) e->ids),
						  errhint("More levels or more codes tell more rows apart, but for those "
								  "with equal embeddings.")));
}

/* A row that is looked for in its source, by its content. */
typedef struct TrainingSought
{
	const float *x;
	int64 number; /* 0 = not found so far */
} TrainingSought;

static void
TrainingCompareRow(void *ctx, const SourceItem *item)
{
	TrainingSought *sought = ctx;

	if (sought->number == 0 && item->x &&
		memcmp(item->x, sought->x, sizeof(float) * item->dim) == 0)
		sought->number = item->number;
}

/* A row of a sample came without its number, and an error is to name it: read the source again. */
static void
TrainingNumberRow(Training *t, size_t row)
{
	Source source = TrainingSource(t);
	float *x = palloc(sizeof(float) * t->sample.dim);
	TrainingSought sought = {.x = x};

	SampleRead(&t->sample, row, x);
	source.all_rows = true;
	SourceScan(&source, TrainingCompareRow, &sought);
	t->sample.numbers[row] = sought.number;
}

pg_noreturn static void
TrainingFailed(Training *t, stk_status status, stk_train_which which, const stk_error *err)
{
	if (which == STK_ROWS_HELDOUT)
		SourceReportStatus(status, err, "could not evaluate tokenizer", "eval_source",
						   t->heldout.numbers, t->heldout.rows);
	if (err->row < t->sample.rows && t->sample.numbers[err->row] == 0)
		TrainingNumberRow(t, err->row);
	SourceReportStatus(status, err, t->failed, "source", t->sample.numbers, t->sample.rows);
}

stk_train_result
TrainingRoom(const stk_train_plan *plan)
{
	const stk_method *method = stk_method_of(plan->method);
	Size state = method->state_bytes ? method->state_bytes(plan) : 0;
	/* A state is longer than the codebook that is made of it. */
	Size bytes = state > 0 ? state : stk_codebook_bytes(plan->levels, plan->sizes, plan->dim);

	if (bytes == 0 || !AllocSizeIsValid(bytes + VARHDRSZ))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 state > 0 ? errmsg("what a training of these sizes and %d dimensions keeps is too "
									"large",
									plan->dim)
						   : errmsg("a codebook of these sizes and %d dimensions is too large",
									plan->dim)));
	if (state > 0)
		return (stk_train_result){.state = palloc(state)};
	return (stk_train_result){.codewords = palloc(bytes),
							  .counts = palloc(mul_size(stk_plan_codes(plan), sizeof(double)))};
}

/* What makes a difference to what is learnt. */
static char *
TrainingDescribe(const Training *t)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "%s %s %s %s %d %d", t->verb, stk_method_of(t->plan.method)->name,
					 t->how, stk_metric_name(t->plan.metric), t->plan.dim, t->plan.eval_every);
	for (int l = 0; l < t->plan.levels; l++)
		appendStringInfo(&text, " %u", t->plan.sizes[l]);
	return text.data;
}

/* Find the checkpoint, if there is to be one, and go on from it, if that is asked for. */
static void
TrainingResume(Training *t, stk_train_result *result)
{
	const stk_method *method = stk_method_of(t->plan.method);
	stk_allocator a = SemtokAllocator(CurrentMemoryContext);
	stk_error err = {.level = -1};
	uint8 *state = NULL;
	int epoch = 0;

	t->state_bytes = method->state_bytes ? method->state_bytes(&t->plan) : 0;
	t->kept = t->plan.checkpoint_every > 0 || t->resume;
	if (!t->kept)
		return;
	CheckpointSweep();
	CheckpointInit(&t->checkpoint, t->name, TrainingDescribe(t), &t->sample, &t->heldout);
	if (!t->resume)
		return;
	state = CheckpointRead(&t->checkpoint, t->state_bytes);
	if (!state || method->epoch(&t->plan, &a, state, &epoch, &err) != STK_OK)
	{
		ereport(NOTICE, (errmsg("training \"%s\" has no checkpoint to go on from", t->name),
						 errdetail("It begins anew. A checkpoint is of the same role, arguments, "
								   "rows and version of semtok.")));
		return;
	}
	memcpy(result->state, state, t->state_bytes);
	pfree(state);
	t->plan.resume = true;
	t->step = t->resumed = epoch;
	ereport(NOTICE, (errmsg("training \"%s\" goes on behind epoch %d of %d", t->name, epoch,
							t->plan.epochs)));
}

void
TrainingRun(Training *t, stk_train_result *result)
{
	OffloadTraining training = {.device = t->device,
								.name = t->name,
								.spool = t->spool,
								.rows_at = t->sample.at,
								.n = t->sample.rows,
								.heldout_at = t->heldout.at,
								.heldout_n = t->heldout.rows,
								.report = TrainingReported,
								.report_ctx = t};
	stk_error err = {.row = SIZE_MAX, .level = -1};
	stk_status status;

	TrainingResume(t, result);
	training.plan = t->plan;
	TrainingPhase(t, "training");
	status = OffloadTrain(&training, TrainingRestarted, result, &err);
	if (status != STK_OK)
		TrainingFailed(t, status, result->which, &err);
	SpoolClose(t->spool);
	TrainingPhase(t, "storing");
	TrainingLogEvaluation(t, &result->rows, 0, true, -1, "");
	TrainingWarn(t, &result->rows);
	if (t->eval_source)
		TrainingLogEvaluation(t, &result->heldout, 0, true, -1, "eval_");
}

/* The codebook and the state of a method that has one, as they are stored. */
static void
TrainingStore(const Training *t, const stk_train_result *result, NewTokenizer *tokenizer)
{
	stk_allocator a = SemtokAllocator(CurrentMemoryContext);
	stk_error err = {.row = SIZE_MAX, .level = -1};
	bytea *state = palloc(t->state_bytes + VARHDRSZ);
	struct varlena *codebook;
	uint8_t *stored;
	size_t bytes;
	stk_status status =
		stk_method_of(t->plan.method)->store(&t->plan, &a, result->state, &stored, &bytes, &err);

	if (status != STK_OK)
		SemtokReportStatus(status, &err, t->failed);
	codebook = palloc(bytes + VARHDRSZ);
	SET_VARSIZE(codebook, bytes + VARHDRSZ);
	memcpy(VARDATA(codebook), stored, bytes);
	SET_VARSIZE(state, t->state_bytes + VARHDRSZ);
	memcpy(VARDATA(state), result->state, t->state_bytes);
	tokenizer->codebook = PointerGetDatum(codebook);
	tokenizer->state = PointerGetDatum(state);
}

int32
TrainingFinish(Training *t, const stk_train_result *result, NewTokenizer *tokenizer)
{
	const stk_train_plan *plan = &t->plan;
	int32 id;

	if (result->state)
		TrainingStore(t, result, tokenizer);
	else
	{
		tokenizer->codebook = CodebookMakeDatum(plan->metric, plan->levels, plan->sizes, plan->dim,
												result->codewords);
		tokenizer->counts = result->counts;
	}
	tokenizer->name = t->name;
	tokenizer->log = t->log;
	tokenizer->nlog = t->nlog;
	id = TokenizerInsert(tokenizer);
	if (t->kept)
		CheckpointRemoveAtCommit(&t->checkpoint);
	return id;
}
