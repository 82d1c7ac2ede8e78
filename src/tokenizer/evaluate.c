/*
 * semtok.evaluate and semtok.collisions: how well a tokenizer does on given rows, and which ids
 * rows share.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "client/offload.h"
#include "core/evaluate.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "tokenizer/catalog.h"
#include "tokenizer/progress.h"
#include "tokenizer/source.h"
#include "types/bridge.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(semtok_evaluate_id);
PG_FUNCTION_INFO_V1(semtok_evaluate_name);
PG_FUNCTION_INFO_V1(semtok_collisions);

/* Columns of semtok.evaluation. */
enum
{
	EVALUATION_LEVEL,
	EVALUATION_ROWS,
	EVALUATION_MSE,
	EVALUATION_RELATIVE_ERROR,
	EVALUATION_CODES,
	EVALUATION_USED,
	EVALUATION_DEAD_CODES,
	EVALUATION_USAGE,
	EVALUATION_ENTROPY,
	EVALUATION_PERPLEXITY,
	EVALUATION_GINI,
	EVALUATION_UNIQUE_FRACTION,
	EVALUATION_COLLISION_RATE,
	EVALUATION_LARGEST_COLLISION,
	EVALUATION_COLUMNS
};

#define EVALUATE_FAILED "could not evaluate tokenizer"

/* Rows under evaluation. */
typedef struct Evaluation
{
	EncodePipe *pipe;
	stk_evaluator *evaluator;
	stk_allocator allocator;
	SourcePlace place; /* of the row that an error is about */
} Evaluation;

static void
EvaluateBlame(void *ctx, int64 number)
{
	SourcePushPlace(&((Evaluation *) ctx)->place, "source", number);
}

static void
EvaluateTake(void *ctx, const float *x, const int64 *numbers, size_t n, const uint16 *codes)
{
	Evaluation *e = ctx;
	stk_error err = {.row = SIZE_MAX, .level = -1};
	stk_exec exec = SemtokExec(CurrentMemoryContext);
	stk_status status = stk_evaluator_add(e->evaluator, &exec, x, codes, n, &err);

	if (status != STK_OK)
		SourceReportStatus(status, &err, EVALUATE_FAILED, "source", numbers, n);
}

static void
EvaluateTakeRow(void *ctx, const SourceItem *item)
{
	EncodePipeAdd(((Evaluation *) ctx)->pipe, item->x, item->number);
}

static void
EvaluateBegin(Evaluation *e, const TokenizerInfo *info)
{
	EncodePipeOptions options = {.codebook = TokenizerCodebook(info, CurrentMemoryContext),
								 .beam = info->beam,
								 .device = STK_DEVICE_AUTO,
								 .failed = EVALUATE_FAILED,
								 .take = EvaluateTake,
								 .blame = EvaluateBlame,
								 .ctx = e};
	stk_status status;

	e->allocator = SemtokAllocator(CurrentMemoryContext);
	status = stk_evaluator_create(CodebookView(options.codebook), &e->allocator, &e->evaluator);
	if (status != STK_OK)
		SemtokReportStatus(status, NULL, EVALUATE_FAILED);
	e->pipe = EncodePipeBegin(&options);
}

static void
EvaluateFinish(Evaluation *e, stk_evaluation *result)
{
	stk_status status;

	EncodePipeEnd(e->pipe);
	status = stk_evaluator_finish(e->evaluator, &SemtokMonitor, result);
	if (status != STK_OK)
		SemtokReportStatus(status, NULL, EVALUATE_FAILED);
	stk_evaluator_free(e->evaluator);
}

static void
EvaluateReturnLevel(ReturnSetInfo *rsinfo, const stk_evaluation *e, int l)
{
	const stk_level_evaluation *level = &e->level[l];
	Datum values[EVALUATION_COLUMNS] = {0};
	bool nulls[EVALUATION_COLUMNS] = {false};

	values[EVALUATION_LEVEL] = Int32GetDatum(l);
	values[EVALUATION_ROWS] = Int64GetDatum((int64) e->rows);
	values[EVALUATION_MSE] = Float8GetDatum(level->mse);
	values[EVALUATION_RELATIVE_ERROR] = Float8GetDatum(level->relative_error);
	values[EVALUATION_CODES] = Int32GetDatum((int32) level->size);
	values[EVALUATION_USED] = Int64GetDatum(level->used);
	values[EVALUATION_DEAD_CODES] = Int32GetDatum((int32) level->dead);
	values[EVALUATION_USAGE] = Float8GetDatum(level->usage);
	values[EVALUATION_ENTROPY] = Float8GetDatum(level->entropy);
	values[EVALUATION_PERPLEXITY] = Float8GetDatum(level->perplexity);
	values[EVALUATION_GINI] = Float8GetDatum(level->gini);
	nulls[EVALUATION_UNIQUE_FRACTION] = true;
	nulls[EVALUATION_COLLISION_RATE] = true;
	nulls[EVALUATION_LARGEST_COLLISION] = true;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static void
EvaluateReturnOverall(ReturnSetInfo *rsinfo, const stk_evaluation *e)
{
	Datum values[EVALUATION_COLUMNS] = {0};
	bool nulls[EVALUATION_COLUMNS] = {false};

	nulls[EVALUATION_LEVEL] = true;
	values[EVALUATION_ROWS] = Int64GetDatum((int64) e->rows);
	values[EVALUATION_MSE] = Float8GetDatum(e->mse);
	values[EVALUATION_RELATIVE_ERROR] = Float8GetDatum(e->relative_error);
	nulls[EVALUATION_CODES] = true;
	values[EVALUATION_USED] = Int64GetDatum((int64) e->ids);
	nulls[EVALUATION_DEAD_CODES] = true;
	nulls[EVALUATION_USAGE] = true;
	values[EVALUATION_ENTROPY] = Float8GetDatum(e->entropy);
	values[EVALUATION_PERPLEXITY] = Float8GetDatum(e->perplexity);
	nulls[EVALUATION_GINI] = true;
	values[EVALUATION_UNIQUE_FRACTION] = Float8GetDatum(e->unique_fraction);
	values[EVALUATION_COLLISION_RATE] = Float8GetDatum(e->collision_rate);
	values[EVALUATION_LARGEST_COLLISION] = Int64GetDatum((int64) e->largest);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

static Datum
Evaluate(FunctionCallInfo fcinfo, const TokenizerInfo *info)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Source source = {.query = text_to_cstring(PG_GETARG_TEXT_PP(1)),
					 .argument = "source",
					 .what = "evaluating",
					 .dim = info->dim,
					 .metric = TokenizerRowMetric(info)};
	Evaluation evaluation;
	stk_evaluation e;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	ProgressBegin("evaluate", info->name, CurrentMemoryContext);
	ProgressPhase("evaluating");
	EvaluateBegin(&evaluation, info);
	SourceScan(&source, EvaluateTakeRow, &evaluation);
	EvaluateFinish(&evaluation, &e);
	ProgressEnd();

	EvaluateReturnOverall(rsinfo, &e);
	for (int l = 0; l < e.levels; l++)
		EvaluateReturnLevel(rsinfo, &e, l);
	return (Datum) 0;
}

/* semtok.evaluate(tokenizer int, source text) */
Datum
semtok_evaluate_id(PG_FUNCTION_ARGS)
{
	TokenizerInfo info;

	TokenizerGetById(PG_GETARG_INT32(0), &info);
	return Evaluate(fcinfo, &info);
}

/* semtok.evaluate(name text, source text) */
Datum
semtok_evaluate_name(PG_FUNCTION_ARGS)
{
	TokenizerInfo info;

	TokenizerGetByName(text_to_cstring(PG_GETARG_TEXT_PP(0)), 0, &info);
	return Evaluate(fcinfo, &info);
}

/* semtok.collisions(relation regclass, column_name name), as the caller */
Datum
semtok_collisions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid relation = PG_GETARG_OID(0);
	const char *column = NameStr(*PG_GETARG_NAME(1));
	AttrNumber attnum = get_attnum(relation, column);
	char relkind = get_rel_relkind(relation);
	StringInfoData sql;

	if (relkind == '\0')
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relation)));
	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE &&
		relkind != RELKIND_VIEW && relkind != RELKIND_MATVIEW && relkind != RELKIND_FOREIGN_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s\" is not a table or view", get_rel_name(relation))));
	if (attnum <= InvalidAttrNumber)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of relation \"%s\" does not exist", column,
							   get_rel_name(relation))));
	if (getBaseType(get_atttype(relation, attnum)) != SemtokTypeOid("semid"))
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("expected column \"%s\" of type semid, not %s", column,
							   format_type_be(get_atttype(relation, attnum)))));

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "SELECT g.sid, g.items FROM (SELECT r.%1$s::%2$s.semid AS sid,"
					 " pg_catalog.count(*) AS items FROM %3$s AS r WHERE r.%1$s IS NOT NULL"
					 " GROUP BY 1) AS g WHERE g.items OPERATOR(pg_catalog.>) 1"
					 " ORDER BY g.items USING OPERATOR(pg_catalog.>), g.sid USING OPERATOR(%2$s.<)",
					 quote_identifier(column), SemtokTypeSchema(),
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
												get_rel_name(relation)));

	SPI_connect();

	Portal portal = SPI_cursor_open_with_args(NULL, sql.data, 0, NULL, NULL, NULL, true,
											  CURSOR_OPT_NO_SCROLL | CURSOR_OPT_PARALLEL_OK);

	for (;;)
	{
		SPI_cursor_fetch(portal, true, 1000);
		if (SPI_processed == 0)
			break;
		CHECK_FOR_INTERRUPTS();
		for (uint64 i = 0; i < SPI_processed; i++)
			tuplestore_puttuple(rsinfo->setResult, SPI_tuptable->vals[i]);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	SPI_finish();
	return (Datum) 0;
}
