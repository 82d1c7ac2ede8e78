#include "postgres.h"

#include <limits.h>

#include "guc.h"
#include "types/bridge.h"
#include "types/codebook.h"
#include "utils/guc.h"

int semtok_beam_width = 0;
int semtok_codebook_cache = 256 * 1024;
int semtok_simd = STK_SIMD_AUTO;
int semtok_tokenizer_id_base = 0;

/* The last base whose ids are all numbers of type int. */
#define MAX_ID_BASE (INT_MAX / TOKENIZER_IDS * TOKENIZER_IDS - TOKENIZER_IDS)

static const struct config_enum_entry simd_names[] = {
	{"auto", STK_SIMD_AUTO, false},     {"avx512", STK_SIMD_AVX512, false},
	{"avx2", STK_SIMD_AVX2, false},     {"neon", STK_SIMD_NEON, false},
	{"scalar", STK_SIMD_SCALAR, false}, {NULL, 0, false}};

/* Refuse a vector unit that this processor, or this build, has not got. */
static bool
CheckSimd(int *value, void **extra, GucSource source)
{
	stk_error err = {.level = -1};

	if (SemtokCpu((stk_simd) *value, &err))
		return true;
	GUC_check_errdetail("%s", SemtokErrorSentence(&err));
	GUC_check_errhint("With auto the best that the processor has is used.");
	return false;
}

/* Any other base would lie within the ids of another node. */
static bool
CheckIdBase(int *value, void **extra, GucSource source)
{
	if (*value % TOKENIZER_IDS == 0)
		return true;
	GUC_check_errdetail("The base must be a multiple of %d.", TOKENIZER_IDS);
	return false;
}

/* What no longer fits goes now, not when a codebook is used next. */
static void
AssignCodebookCache(int value, void *extra)
{
	CodebookCacheTrim(value);
}

void
SemtokDefineSettings(void)
{
	DefineCustomIntVariable(
		"semtok.beam_width", "Live nodes per level of an ordered semtrie scan; 0 searches exactly.",
		"With a positive width, ORDER BY sid <~> query keeps that many prefixes "
		"a level, as a beam search does: the scan then returns fewer rows than "
		"the table has, and the answer depends on whether the index is used.",
		&semtok_beam_width, 0, 0, 1000000, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"semtok.codebook_cache", "Memory for codebooks that a session keeps ready for reuse.",
		"It counts the codewords and the tables made of them to encode and search fast. Codebooks "
		"in use by a running query do not count.",
		&semtok_codebook_cache, 256 * 1024, 0, INT_MAX / 2, PGC_USERSET, GUC_UNIT_KB, NULL,
		AssignCodebookCache, NULL);
	DefineCustomEnumVariable(
		"semtok.simd", "Vector unit that semtok computes with; auto takes the best there is.",
		"It changes how fast codes, codebooks and scores are computed, never what they are.",
		&semtok_simd, STK_SIMD_AUTO, simd_names, PGC_USERSET, 0, CheckSimd, NULL, NULL);
	DefineCustomIntVariable(
		"semtok.tokenizer_id_base", "Number above which this node's tokenizers get their ids.",
		"A multiple of 1000000, another one on every node between which tokenizers are copied: ids "
		"from base + 1 to base + 1000000 are then this node's alone.",
		&semtok_tokenizer_id_base, 0, 0, MAX_ID_BASE, PGC_SUSET, 0, CheckIdBase, NULL, NULL);
	MarkGUCPrefixReserved("semtok");
}
