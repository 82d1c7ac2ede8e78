#include "postgres.h"

#include "decode/ranking_items.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

struct RankedItems
{
	MemoryContext context;
	struct ranked_hash *table;
	TypeCacheEntry *type;
	Oid collation;
	char **groups; /* [n_groups] */
	int n_groups;
};

static uint32
RankedItemHash(const RankedItems *items, Datum value)
{
	return DatumGetUInt32(
		FunctionCall1Coll(&items->type->hash_proc_finfo, items->collation, value));
}

static bool
RankedItemEqual(const RankedItems *items, Datum a, Datum b)
{
	return DatumGetBool(FunctionCall2Coll(&items->type->eq_opr_finfo, items->collation, a, b));
}

#define SH_PREFIX ranked
#define SH_ELEMENT_TYPE RankedItem
#define SH_KEY_TYPE Datum
#define SH_KEY value
#define SH_HASH_KEY(tb, key) RankedItemHash((tb)->private_data, key)
#define SH_EQUAL(tb, a, b) RankedItemEqual((tb)->private_data, a, b)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a) (a)->hash
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

RankedItems *
RankedItemsCreate(Oid type)
{
	RankedItems *items = palloc0(sizeof(RankedItems));

	items->context = CurrentMemoryContext;
	items->type = lookup_type_cache(type, TYPECACHE_EQ_OPR_FINFO | TYPECACHE_HASH_PROC_FINFO);
	if (!OidIsValid(items->type->eq_opr_finfo.fn_oid) ||
		!OidIsValid(items->type->hash_proc_finfo.fn_oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("items of type %s cannot be told apart", format_type_be(type)),
				 errdetail("It has no hash function and equality of a default operator class.")));
	items->collation = items->type->typcollation;
	items->table = ranked_create(CurrentMemoryContext, 1024, items);
	return items;
}

RankedItem *
RankedItemsGet(RankedItems *items, Datum value)
{
	bool found;
	RankedItem *item = ranked_insert(items->table, value, &found);

	if (!found)
	{
		MemoryContext old = MemoryContextSwitchTo(items->context);

		item->value = datumCopy(value, items->type->typbyval, items->type->typlen);
		item->group = -1;
		item->best = 0;
		item->relevant = 0;
		item->found = 0;
		MemoryContextSwitchTo(old);
	}
	return item;
}

static int
GroupNumber(RankedItems *items, const char *name)
{
	for (int g = items->n_groups - 1; g >= 0; g--)
		if (strcmp(items->groups[g], name) == 0)
			return g;
	if (items->n_groups == RANKING_MAX_GROUPS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("expected at most %d groups", RANKING_MAX_GROUPS),
						errhint("The first column of groups is the item, the second its group.")));
	if (items->groups == NULL)
		items->groups = MemoryContextAlloc(items->context, RANKING_MAX_GROUPS * sizeof(char *));
	items->groups[items->n_groups] = MemoryContextStrdup(items->context, name);
	return items->n_groups++;
}

void
RankedItemsAssign(RankedItems *items, Datum value, const char *group)
{
	int number = GroupNumber(items, group);
	RankedItem *item = RankedItemsGet(items, value);

	if (item->group >= 0 && item->group != number)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("groups has an item in two groups, \"%s\" and \"%s\"",
							   items->groups[item->group], group)));
	item->group = number;
}

int
RankedItemsGroups(const RankedItems *items)
{
	return items->n_groups;
}

const char *
RankedItemsGroupName(const RankedItems *items, int group)
{
	return items->groups[group];
}

void
RankedItemsCover(const RankedItems *items, int group, uint32 cutoff, int64 *known, int64 *covered)
{
	ranked_iterator it;
	RankedItem *item;

	*known = 0;
	*covered = 0;
	ranked_start_iterate(items->table, &it);
	while ((item = ranked_iterate(items->table, &it)) != NULL)
	{
		if (group >= 0 && item->group != group)
			continue;
		(*known)++;
		if (item->best > 0 && item->best <= cutoff)
			(*covered)++;
	}
}
