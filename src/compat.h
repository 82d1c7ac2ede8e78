/*
 * Differences between PostgreSQL versions. Every PG_VERSION_NUM test of semtok is here.
 */
#ifndef SEMTOK_COMPAT_H
#define SEMTOK_COMPAT_H

#include "postgres.h"

#include "storage/bufmgr.h"
#include "utils/palloc.h"
#include "utils/rel.h"

/* 16 renamed the file number of a relation. */
#if PG_VERSION_NUM >= 160000
#define SemtokRelFileNumber(rel) ((rel)->rd_locator.relNumber)
#else
#define SemtokRelFileNumber(rel) ((rel)->rd_node.relNode)
#endif

/* 16 can report a lack of memory as NULL; before, the error is raised by repalloc itself. */
#if PG_VERSION_NUM >= 160000
#define SemtokReallocHuge(ptr, size) \
	repalloc_extended(ptr, size, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM)
#else
#define SemtokReallocHuge(ptr, size) repalloc_huge(ptr, size)
#endif

#endif
