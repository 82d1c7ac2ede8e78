#include "postgres.h"

#include <math.h>

#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/ruleutils.h"

#include "decode/beam.h"
#include "types/bridge.h"
#include "types/semid.h"

#define FETCH_ROWS 100

/* An id and the number of its rows. */
typedef struct TiedId
{
	stk_semid id;
	int64 items;
} TiedId;

/* Ids of equal cost, gathered because a plan without the index does not order them. */
typedef struct TieGroup
{
	MemoryContext context;
	double cost;
	TiedId *ids;
	size_t n;
	size_t size;
} TieGroup;

/* The ordered query; its only parameter is the semquery. */
static char *
ordered_query(const Items *items)
{
	StringInfoData sql;
	Oid relid = RelationGetRelid(items->table);
	char relkind = items->table->rd_rel->relkind;
	const char *column = quote_identifier(get_attname(relid, items->column, false));

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT i.%s, i.%s OPERATOR(%s.<~>) $1 FROM %s%s i", column, column,
					 SemtokTypeSchema(), relkind == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ",
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
												RelationGetRelationName(items->table)));
	if (items->predicate != NIL)
		appendStringInfo(&sql, " WHERE %s",
						 deparse_expression((Node *) make_ands_explicit(items->predicate),
											deparse_context_for("i", relid), true, false));
	appendStringInfo(&sql, " ORDER BY i.%s OPERATOR(%s.<~>) $1", column, SemtokTypeSchema());
	return sql.data;
}

static void
set_locally(const char *name, const char *value)
{
	set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/* Add a row to the group. */
static void
add_tied(TieGroup *group, const stk_semid *id)
{
	if (group->n > 0 && BeamCompareIds(&group->ids[group->n - 1].id, id) == 0)
	{
		group->ids[group->n - 1].items++;
		return;
	}
	if (group->n == group->size)
	{
		size_t size = group->size ? group->size * 2 : 64;

		group->ids = group->ids ? repalloc_huge(group->ids, size * sizeof(TiedId))
								: MemoryContextAlloc(group->context, size * sizeof(TiedId));
		group->size = size;
	}
	group->ids[group->n++] = (TiedId){.id = *id, .items = 1};
}

static int
compare_tied(const void *a, const void *b)
{
	return BeamCompareIds(&((const TiedId *) a)->id, &((const TiedId *) b)->id);
}

/* Return the ids of the group, lowest first, and empty it. */
static void
flush_group(TieGroup *group, BeamSink *sink)
{
	if (group->n > 1)
		qsort(group->ids, group->n, sizeof(TiedId), compare_tied);
	for (size_t i = 0; i < group->n && sink->rank < sink->k;)
	{
		int64 items = group->ids[i].items;
		size_t next = i + 1;

		while (next < group->n && compare_tied(&group->ids[i], &group->ids[next]) == 0)
			items += group->ids[next++].items;
		BeamEmit(sink, group->cost, &group->ids[i].id, items);
		i = next;
	}
	group->n = 0;
}

/* Take the fetched rows; false when the search is over. */
static bool
take_rows(TieGroup *group, BeamSink *sink)
{
	if (SPI_processed == 0)
		return false;
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
		if (group->n > 0 && cost != group->cost)
			flush_group(group, sink);
		if (sink->rank == sink->k)
			return false;
		group->cost = cost;
		SemidUnpack(DatumGetSemidPP(SPI_getbinval(tuple, desc, 1, &isnull)), &id);
		add_tied(group, &id);
	}
	return true;
}

void
BeamSearchExecutor(const Items *items, Datum semquery, BeamSink *sink)
{
	TieGroup group = {.context = CurrentMemoryContext};
	Oid argtypes[1] = {SemtokTypeOid("semquery")};
	char *sql = ordered_query(items);
	int nest_level = NewGUCNestLevel();
	Portal portal;
	bool more = true;

	/* Exact: a beam filled with rows that the caller may not see would leave none to return. */
	set_locally("semtok.beam_width", "0");
	set_locally("cursor_tuple_fraction", "0"); /* few rows will be fetched */
	SPI_connect();
	portal = SPI_cursor_open_with_args(NULL, sql, 1, argtypes, &semquery, NULL, true,
									   CURSOR_OPT_NO_SCROLL | CURSOR_OPT_FAST_PLAN);
	while (more)
	{
		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, FETCH_ROWS);
		more = take_rows(&group, sink);
		SPI_freetuptable(SPI_tuptable);
	}
	flush_group(&group, sink);
	SPI_cursor_close(portal);
	SPI_finish();
	AtEOXact_GUC(true, nest_level);
}
