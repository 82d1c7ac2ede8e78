/*
 * The catalog of tokenizers, semtok.tokenizer, read without SPI: these lookups happen per row.
 *
 * Everything here reads under the active snapshot and is safe in parallel workers.
 */
#ifndef SEMTOK_CATALOG_H
#define SEMTOK_CATALOG_H

#include "postgres.h"

#include "fmgr.h"
#include "tokenizer/owner.h"
#include "types/codebook.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

/* Prefixes that encoding may keep a level. */
#define ENCODE_MAX_BEAM 4096

/*
 * What a catalog row says, the codebook apart. Plain memory: copy it freely. metric, dim and hash
 * are zeros in a registered tokenizer: TokenizerRequireCodebook before they are used.
 */
typedef struct TokenizerInfo
{
	int32 id;
	char name[NAMEDATALEN];
	int32 version;
	bool registered; /* it has no codebook */
	stk_metric metric;
	int dim;
	int levels;
	uint32 sizes[STK_MAX_LEVELS];
	bool active;
	TokenizerOwner owner;
	char method[NAMEDATALEN];
	int64 rows;   /* trained on; 0 = not known */
	int beam;     /* width to encode with */
	bool refined; /* its levels were fitted jointly */
	uint8 hash[CODEBOOK_HASH_LENGTH];
} TokenizerInfo;

/* A tokenizer at a call site: its row and its codebook, pinned. */
typedef struct TokenizerRef
{
	TokenizerInfo info;
	CodebookEntry *codebook;
} TokenizerRef;

/* False when there is none. name is a C string in the server's encoding. */
extern bool TokenizerFindById(int32 id, TokenizerInfo *info);
extern bool TokenizerFindActive(const char *name, TokenizerInfo *info);
extern bool TokenizerFindVersion(const char *name, int32 version, TokenizerInfo *info);

/* The same, where none is an error (42704). version 0 means the active one. */
extern void TokenizerGetById(int32 id, TokenizerInfo *info);
extern void TokenizerGetByName(const char *name, int32 version, TokenizerInfo *info);

/*
 * Highest version of a name as the snapshot sees it, 0 when the name is free. *newest, which may
 * be NULL, is filled when there is one.
 */
extern int32 TokenizerLastVersion(const char *name, Snapshot snapshot, TokenizerInfo *newest);

/* Refuse (55000) a tokenizer that has no codebook: nothing can be encoded or decoded with it. */
extern void TokenizerRequireCodebook(const TokenizerInfo *info);

/*
 * The codebook of a row found before, pinned until `owner` is reset or deleted; refused as by
 * TokenizerRequireCodebook where there is none.
 */
extern CodebookEntry *TokenizerCodebook(const TokenizerInfo *info, MemoryContext owner);
/*
 * The metric that embeddings themselves must suit: l2, which takes any, where a network makes
 * latent vectors of them.
 */
extern stk_metric TokenizerRowMetric(const TokenizerInfo *info);

/*
 * The tokenizer a function works with, remembered at its call site: an id or a name (its active
 * version) is looked up whenever the active snapshot may see something else than at the call
 * before, its codebook only when it is another one. So a tokenizer that was dropped is an error.
 * Use the call site's fn_extra, which belongs to these functions alone. The result is good until
 * the next call of either.
 */
extern const TokenizerRef *TokenizerRefById(FunctionCallInfo fcinfo, int32 id);
extern const TokenizerRef *TokenizerRefByName(FunctionCallInfo fcinfo, const text *name);

/* The same for callers that keep more at their call site: the memory is context's. */
typedef struct TokenizerSite TokenizerSite;

extern TokenizerSite *TokenizerSiteCreate(MemoryContext context);
extern const TokenizerRef *TokenizerSiteByName(TokenizerSite *site, const text *name);

/* Codewords of all levels together. */
extern size_t TokenizerCodewords(int levels, const uint32 *sizes);

/*
 * Rows behind each codeword of a row found before, [sum of sizes], palloc'd; NULL when it has
 * none.
 */
extern double *TokenizerCounts(const TokenizerInfo *info);
/* The state that its training left, palloc'd; NULL when it has none. Its content is not checked. */
extern bytea *TokenizerState(const TokenizerInfo *info);
/* Its options, an object; palloc'd. And as JSON text. */
extern Jsonb *TokenizerOptions(const TokenizerInfo *info);
extern char *TokenizerOptionsText(const TokenizerInfo *info);

/* OID of a relation in schema semtok; its absence is an error. */
extern Oid SemtokRelationOid(const char *relname);

#endif
