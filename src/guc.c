#include "postgres.h"

#include <limits.h>

#include "guc.h"
#include "types/bridge.h"
#include "types/codebook.h"
#include "utils/guc.h"

int semtok_beam_width = 0;
int semtok_codebook_cache = 256 * 1024;
int semtok_simd = STK_SIMD_AUTO;

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
	MarkGUCPrefixReserved("semtok");
}
