/*
 * The verbs that take many prefixes: which of them exist among the items, and what may follow.
 */
#ifndef SEMTOK_DECODE_PREFIXES_H
#define SEMTOK_DECODE_PREFIXES_H

#include "postgres.h"

#include "fmgr.h"
#include "utils/array.h"

#include "core/lookup.h"
#include "core/semset.h"

/* Prefixes that are looked up together. */
typedef struct PrefixChunk
{
	const stk_prefix *prefixes; /* [n] */
	int64 first;                /* number of the first of them, from 0 */
	int n;
} PrefixChunk;

/* What a verb asks, and where the answers go. */
typedef struct PrefixVerb
{
	const char *name;
	ArrayType *prefixes;       /* semid[], its nulls the empty prefix */
	uint32 tokenizer;          /* of those that name none; 0 = every one */
	const stk_semset *within;  /* only these ids exist; NULL = all */
	const stk_semset *exclude; /* these do not; NULL = none */
	bool codes_alone;          /* found looks at no more of the children than their codes */
	void *ctx;

	/* Forget all answers: the lookup begins, or begins again as an index was rebuilt under it. */
	void (*begin)(void *ctx);
	/* As stk_lookup_found; prefix counts from the chunk's first. */
	stk_status (*found)(void *ctx, const PrefixChunk *chunk, size_t prefix, const stk_child *at,
						const stk_child *children, size_t n, stk_error *err);
	/* All of a chunk has been found; may be NULL. */
	void (*done)(void *ctx, const PrefixChunk *chunk);
} PrefixVerb;

/* The prefixes of an argument: its number of them; 2202E for more than one dimension. */
extern ArrayType *PrefixesArg(FunctionCallInfo fcinfo, int argno, int *n);

/*
 * Look them up among the items that a regclass names, or in a set. What found answers other than
 * STK_OK is raised. 22023 for a prefix of another tokenizer than the one asked for.
 */
extern void PrefixesOfItems(Oid relid, const PrefixVerb *verb);
extern void PrefixesOfSet(const stk_semset *set, const PrefixVerb *verb);

#endif
