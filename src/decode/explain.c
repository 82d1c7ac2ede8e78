/*
 * Why an item got its score: its log-probability level by level, beside its siblings.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/tuplestore.h"

#include "core/explog.h"
#include "types/bridge.h"
#include "types/semid.h"
#include "types/semquery.h"
#include "types/semset.h"

#define NO_NODE UINT32_MAX

PG_FUNCTION_INFO_V1(semtok_explain);

/* A path down a set: the node reached by the codes so far, NO_NODE once it left the set. */
typedef struct SetPath
{
	const stk_semset *set; /* NULL: no set */
	int level;             /* of `node`; 0 = a root */
	uint32 node;
} SetPath;

/* What siblings are at one level: [n] codes ascending, with their costs. */
typedef struct Siblings
{
	uint32 n;
	uint16 *codes;
	double *costs;
} Siblings;

static SetPath
path_start(const stk_semset *set, uint32 tokenizer)
{
	SetPath path = {.set = set, .node = NO_NODE};

	for (uint32 i = 0; set && i < set->roots; i++)
		if (set->tokenizer[i] == tokenizer)
			path.node = i;
	return path;
}

static void
path_descend(SetPath *path, uint16 code)
{
	if (path->set && path->node != NO_NODE)
		path->node = stk_semset_child(path->set, path->level, path->node, code);
	path->level++;
}

/* Where the children of the path's node stand in the next level: [*first, *first + result). */
static uint32
path_children(const SetPath *path, uint32 *first)
{
	const uint32 *start = path->level == 0 ? path->set->root_first : path->set->first[path->level];

	*first = 0;
	if (path->node == NO_NODE || path->level == path->set->depth)
		return 0;
	*first = start[path->node];
	return start[path->node + 1] - *first;
}

/* What a level's costs depend on. */
typedef struct Explain
{
	const stk_query *query;
	bool other_tokenizer; /* the query is not for this id: every cost is infinite */
	SetPath within;       /* the argument */
	SetPath own;          /* the query's own set */
} Explain;

/* The codes that compete at a level; false when nothing tells which they are. */
static bool
find_siblings(const Explain *explain, int level, Siblings *siblings)
{
	const SetPath *path = explain->within.set ? &explain->within : &explain->own;
	uint32 first = 0;

	if (path->set)
		siblings->n = path_children(path, &first);
	else if (level < explain->query->levels)
		siblings->n = explain->query->sizes[level];
	else
		return false;
	siblings->codes = palloc(mul_size(Max(siblings->n, 1), sizeof(uint16)));
	for (uint32 i = 0; i < siblings->n; i++)
		siblings->codes[i] = path->set ? path->set->code[level + 1][first + i] : (uint16) i;
	return true;
}

/* Cost of one code at a level, for queries whose costs do not depend on the siblings. */
static double
code_cost(const Explain *explain, int level, uint16 code)
{
	const stk_query *query = explain->query;

	if (explain->other_tokenizer)
		return INFINITY;
	if (level >= query->levels)
		return 0;
	if (code >= query->sizes[level])
		return INFINITY;
	if (query->kind == STK_QUERY_WITHIN)
	{
		SetPath child = explain->own;

		path_descend(&child, code);
		if (child.node == NO_NODE)
			return INFINITY;
		return query->node_cost[query->within.base[level + 1] + child.node];
	}
	return query->cost[level][code];
}

/* Costs of all siblings; a masked query without a set of its own normalises over them. */
static void
cost_siblings(const Explain *explain, int level, Siblings *siblings)
{
	const stk_query *query = explain->query;

	siblings->costs = palloc(mul_size(Max(siblings->n, 1), sizeof(double)));
	if (query->kind == STK_QUERY_MASKED && level < query->levels && !explain->other_tokenizer)
	{
		float *logits = palloc(mul_size(Max(siblings->n, 1), sizeof(float)));

		for (uint32 i = 0; i < siblings->n; i++)
			logits[i] = siblings->codes[i] < query->sizes[level]
							? query->logits[level][siblings->codes[i]]
							: -INFINITY;
		/* Refused when no sibling is possible. */
		if (stk_softmax_costs(logits, siblings->n, siblings->costs) != STK_OK)
			for (uint32 i = 0; i < siblings->n; i++)
				siblings->costs[i] = INFINITY;
		pfree(logits);
		return;
	}
	for (uint32 i = 0; i < siblings->n; i++)
		siblings->costs[i] = code_cost(explain, level, siblings->codes[i]);
}

/* 1 + the siblings that a search takes before this one: cheaper, or as cheap with a lower code. */
static int
rank_among(const Siblings *siblings, uint32 self)
{
	int rank = 1;

	for (uint32 i = 0; i < siblings->n; i++)
		if (siblings->costs[i] < siblings->costs[self] ||
			(siblings->costs[i] == siblings->costs[self] && i < self))
			rank++;
	return rank;
}

/* Find a code among the siblings; siblings->n when it is not one of them. */
static uint32
find_code(const Siblings *siblings, uint16 code)
{
	uint32 i = 0;

	while (i < siblings->n && siblings->codes[i] != code)
		i++;
	return i;
}

/* Fill one row: level, code, logprob, rank, siblings. */
static void
explain_level(const Explain *explain, int level, uint16 code, Datum *values, bool *nulls)
{
	Siblings siblings = {0};
	double cost;

	values[0] = Int32GetDatum(level);
	values[1] = Int32GetDatum(code);
	nulls[3] = nulls[4] = true;
	if (find_siblings(explain, level, &siblings))
	{
		uint32 self = find_code(&siblings, code);

		cost_siblings(explain, level, &siblings);
		if (self < siblings.n)
		{
			values[3] = Int32GetDatum(rank_among(&siblings, self));
			nulls[3] = false;
		}
		values[4] = Int32GetDatum((int32) siblings.n);
		nulls[4] = false;
		if (explain->query->kind == STK_QUERY_MASKED)
			cost = self < siblings.n ? siblings.costs[self] : INFINITY;
		else
			cost = code_cost(explain, level, code);
		pfree(siblings.codes);
		pfree(siblings.costs);
	}
	else
		cost = code_cost(explain, level, code);
	values[2] = Float8GetDatum(0.0 - cost);
}

/* explain(sid semid, query semquery, within semset) */
Datum
semtok_explain(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const stk_semset *within = NULL;
	Explain explain;
	stk_semid id;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	SemidUnpack(PG_GETARG_SEMID_PP(0), &id);
	if (!PG_ARGISNULL(2))
		within = SemsetView(PG_GETARG_DATUM(2), CurrentMemoryContext);
	explain.query = SemqueryView(PG_GETARG_DATUM(1), CurrentMemoryContext);
	if (explain.query->kind == STK_QUERY_NEIGHBORS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a neighbors query has no log-probabilities to explain"),
						errhint("semtok.encode_trace() shows how an embedding gets its codes.")));
	if (explain.query->kind == STK_QUERY_MASKED && within == NULL)
		SemqueryRefuseMasked();
	explain.other_tokenizer =
		explain.query->tokenizer != 0 && explain.query->tokenizer != id.tokenizer;
	explain.within = path_start(within, id.tokenizer);
	explain.own = path_start(
		explain.query->kind == STK_QUERY_WITHIN ? &explain.query->within : NULL, id.tokenizer);

	for (int level = 0; level < id.levels; level++)
	{
		Datum values[5];
		bool nulls[5] = {0};

		CHECK_FOR_INTERRUPTS();
		explain_level(&explain, level, id.codes[level], values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		path_descend(&explain.within, id.codes[level]);
		path_descend(&explain.own, id.codes[level]);
	}
	PG_RETURN_NULL();
}
