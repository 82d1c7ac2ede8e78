/*
 * What the planner asks about ^@: how many rows it keeps, and how a btree can serve it.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/nbtree.h"
#include "catalog/pg_am.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

#include "core/semid_range.h"
#include "types/semid.h"

/*
 * Is this function the one of that name here? Whoever may not create C functions cannot make
 * another that is, so its arguments are semids: a selectivity function can be given to any
 * operator, and must not believe the types that it sees.
 */
static bool
IsFunction(Oid function, PGFunction here, FmgrInfo *flinfo)
{
	if (!OidIsValid(function))
		return false;
	fmgr_info(function, flinfo);
	return flinfo->fn_addr == here;
}

/* A constant that can be taken apart. */
static bool
PrefixOf(const Const *constant, stk_semid *prefix)
{
	struct varlena *v;

	if (constant->constisnull || constant->constlen != -1 || constant->constbyval)
		return false;
	v = DatumGetSemidPP(constant->constvalue);
	return stk_semid_unpack(SemidBytes(v), SemidLength(v), prefix) == STK_OK;
}

/* Share of a column's histogram that begins with the prefix; false where there is no histogram. */
static bool
HistogramShare(VariableStatData *vardata, const stk_semid *prefix, double *share)
{
	AttStatsSlot slot;
	stk_semid *bounds;
	bool valid;

	if (!get_attstatsslot(&slot, vardata->statsTuple, STATISTIC_KIND_HISTOGRAM, InvalidOid,
						  ATTSTATSSLOT_VALUES))
		return false;
	valid = slot.nvalues >= 2;
	bounds = palloc(sizeof(stk_semid) * Max(slot.nvalues, 1));
	for (int i = 0; valid && i < slot.nvalues; i++)
	{
		struct varlena *v = DatumGetSemidPP(slot.values[i]);

		valid = stk_semid_unpack(SemidBytes(v), SemidLength(v), &bounds[i]) == STK_OK;
	}
	if (valid)
	{
		stk_semid_histogram histogram;

		stk_semid_histogram_make(&histogram, bounds, slot.nvalues);
		*share = stk_semid_histogram_share(&histogram, prefix);
	}
	pfree(bounds);
	free_attstatsslot(&slot);
	return valid;
}

/*
 * Share of a column's rows that begin with a constant prefix: of the most common values what the
 * operator says, of the others the histogram's share, but at least one value's rows, since who
 * asks for a prefix mostly has seen it.
 */
static double
PrefixSelectivity(VariableStatData *vardata, FmgrInfo *starts_with, const Const *constant)
{
	Form_pg_statistic stats;
	stk_semid prefix;
	double common, all_common;
	double others, share, distinct;
	bool is_default;

	if (constant->constisnull)
		return 0;
	if (!HeapTupleIsValid(vardata->statsTuple) || !PrefixOf(constant, &prefix) ||
		!statistic_proc_security_check(vardata, starts_with->fn_oid))
		return DEFAULT_MATCHING_SEL;

	stats = (Form_pg_statistic) GETSTRUCT(vardata->statsTuple);
	common =
		mcv_selectivity(vardata, starts_with, InvalidOid, constant->constvalue, true, &all_common);
	others = Max(1.0 - stats->stanullfrac - all_common, 0);
	if (!HistogramShare(vardata, &prefix, &share))
		share = all_common > 0 ? common / all_common : DEFAULT_MATCHING_SEL;
	else if (common == 0)
	{
		distinct = get_variable_numdistinct(vardata, &is_default);
		if (distinct >= 1)
			share = Max(share, 1 / distinct);
	}
	return common + others * share;
}

/* Share of the rows for which these arguments of starts_with make it true. */
static double
StartsWithSelectivity(PlannerInfo *root, FmgrInfo *starts_with, List *args, int varRelid)
{
	VariableStatData vardata;
	Node *other;
	bool on_left;
	double share = DEFAULT_MATCHING_SEL;

	if (!get_restriction_variable(root, args, varRelid, &vardata, &other, &on_left))
		return DEFAULT_MATCHING_SEL;
	if (on_left && IsA(other, Const))
		share = PrefixSelectivity(&vardata, starts_with, (Const *) other);
	ReleaseVariableStats(vardata);
	CLAMP_PROBABILITY(share);
	return share;
}

/* RESTRICT of ^@ */
PG_FUNCTION_INFO_V1(semid_starts_with_sel);
Datum
semid_starts_with_sel(PG_FUNCTION_ARGS)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	Oid operator= PG_GETARG_OID(1);
	List *args = (List *) PG_GETARG_POINTER(2);
	int varRelid = PG_GETARG_INT32(3);
	FmgrInfo starts_with;

	if (!IsFunction(get_opcode(operator), semid_starts_with, &starts_with))
		PG_RETURN_FLOAT8(DEFAULT_MATCHING_SEL);
	PG_RETURN_FLOAT8(StartsWithSelectivity(root, &starts_with, args, varRelid));
}

/* An id as a constant of the type of another. */
static Const *
MakeConst(const Const *like, const stk_semid *id)
{
	return makeConst(like->consttype, -1, like->constcollid, like->constlen, SemidMakeDatum(id),
					 false, like->constbyval);
}

/*
 * sid ^@ 'prefix' as conditions of a btree: sid >= prefix and, where an id lies after them all,
 * sid < that. Nothing for tokenizer 0, whose ids lie in as many places as there are tokenizers.
 */
static List *
IndexConditions(SupportRequestIndexCondition *request, List *args)
{
	FmgrInfo flinfo;
	Oid type, ge, lt;
	Const *constant;
	Expr *column;
	stk_semid prefix, next;
	List *conditions;

	if (request->index->relam != BTREE_AM_OID || request->indexarg != 0 || list_length(args) != 2 ||
		!IsA(lsecond(args), Const))
		return NIL;
	column = linitial(args);
	constant = lsecond(args);
	type = constant->consttype;
	/* a btree of another order than ours has no such range */
	if (!IsFunction(get_opfamily_proc(request->opfamily, type, type, BTORDER_PROC), semid_cmp,
					&flinfo))
		return NIL;
	ge = get_opfamily_member(request->opfamily, type, type, BTGreaterEqualStrategyNumber);
	lt = get_opfamily_member(request->opfamily, type, type, BTLessStrategyNumber);
	if (!OidIsValid(ge) || !OidIsValid(lt) || !PrefixOf(constant, &prefix) || prefix.tokenizer == 0)
		return NIL;

	conditions = list_make1(
		make_opclause(ge, BOOLOID, false, column, (Expr *) constant, InvalidOid, InvalidOid));
	if (stk_semid_successor(&prefix, &next))
		conditions = lappend(conditions, make_opclause(lt, BOOLOID, false, column,
													   (Expr *) MakeConst(constant, &next),
													   InvalidOid, InvalidOid));
	request->lossy = false;
	return conditions;
}

static List *
ArgsOfCall(Node *node)
{
	if (is_opclause(node))
		return ((OpExpr *) node)->args;
	if (is_funcclause(node))
		return ((FuncExpr *) node)->args;
	return NIL;
}

/* Planner support of the function behind ^@ */
PG_FUNCTION_INFO_V1(semid_starts_with_support);
Datum
semid_starts_with_support(PG_FUNCTION_ARGS)
{
	Node *node = (Node *) PG_GETARG_POINTER(0);
	FmgrInfo starts_with;

	if (IsA(node, SupportRequestIndexCondition))
	{
		SupportRequestIndexCondition *request = (SupportRequestIndexCondition *) node;

		if (IsFunction(request->funcid, semid_starts_with, &starts_with))
			PG_RETURN_POINTER(IndexConditions(request, ArgsOfCall(request->node)));
	}
	/* the function called by its name; an operator has its RESTRICT */
	else if (IsA(node, SupportRequestSelectivity))
	{
		SupportRequestSelectivity *request = (SupportRequestSelectivity *) node;

		if (IsFunction(request->funcid, semid_starts_with, &starts_with))
		{
			request->selectivity = request->is_join
									   ? DEFAULT_MATCHING_SEL
									   : StartsWithSelectivity(request->root, &starts_with,
															   request->args, request->varRelid);
			PG_RETURN_POINTER(request);
		}
	}
	PG_RETURN_POINTER(NULL);
}
