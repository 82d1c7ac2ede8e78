/*
 * Entry point of the module.
 */
#include "postgres.h"

#include "compat.h"
#include "fmgr.h"
#include "guc.h"

#include "am/semtrie.h"
#include "client/shared.h"
#include "miscadmin.h"
#include "utils/builtins.h"

SEMTOK_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(semtok_library_version);

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	SemtokDefineSettings();
	SemtrieDefineOptions();
	if (process_shared_preload_libraries_in_progress)
		SharedRequest();
}

/* semtok.library_version() → text: what the Makefile calls it */
Datum
semtok_library_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(SEMTOK_VERSION));
}
