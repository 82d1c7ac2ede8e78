#include "postgres.h"

#include <limits.h>

#include "guc.h"
#include "utils/guc.h"

int semtok_beam_width = 0;
int semtok_codebook_cache_size = 256 * 1024;

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
		"semtok.codebook_cache_size", "Memory for parsed codebooks that a backend keeps for reuse.",
		"Codebooks in use by a running query do not count.", &semtok_codebook_cache_size,
		256 * 1024, 0, INT_MAX / 2, PGC_USERSET, GUC_UNIT_KB, NULL, NULL, NULL);
	MarkGUCPrefixReserved("semtok");
}
