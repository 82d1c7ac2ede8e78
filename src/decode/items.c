#include "postgres.h"

#include "access/htup_details.h"
#include "access/genam.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/nodes.h"
#include "nodes/pg_list.h"
#include "optimizer/optimizer.h"
#include "storage/shmem.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "decode/items.h"

/* What a catalog row says of an index. */
typedef struct IndexFacts
{
	bool semtrie;
	bool valid;
	bool partial;
	bool unsafe;       /* not for snapshots that reach behind its creation */
	AttrNumber column; /* 0 for an expression */
} IndexFacts;

/* Read the facts of one index; false when it has just been dropped. */
static bool
read_index_facts(Oid index, IndexFacts *facts)
{
	HeapTuple class = SearchSysCache1(RELOID, ObjectIdGetDatum(index));
	HeapTuple tuple;
	Form_pg_index form;

	if (!HeapTupleIsValid(class))
		return false;
	facts->semtrie = ((Form_pg_class) GETSTRUCT(class))->relam == get_index_am_oid("semtrie", true);
	ReleaseSysCache(class);

	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_index) GETSTRUCT(tuple);
	facts->valid = form->indisvalid && form->indislive;
	facts->partial = !heap_attisnull(tuple, Anum_pg_index_indpred, NULL);
	/* The planner's rule: an index built over broken HOT chains misses rows of older snapshots. */
	facts->unsafe = form->indcheckxmin &&
					!TransactionIdPrecedes(HeapTupleHeaderGetXmin(tuple->t_data), TransactionXmin);
	facts->column = form->indkey.values[0];
	ReleaseSysCache(tuple);
	return true;
}

/* The one index of a table that can answer for all its rows. */
static Oid
choose_index(Relation table, IndexFacts *facts)
{
	Oid chosen = InvalidOid;
	List *indexes = RelationGetIndexList(table);
	ListCell *lc;

	foreach (lc, indexes)
	{
		IndexFacts candidate;

		if (!read_index_facts(lfirst_oid(lc), &candidate) || !candidate.semtrie ||
			!candidate.valid || candidate.partial)
			continue;
		if (OidIsValid(chosen))
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("table \"%s\" has several semtrie indexes: expected one",
								   RelationGetRelationName(table)),
							errhint("Name the index instead of the table.")));
		chosen = lfirst_oid(lc);
		*facts = candidate;
	}
	list_free(indexes);
	if (!OidIsValid(chosen))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table \"%s\" has no valid semtrie index over all its rows",
						RelationGetRelationName(table)),
				 errhint("Create an index USING semtrie, or build a semset with semset_agg and use "
						 "the verb whose name ends in _set.")));
	return chosen;
}

/*
 * The caller needs SELECT on the table, or on the column and on those that the index's predicate
 * reads: what such an index holds tells about them.
 */
static void
check_select(const Items *items)
{
	Oid relid = RelationGetRelid(items->table);
	Bitmapset *columns = NULL;
	int member = -1;

	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
		return;
	pull_varattnos((Node *) items->predicate, 1, &columns);
	columns = bms_add_member(columns, items->column - FirstLowInvalidHeapAttributeNumber);
	while ((member = bms_next_member(columns, member)) >= 0)
	{
		AttrNumber column = member + FirstLowInvalidHeapAttributeNumber;
		AclResult result =
			column == InvalidAttrNumber
				? pg_attribute_aclcheck_all(relid, GetUserId(), ACL_SELECT, ACLMASK_ALL)
				: pg_attribute_aclcheck(relid, column, GetUserId(), ACL_SELECT);

		if (result != ACLCHECK_OK)
			aclcheck_error(result, get_relkind_objtype(items->table->rd_rel->relkind),
						   RelationGetRelationName(items->table));
	}
}

/* The predicate of an index; NIL without one. */
static List *
read_predicate(Oid index)
{
	Relation rel = index_open(index, AccessShareLock);
	List *predicate = copyObject(RelationGetIndexPredicate(rel));

	index_close(rel, NoLock);
	return predicate;
}

/* Open one plain index and its table. */
static void
open_leaf(ItemsLeaf *leaf, Oid index)
{
	leaf->table = table_open(IndexGetRelation(index, false), AccessShareLock);
	leaf->index = index_open(index, AccessShareLock);
	if (RELATION_IS_OTHER_TEMP(leaf->index))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot access temporary tables of other sessions")));
	if (RecoveryInProgress() && !RelationIsPermanent(leaf->index))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot access temporary or unlogged relations during recovery")));
}

/* Open the plain indexes under the chosen one: itself, or those of the partitions. */
static void
open_leaves(Items *items)
{
	List *indexes = list_make1_oid(items->index);
	ListCell *lc;

	if (get_rel_relkind(items->index) == RELKIND_PARTITIONED_INDEX)
	{
		/* Tables before indexes, as every other locker does. */
		list_free(find_all_inheritors(RelationGetRelid(items->table), AccessShareLock, NULL));
		indexes = find_all_inheritors(items->index, AccessShareLock, NULL);
	}
	items->leaves = palloc0(mul_size(list_length(indexes), sizeof(ItemsLeaf)));
	foreach (lc, indexes)
	{
		IndexFacts facts;

		if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_INDEX)
			continue;
		open_leaf(&items->leaves[items->n_leaves++], lfirst_oid(lc));
		if (read_index_facts(lfirst_oid(lc), &facts) && facts.unsafe)
			items->unsafe_index = true;
	}
	list_free(indexes);
}

Items *
ItemsOpen(Oid relid)
{
	Items *items = palloc0(sizeof(Items));
	char relkind = get_rel_relkind(relid);
	IndexFacts facts;

	switch (relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_MATVIEW:
		case RELKIND_PARTITIONED_TABLE:
			items->table = table_open(relid, AccessShareLock);
			items->index = choose_index(items->table, &facts);
			break;
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			items->table = table_open(IndexGetRelation(relid, false), AccessShareLock);
			items->index = relid;
			if (read_index_facts(relid, &facts) && facts.semtrie)
			{
				if (!facts.valid)
					ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
									errmsg("index \"%s\" is not valid", get_rel_name(relid))));
				break;
			}
			/* FALLTHROUGH */
		default:
			if (relkind == '\0')
				ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
								errmsg("relation with OID %u does not exist", relid)));
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("\"%s\" is not a table or a semtrie index", get_rel_name(relid))));
	}

	items->column = facts.column;
	if (items->column == InvalidAttrNumber)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("index \"%s\" is on an expression: expected an index on a column",
							   get_rel_name(items->index))));
	items->predicate = read_predicate(items->index);
	check_select(items);
	/* Raises when row_security is off and a policy would apply. */
	items->row_security =
		check_enable_rls(RelationGetRelid(items->table), InvalidOid, false) == RLS_ENABLED;
	open_leaves(items);
	return items;
}

void
ItemsClose(Items *items)
{
	for (int i = 0; i < items->n_leaves; i++)
	{
		index_close(items->leaves[i].index, NoLock);
		table_close(items->leaves[i].table, NoLock);
	}
	table_close(items->table, NoLock);
}

void
ItemsRefuseNodes(const Items *items, const char *what)
{
	if (items->row_security)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("%s is not available on table \"%s\", which has row-level security",
							   what, RelationGetRelationName(items->table)),
						errhint("Build a semset of the rows that may be seen with semset_agg, "
								"and search that.")));
	if (items->unsafe_index)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" is too new for this transaction's snapshot",
						get_rel_name(items->index)),
				 errhint("Try again in a new transaction, once older transactions have ended.")));
}
