/*
 * semtok.tokenize_trigger: a BEFORE ROW trigger that keeps a column of ids in step with a column of
 * embeddings.
 *
 * An INSERT that gives an id keeps it, so that copies (COPY of a dump, replication) need no
 * tokenizer. An UPDATE encodes when the embedding has become another value, byte by byte, and the
 * id has not: who changes both means the id as it is. Whether a statement names the id's column
 * does not count, since object-relational mappers write all columns back.
 *
 * Everything is found by OID or under qualified names: apply workers and restores have an empty
 * search_path.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "tokenizer/encode.h"
#include "tokenizer/registry.h"
#include "types/bridge.h"
#include "types/funcarg.h"
#include "types/vector_cast.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(semtok_tokenize_trigger);

enum
{
	TRIGGER_EMBEDDING,
	TRIGGER_SID,
	TRIGGER_TOKENIZER,
	TRIGGER_ARGS
};

/* What a statement finds out at its first row of a table. */
typedef struct TriggerSite
{
	Oid relation;
	AttrNumber embedding;
	AttrNumber sid;
	ExprState *cast; /* of the embedding to real[]; NULL when it is one */
	ExprContext *cast_context;
	FmgrInfo fit; /* checks an id against the column's typmod, where that is not negative */
	int32 typmod;
	Oid domain; /* the id's column is of this domain; InvalidOid = of type semid */
	void *domain_checks;
	text *name;
	TokenizerSite *tokenizer;
	int32 locked; /* id of the tokenizer that cannot be dropped any more */
} TriggerSite;

static void
TriggerCheckCall(FunctionCallInfo fcinfo)
{
	static const char *const hint =
		"CREATE TRIGGER ... BEFORE INSERT OR UPDATE ON ... FOR EACH ROW EXECUTE FUNCTION "
		"semtok.tokenize_trigger('embedding column', 'semid column', 'tokenizer').";
	const TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("semtok.tokenize_trigger() can only be called as a trigger"),
						errhint("%s", hint)));
	if (!TRIGGER_FIRED_BEFORE(data->tg_event) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) ||
		TRIGGER_FIRED_BY_DELETE(data->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("trigger \"%s\" must fire before INSERT or UPDATE, for each row",
							   data->tg_trigger->tgname),
						errhint("%s", hint)));
	if (data->tg_trigger->tgnargs != TRIGGER_ARGS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected %d arguments of trigger \"%s\", not %d", TRIGGER_ARGS,
							   data->tg_trigger->tgname, data->tg_trigger->tgnargs),
						errhint("%s", hint)));
}

/* A column that a BEFORE trigger can read and write. */
static Form_pg_attribute
TriggerColumn(Relation rel, const char *name)
{
	int attnum = SPI_fnumber(RelationGetDescr(rel), name);
	Form_pg_attribute column;

	if (attnum <= 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("column \"%s\" of relation \"%s\" does not exist", name,
							   RelationGetRelationName(rel))));
	column = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	if (column->attgenerated != '\0')
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("column \"%s\" of relation \"%s\" is generated", name,
							   RelationGetRelationName(rel)),
						errdetail("Generated columns are computed after BEFORE triggers.")));
	return column;
}

/* Make ready to cast the embedding's column to real[], unless it is of that type. */
static void
TriggerFindCast(TriggerSite *site, Form_pg_attribute column)
{
	CaseTestExpr *value;
	Node *cast;
	Node *faster;

	if (column->atttypid == FLOAT4ARRAYOID)
		return;
	value = makeNode(CaseTestExpr);
	value->typeId = column->atttypid;
	value->typeMod = column->atttypmod;
	value->collation = column->attcollation;
	cast = coerce_to_target_type(NULL, (Node *) value, column->atttypid, FLOAT4ARRAYOID, -1,
								 COERCION_EXPLICIT, COERCE_EXPLICIT_CAST, -1);
	if (!cast)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("expected column \"%s\" of a type with a cast to real[], not %s",
							   NameStr(column->attname),
							   format_type_with_typemod(column->atttypid, column->atttypmod))));
	faster = VectorCastReplace(cast);
	site->cast = ExecInitExpr(expression_planner((Expr *) (faster ? faster : cast)), NULL);
	site->cast_context = CreateStandaloneExprContext();
}

/* Find out what an id must fulfil to be put into the column. */
static void
TriggerFindFit(TriggerSite *site, Form_pg_attribute column)
{
	Oid semid = SemtokTypeOid("semid");
	Oid function;

	site->typmod = column->atttypmod;
	if (getBaseTypeAndTypmod(column->atttypid, &site->typmod) != semid)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("expected column \"%s\" of type semid, not %s", NameStr(column->attname),
						format_type_with_typemod(column->atttypid, column->atttypmod))));
	site->domain = column->atttypid == semid ? InvalidOid : column->atttypid;
	if (site->typmod < 0)
		return;
	if (find_typmod_coercion_function(semid, &function) != COERCION_PATH_FUNC)
		elog(ERROR, "type semid has no length coercion");
	fmgr_info_cxt(function, &site->fit, CurrentMemoryContext);
}

static TriggerSite *
TriggerSiteOf(FunctionCallInfo fcinfo)
{
	const TriggerData *data = (TriggerData *) fcinfo->context;
	Relation rel = data->tg_relation;
	char **args = data->tg_trigger->tgargs;
	TriggerSite *site = fcinfo->flinfo->fn_extra;
	Form_pg_attribute embedding;
	Form_pg_attribute sid;
	MemoryContext old;

	if (site && site->relation == RelationGetRelid(rel))
		return site;

	embedding = TriggerColumn(rel, args[TRIGGER_EMBEDDING]);
	sid = TriggerColumn(rel, args[TRIGGER_SID]);
	old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	site = palloc0(sizeof(*site));
	site->relation = RelationGetRelid(rel);
	site->embedding = embedding->attnum;
	site->sid = sid->attnum;
	TriggerFindCast(site, embedding);
	TriggerFindFit(site, sid);
	site->name = cstring_to_text(args[TRIGGER_TOKENIZER]);
	site->tokenizer = TokenizerSiteCreate(CurrentMemoryContext);
	MemoryContextSwitchTo(old);
	fcinfo->flinfo->fn_extra = site;
	return site;
}

/* Do both rows of an update hold the same value? Not two of equal meaning: the same bytes. */
static bool
TriggerUnchanged(const TriggerData *data, AttrNumber attnum)
{
	TupleDesc desc = RelationGetDescr(data->tg_relation);
	Form_pg_attribute column = TupleDescAttr(desc, attnum - 1);
	struct varatt_external toast[2];
	bool null[2];
	Datum before = heap_getattr(data->tg_trigtuple, attnum, desc, &null[0]);
	Datum after = heap_getattr(data->tg_newtuple, attnum, desc, &null[1]);

	if (null[0] || null[1])
		return null[0] && null[1];
	/* What an update leaves alone in the toast table need not be fetched. */
	if (column->attlen == -1 && FuncArgToastPointer(before, &toast[0]) &&
		FuncArgToastPointer(after, &toast[1]) && FuncArgSameToast(&toast[0], &toast[1]))
		return true;
	return datum_image_eq(before, after, column->attbyval, column->attlen);
}

/*
 * The tokenizer, which from now on is not dropped before the transaction ends: drop_tokenizer looks
 * for ids that it made, and cannot see ours until then.
 */
static const TokenizerRef *
TriggerTokenizer(TriggerSite *site)
{
	const TokenizerRef *ref = TokenizerSiteByName(site->tokenizer, site->name);
	TokenizerInfo info;
	bool found;

	if (site->locked == ref->info.id)
		return ref;
	TokenizerLockId(ref->info.id, AccessShareLock);
	PushActiveSnapshot(GetLatestSnapshot());
	found = TokenizerFindById(ref->info.id, &info);
	PopActiveSnapshot();
	if (!found)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("tokenizer with id %d was dropped concurrently", ref->info.id)));
	site->locked = ref->info.id;
	return ref;
}

/* The embedding as real[]; its type's own null becomes *isnull. */
static Datum
TriggerCast(TriggerSite *site, Datum embedding, bool *isnull)
{
	if (!site->cast)
		return embedding;
	ResetExprContext(site->cast_context);
	site->cast_context->caseValue_datum = embedding;
	site->cast_context->caseValue_isNull = false;
	return ExecEvalExpr(site->cast, site->cast_context, isnull);
}

/* The id of a row's embedding; null when that is. */
static Datum
TriggerEncode(TriggerSite *site, HeapTuple tuple, TupleDesc desc, bool *isnull)
{
	Datum embedding = heap_getattr(tuple, site->embedding, desc, isnull);
	Datum sid = 0;

	if (!*isnull)
		embedding = TriggerCast(site, embedding, isnull);
	if (!*isnull)
	{
		const TokenizerRef *ref = TriggerTokenizer(site);

		sid = EncodeEmbedding(ref->codebook, ref->info.id, embedding, ref->info.beam);
		if (site->typmod >= 0)
			sid = FunctionCall3(&site->fit, sid, Int32GetDatum(site->typmod), BoolGetDatum(false));
	}
	return sid;
}

static void
TriggerErrorContext(void *arg)
{
	const TriggerData *data = arg;

	errcontext("trigger \"%s\" on table \"%s\"", data->tg_trigger->tgname,
			   RelationGetRelationName(data->tg_relation));
}

/* The tuple with its id renewed where that is due. */
static HeapTuple
TriggerTuple(FunctionCallInfo fcinfo)
{
	const TriggerData *data = (TriggerData *) fcinfo->context;
	TupleDesc desc = RelationGetDescr(data->tg_relation);
	TriggerSite *site = TriggerSiteOf(fcinfo);
	bool update = TRIGGER_FIRED_BY_UPDATE(data->tg_event);
	HeapTuple tuple = update ? data->tg_newtuple : data->tg_trigtuple;
	int column = site->sid;
	bool isnull;
	Datum sid;

	if (update && (TriggerUnchanged(data, site->embedding) || !TriggerUnchanged(data, site->sid)))
		return tuple;
	if (!update && !heap_attisnull(tuple, site->sid, desc))
		return tuple;
	sid = TriggerEncode(site, tuple, desc, &isnull);
	if (OidIsValid(site->domain))
		domain_check(sid, isnull, site->domain, &site->domain_checks, fcinfo->flinfo->fn_mcxt);
	return heap_modify_tuple_by_cols(tuple, desc, 1, &column, &sid, &isnull);
}

/* semtok.tokenize_trigger('embedding column', 'semid column', 'tokenizer') */
Datum
semtok_tokenize_trigger(PG_FUNCTION_ARGS)
{
	ErrorContextCallback callback = {
		.previous = error_context_stack, .callback = TriggerErrorContext, .arg = fcinfo->context};
	HeapTuple tuple;

	TriggerCheckCall(fcinfo);
	error_context_stack = &callback;
	tuple = TriggerTuple(fcinfo);
	error_context_stack = callback.previous;
	return PointerGetDatum(tuple);
}
