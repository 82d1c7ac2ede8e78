/*
 * The items that ranked lists are about, each with its group and the best place it had in any list.
 * Items are values of any type that can be hashed and compared.
 */
#ifndef SEMTOK_RANKING_ITEMS_H
#define SEMTOK_RANKING_ITEMS_H

#include "postgres.h"

#include "utils/typcache.h"

#define RANKING_MAX_GROUPS 1000

/* An item; hash and status are the table's. */
typedef struct RankedItem
{
	Datum value;
	int32 group;    /* -1 = none */
	uint32 best;    /* place in a list, from 1; 0 = in none */
	int64 relevant; /* the newest row, from 1, that it is relevant in; 0 = none */
	int64 found;    /* the newest row whose list has it, of those that it is relevant in */
	uint32 hash;
	char status;
} RankedItem;

typedef struct RankedItems RankedItems;

/* In the current memory context. 42883 for a type that cannot be hashed and compared. */
extern RankedItems *RankedItemsCreate(Oid type);
/* The item with this value, made where it is new. It moves when another one is made. */
extern RankedItem *RankedItemsGet(RankedItems *items, Datum value);

/*
 * Put an item into the group of this name, made where it is new. Errors: 22023 for an item that is
 * in another group already, 54000 past RANKING_MAX_GROUPS.
 */
extern void RankedItemsAssign(RankedItems *items, Datum value, const char *group);
extern int RankedItemsGroups(const RankedItems *items);
extern const char *RankedItemsGroupName(const RankedItems *items, int group);

/*
 * How many items there are and how many of them stood in the first `cutoff` places of a list: of a
 * group, or of all groups together (group -1; then also those that are in none).
 */
extern void RankedItemsCover(const RankedItems *items, int group, uint32 cutoff, int64 *known,
							 int64 *covered);

#endif
