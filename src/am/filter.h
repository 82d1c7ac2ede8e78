/*
 * A trie cut down to the ids that an index scan's conditions allow.
 */
#ifndef SEMTOK_SEMTRIE_FILTER_H
#define SEMTOK_SEMTRIE_FILTER_H

#include "postgres.h"

#include "access/skey.h"

#include "core/semid.h"
#include "core/trie.h"

/* What the conditions of one scan, all together, allow. */
typedef struct SemtrieCondition
{
	bool ids;           /* rows with an id, as below */
	bool nulls;         /* rows without */
	bool any_tokenizer; /* otherwise this one: */
	uint32 tokenizer;
	int levels; /* ids that start with these codes */
	uint16 codes[STK_MAX_LEVELS];
	bool exact; /* and have no more */
} SemtrieCondition;

/* Make the conjunction of an index scan's keys. */
extern void SemtrieConditionMake(SemtrieCondition *condition, const ScanKeyData *keys, int nkeys);

typedef struct SemtrieFilter SemtrieFilter;

/*
 * The part of a trie that a condition allows, as a trie. *roots is an array of roots to start
 * from, taken from the base's. Lives in the current context; base and condition must outlive it.
 */
extern SemtrieFilter *SemtrieFilterMake(stk_trie *base, const stk_root *base_roots, size_t n,
										const SemtrieCondition *condition);
extern stk_trie *SemtrieFilterTrie(SemtrieFilter *filter);
extern const stk_root *SemtrieFilterRoots(SemtrieFilter *filter, size_t *n);

#endif
