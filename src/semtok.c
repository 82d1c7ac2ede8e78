/*
 * Entry point of the module.
 */
#include "postgres.h"

#include "fmgr.h"
#include "guc.h"

#include "am/semtrie.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	SemtokDefineSettings();
	SemtrieDefineOptions();
}
