/*
 * The search by an ordered query.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/ruleutils.h"

#include "core/quota.h"
#include "decode/beam.h"
#include "types/bridge.h"
#include "types/semid.h"

#define FETCH_ROWS 100

/* Rows on their way: those of one id follow each other. */
typedef struct RowStream
{
	const DecodeOptions *options;
	stk_quota quota;
	BeamResult *result;
	BeamRow row; /* of the id whose rows come; none counted: no row has come */
} RowStream;

/*
 * The ordered query, which gives the rows of one id together. $1 is the semquery, $2 the weights of
 * length_weights, used where there are some.
 */
static char *
ordered_query(const Items *items, bool weighted)
{
	StringInfoData sql;
	Oid relid = RelationGetRelid(items->table);
	char relkind = items->table->rd_rel->relkind;
	const char *schema = SemtokTypeSchema();
	const char *column = quote_identifier(get_attname(relid, items->column, false));

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT i.%s, i.%s OPERATOR(%s.<~>) $1 FROM %s%s i", column, column,
					 schema, relkind == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ",
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
												RelationGetRelationName(items->table)));
	if (items->predicate != NIL)
		appendStringInfo(&sql, " WHERE %s",
						 deparse_expression((Node *) make_ands_explicit(items->predicate),
											deparse_context_for("i", relid), true, false));
	/* The index gives the order of the costs; equal ones are sorted in work_mem or a file. */
	appendStringInfo(&sql, " ORDER BY (i.%s OPERATOR(%s.<~>) $1)", column, schema);
	if (weighted)
		appendStringInfo(&sql, " OPERATOR(pg_catalog./) ($2)[%s.semid_levels(i.%s)]", schema,
						 column);
	appendStringInfo(&sql, ", i.%s", column);
	return sql.data;
}

/*
 * What the cost of an id is divided by to rank it: a float8[] by its levels; 0 without a penalty.
 */
static Datum
length_weights(const stk_decode_options *options)
{
	Datum weights[STK_MAX_LEVELS];

	if (options->length_penalty == 0)
		return (Datum) 0;
	for (int levels = 1; levels <= STK_MAX_LEVELS; levels++)
		weights[levels - 1] = Float8GetDatum(stk_length_weight(levels, options->length_penalty));
	return PointerGetDatum(construct_array(weights, STK_MAX_LEVELS, FLOAT8OID, sizeof(float8),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static void
set_locally(const char *name, const char *value)
{
	set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/* May this id be a result? */
static bool
is_wanted(const RowStream *stream, const stk_semid *id)
{
	const stk_semset *exclude = stream->options->exclude;
	uint8 bytes[STK_SEMID_MAX_BYTES];

	if (stk_quota_full(&stream->quota, id->tokenizer, id->codes, id->levels))
		return false;
	return exclude == NULL || !stk_semset_contains(exclude, bytes, stk_semid_pack(id, bytes));
}

/* All rows of an id have come. */
static void
finish_id(RowStream *stream)
{
	const BeamRow *row = &stream->row;

	if (row->items > 0 && is_wanted(stream, &row->id))
	{
		stk_status status = stk_quota_take(&stream->quota, &row->id);

		if (status != STK_OK)
			SemtokReportStatus(status, NULL, "could not search the items");
		BeamAdd(stream->result, &row->id, row->cost, row->items);
	}
	stream->row.items = 0;
}

static bool
same_id(const stk_semid *a, const stk_semid *b)
{
	return a->tokenizer == b->tokenizer && a->levels == b->levels &&
		   memcmp(a->codes, b->codes, a->levels * sizeof(uint16)) == 0;
}

/* Take the fetched rows; false when the search is over. */
static bool
take_rows(RowStream *stream)
{
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple tuple = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool isnull;
		Datum cost_datum = SPI_getbinval(tuple, desc, 2, &isnull);
		double cost = isnull ? INFINITY : DatumGetFloat8(cost_datum);
		stk_semid id;

		if (isinf(cost))
			return false; /* unscored rows come last */
		SemidUnpack(DatumGetSemidPP(SPI_getbinval(tuple, desc, 1, &isnull)), &id);
		if (stream->row.items > 0 && !same_id(&stream->row.id, &id))
			finish_id(stream);
		if (stream->result->n == stream->options->k)
			return false;
		stream->row.id = id;
		stream->row.cost = cost;
		stream->row.items++;
	}
	return SPI_processed > 0;
}

void
BeamSearchExecutor(const Items *items, Datum semquery, const DecodeOptions *options,
				   BeamResult *result)
{
	stk_allocator allocator = SemtokAllocator(CurrentMemoryContext);
	RowStream stream = {.options = options, .result = result};
	Datum values[2] = {semquery, length_weights(&options->core)};
	Oid argtypes[2] = {SemtokTypeOid("semquery"), FLOAT8ARRAYOID};
	int n_values = values[1] ? 2 : 1;
	char *sql = ordered_query(items, n_values == 2);
	int nest_level = NewGUCNestLevel();
	Portal portal;
	bool more = true;

	stk_quota_init(&stream.quota, options->core.per_prefix, &allocator);
	/* Exact: a beam filled with rows that the caller may not see would leave none to return. */
	set_locally("semtok.beam_width", "0");
	set_locally("cursor_tuple_fraction", "0"); /* few rows will be fetched */
	SPI_connect();
	portal = SPI_cursor_open_with_args(NULL, sql, n_values, argtypes, values, NULL, true,
									   CURSOR_OPT_NO_SCROLL | CURSOR_OPT_FAST_PLAN);
	while (more)
	{
		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		more = take_rows(&stream);
		SPI_freetuptable(SPI_tuptable);
	}
	if (result->n < options->k)
		finish_id(&stream);
	SPI_cursor_close(portal);
	SPI_finish();
	AtEOXact_GUC(true, nest_level);
	stk_quota_free(&stream.quota);
}
