/*
 * What PostgreSQL asks the access method for: its properties, options, and whether an operator
 * class fits it.
 */
#include "am/semtrie.h"

#include "access/amvalidate.h"
#include "access/htup_details.h"
#include "access/reloptions.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_amproc.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "commands/vacuum.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(semtrie_handler);

typedef struct SemtrieOptions
{
	int32 vl_len_;
	int pending_limit; /* kB */
	int history_limit; /* kB */
} SemtrieOptions;

static relopt_kind semtrie_relopt_kind;

void
SemtrieDefineOptions(void)
{
	semtrie_relopt_kind = add_reloption_kind();
	add_int_reloption(semtrie_relopt_kind, "pending_limit",
					  "Size of the delta, in kB, from which the inserter that notices merges it",
					  SEMTRIE_DEFAULT_PENDING_LIMIT, SEMTRIE_MIN_PENDING_LIMIT,
					  SEMTRIE_MAX_PENDING_LIMIT, ShareUpdateExclusiveLock);
	add_int_reloption(
		semtrie_relopt_kind, "history_limit",
		"How much of what changed is kept, in kB, unless an eighth of the run is more",
		SEMTRIE_DEFAULT_HISTORY_LIMIT, SEMTRIE_MIN_HISTORY_LIMIT, SEMTRIE_MAX_HISTORY_LIMIT,
		ShareUpdateExclusiveLock);
}

int
SemtriePendingLimit(Relation index)
{
	SemtrieOptions *options = (SemtrieOptions *) index->rd_options;

	return options ? options->pending_limit : SEMTRIE_DEFAULT_PENDING_LIMIT;
}

uint64
SemtrieHistoryLimit(Relation index, BlockNumber run_pages)
{
	SemtrieOptions *options = (SemtrieOptions *) index->rd_options;
	uint64 limit = options ? options->history_limit : SEMTRIE_DEFAULT_HISTORY_LIMIT;

	return Max(limit / (BLCKSZ / 1024), run_pages / SEMTRIE_RUN_TO_HISTORY);
}

static bytea *
semtrie_options(Datum reloptions, bool validate)
{
	static const relopt_parse_elt table[] = {{.optname = "pending_limit",
											  .opttype = RELOPT_TYPE_INT,
											  .offset = offsetof(SemtrieOptions, pending_limit)},
											 {.optname = "history_limit",
											  .opttype = RELOPT_TYPE_INT,
											  .offset = offsetof(SemtrieOptions, history_limit)}};

	return (bytea *) build_reloptions(reloptions, validate, semtrie_relopt_kind,
									  sizeof(SemtrieOptions), table, lengthof(table));
}

/* Is this the signature that a strategy's operator must have? */
static bool
operator_fits(Form_pg_amop amop, Oid type)
{
	switch (amop->amopstrategy)
	{
		case SEMTRIE_EQUAL_STRATEGY:
		case SEMTRIE_PREFIX_STRATEGY:
			return amop->amoppurpose == AMOP_SEARCH &&
				   check_amop_signature(amop->amopopr, BOOLOID, type, type);
		case SEMTRIE_COST_STRATEGY:
			return amop->amoppurpose == AMOP_ORDER &&
				   check_amop_signature(amop->amopopr, FLOAT8OID, type, amop->amoprighttype) &&
				   opfamily_can_sort_type(amop->amopsortfamily, FLOAT8OID);
		default:
			return false;
	}
}

static char *
opfamily_name(Oid opfamily)
{
	HeapTuple tuple = SearchSysCache1(OPFAMILYOID, ObjectIdGetDatum(opfamily));
	char *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator family %u", opfamily);
	name = pstrdup(NameStr(((Form_pg_opfamily) GETSTRUCT(tuple))->opfname));
	ReleaseSysCache(tuple);
	return name;
}

/* Complain about every operator that does not fit, and about those that are missing. */
static bool
validate_operators(CatCList *operators, const char *opfamily, Oid type)
{
	bool has[SEMTRIE_STRATEGIES + 1] = {false};
	bool result = true;

	for (int i = 0; i < operators->n_members; i++)
	{
		Form_pg_amop amop = (Form_pg_amop) GETSTRUCT(&operators->members[i]->tuple);

		if (amop->amoplefttype != type)
			continue;
		if (!operator_fits(amop, type))
		{
			ereport(INFO, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
						   errmsg("operator family \"%s\" of access method semtrie contains "
								  "operator %s, which does not fit strategy number %d",
								  opfamily, format_operator(amop->amopopr), amop->amopstrategy)));
			result = false;
		}
		else
			has[amop->amopstrategy] = true;
	}
	for (int strategy = 1; strategy <= SEMTRIE_STRATEGIES; strategy++)
	{
		if (has[strategy])
			continue;
		ereport(INFO, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					   errmsg("operator family \"%s\" of access method semtrie has no operator "
							  "for strategy number %d and type %s",
							  opfamily, strategy, format_type_be(type))));
		result = false;
	}
	return result;
}

bool
semtrie_validate(Oid opclass)
{
	HeapTuple tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass));
	Form_pg_opclass form;
	CatCList *operators, *functions;
	const char *opfamily;
	bool result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator class %u", opclass);
	form = (Form_pg_opclass) GETSTRUCT(tuple);
	opfamily = opfamily_name(form->opcfamily);
	operators = SearchSysCacheList1(AMOPSTRATEGY, ObjectIdGetDatum(form->opcfamily));
	functions = SearchSysCacheList1(AMPROCNUM, ObjectIdGetDatum(form->opcfamily));

	result = validate_operators(operators, opfamily, form->opcintype);
	if (functions->n_members > 0)
	{
		ereport(INFO, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					   errmsg("operator family \"%s\" of access method semtrie contains support "
							  "functions, but semtrie has none",
							  opfamily)));
		result = false;
	}
	ReleaseCatCacheList(functions);
	ReleaseCatCacheList(operators);
	ReleaseSysCache(tuple);
	return result;
}

static bool
semtrie_property(Oid index, int attno, IndexAMProperty property, const char *name, bool *result,
				 bool *isnull)
{
	switch (property)
	{
		case AMPROP_DISTANCE_ORDERABLE:
			/* the core says for itself whether the AM can; every operator class has a cost */
			if (attno == 0)
				return false;
			*result = true;
			return true;
		case AMPROP_CAN_EXCLUDE:
			*result = false;
			return true;
		default:
			return false;
	}
}

Datum
semtrie_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *am = makeNode(IndexAmRoutine);

	am->amstrategies = SEMTRIE_STRATEGIES;
	am->amsupport = 0;
	am->amoptsprocnum = 0;
	am->amcanorder = false;
	am->amcanorderbyop = true;
	am->amcanbackward = false;
	am->amcanunique = false;
	am->amcanmulticol = false;
	am->amoptionalkey = true;
	am->amsearcharray = false;
	am->amsearchnulls = true;
	am->amstorage = false;
	am->amclusterable = false;
	am->ampredlocks = false;
	am->amcanparallel = false;
	am->amcaninclude = false;
	am->amusemaintenanceworkmem = true;
	am->amparallelvacuumoptions = VACUUM_OPTION_PARALLEL_BULKDEL | VACUUM_OPTION_PARALLEL_CLEANUP;
	am->amkeytype = InvalidOid;

	am->ambuild = semtrie_build;
	am->ambuildempty = semtrie_buildempty;
	am->aminsert = semtrie_insert;
	am->ambulkdelete = semtrie_bulkdelete;
	am->amvacuumcleanup = semtrie_vacuumcleanup;
	am->amcanreturn = NULL; /* a scan holds no pins, so a TID may be reused under it */
	am->amcostestimate = semtrie_costestimate;
	am->amoptions = semtrie_options;
	am->amproperty = semtrie_property;
	am->ambuildphasename = NULL;
	am->amvalidate = semtrie_validate;
	am->amadjustmembers = NULL;
	am->ambeginscan = semtrie_beginscan;
	am->amrescan = semtrie_rescan;
	am->amgettuple = semtrie_gettuple;
	am->amgetbitmap = semtrie_getbitmap;
	am->amendscan = semtrie_endscan;
	am->ammarkpos = NULL;
	am->amrestrpos = NULL;
	am->amestimateparallelscan = NULL;
	am->aminitparallelscan = NULL;
	am->amparallelrescan = NULL;
	/*
	 * From 18 on, amtranslatecmptype and amtranslatestrategy stay NULL: whoever asked them for
	 * equality (a subscriber that looks for a row by REPLICA IDENTITY FULL) would scan with a
	 * dirty snapshot, which a semtrie index cannot serve.
	 */
	PG_RETURN_POINTER(am);
}
