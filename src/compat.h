/*
 * Differences between PostgreSQL versions. Every PG_VERSION_NUM test of semtok is here.
 */
#ifndef SEMTOK_COMPAT_H
#define SEMTOK_COMPAT_H

#include "postgres.h"

#include "storage/bufmgr.h"
#include "utils/palloc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

/* 16 moved what takes varlena values apart out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 17 numbers backends from 0, not from 1, and finds shared memory by name without preloading. */
#if PG_VERSION_NUM >= 170000
#include "storage/dsm_registry.h"
#include "storage/procnumber.h"
#define SemtokBackendNumber() ((int) MyProcNumber)
static inline void *
SemtokNamedSegment(const char *name, Size size, void (*init)(void *))
{
	bool found;

	return GetNamedDSMSegment(name, size, init, &found);
}
#else
#include "storage/backendid.h"
#define SemtokBackendNumber() ((int) MyBackendId - 1)
#define SemtokNamedSegment(name, size, init) ((void) (name), (void) (size), (void *) NULL)
#endif

/* 18 lets a library tell its name and version, which pg_get_loaded_modules() shows. */
#if PG_VERSION_NUM >= 180000
#define SEMTOK_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "semtok", .version = SEMTOK_VERSION)
#else
#define SEMTOK_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* 18 says before a declaration that a function does not return. */
#ifndef pg_noreturn
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 18 tells ANALYZE's rests from VACUUM's. */
#if PG_VERSION_NUM >= 180000
#define SemtokVacuumDelayPoint() vacuum_delay_point(false)
#else
#define SemtokVacuumDelayPoint() vacuum_delay_point()
#endif

/* 18 shows in EXPLAIN how often an index was searched; scan: IndexScanDesc. */
#if PG_VERSION_NUM >= 180000
#define SemtokCountSearch(scan)                                                                    \
	do                                                                                             \
	{                                                                                              \
		if ((scan)->instrument)                                                                    \
			(scan)->instrument->nsearches++;                                                       \
	} while (0)
#else
#define SemtokCountSearch(scan) ((void) 0)
#endif

/* 18 compares paths by how many of their nodes are disabled before it looks at what they cost. */
#if PG_VERSION_NUM >= 180000
#define SemtokDisablePath(path) ((path)->disabled_nodes += 100)
#else
#define SemtokDisablePath(path) ((void) 0)
#endif

/* 16 lets the caller of tuplesort_getdatum choose whether to get a copy, as 15 always gives. */
#if PG_VERSION_NUM >= 160000
#define SemtokTuplesortGetDatum(state, datum, isnull)                                              \
	tuplesort_getdatum(state, true, true, datum, isnull, NULL)
#else
#define SemtokTuplesortGetDatum(state, datum, isnull)                                              \
	tuplesort_getdatum(state, true, datum, isnull, NULL)
#endif

/* 16 replaced the checks of rights on each kind of object by one. */
#if PG_VERSION_NUM >= 160000
#define SemtokMayExecute(function)                                                                 \
	(object_aclcheck(ProcedureRelationId, function, GetUserId(), ACL_EXECUTE) == ACLCHECK_OK)
#else
#define SemtokMayExecute(function)                                                                 \
	(pg_proc_aclcheck(function, GetUserId(), ACL_EXECUTE) == ACLCHECK_OK)
#endif

/* 16 tells who may SET ROLE from who is a member. */
#if PG_VERSION_NUM >= 160000
#define SemtokCanBecome(user, role) member_can_set_role(user, role)
#else
#define SemtokCanBecome(user, role) is_member_of_role(user, role)
#endif

/* 16 renamed the file number of a relation. */
#if PG_VERSION_NUM >= 160000
#define SemtokRelFileNumber(rel) ((rel)->rd_locator.relNumber)
#else
#define SemtokRelFileNumber(rel) ((rel)->rd_node.relNode)
#endif

/* 16 can report a lack of memory as NULL; before, the error is raised by repalloc itself. */
#if PG_VERSION_NUM >= 160000
#define SemtokReallocHuge(ptr, size)                                                               \
	repalloc_extended(ptr, size, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM)
#else
#define SemtokReallocHuge(ptr, size) repalloc_huge(ptr, size)
#endif

/* 16 made the JSON parser's actions return a result, 17 lets the caller own the lexer. */
#if PG_VERSION_NUM >= 160000
#define SemtokJsonResult JsonParseErrorType
#define SEMTOK_JSON_SUCCESS return JSON_SUCCESS
#else
#define SemtokJsonResult void
#define SEMTOK_JSON_SUCCESS return
#endif
#if PG_VERSION_NUM >= 170000
#define SemtokJsonLexContext(text, len)                                                            \
	makeJsonLexContextCstringLen(NULL, text, len, GetDatabaseEncoding(), true)
#else
#define SemtokJsonLexContext(text, len)                                                            \
	makeJsonLexContextCstringLen(text, len, GetDatabaseEncoding(), true)
#endif

/* 18 takes bytes for what they are in base64. */
#if PG_VERSION_NUM >= 180000
typedef uint8 SemtokBase64Byte;
#else
typedef char SemtokBase64Byte;
#endif

/* 16 replaced the ownership checks of each kind of object by one. */
#if PG_VERSION_NUM >= 160000
#define SemtokOwnsRelation(relid) object_ownercheck(RelationRelationId, relid, GetUserId())
#else
#define SemtokOwnsRelation(relid) pg_class_ownercheck(relid, GetUserId())
#endif

/* 17 has sets of events belong to a resource owner, or, without one, to the session, as here. */
#if PG_VERSION_NUM >= 170000
#define SemtokCreateWaitEventSet(nevents) CreateWaitEventSet(NULL, nevents)
#else
#define SemtokCreateWaitEventSet(nevents) CreateWaitEventSet(TopMemoryContext, nevents)
#endif

/* 17 lets an extension name what it waits for. */
#if PG_VERSION_NUM >= 170000
#define SemtokWaitEventNew(name) WaitEventExtensionNew(name)
#else
#define SemtokWaitEventNew(name) ((void) (name), PG_WAIT_EXTENSION)
#endif

/* Before 17 a setting lets rows be pruned, after some minutes, that a snapshot still sees. */
#if PG_VERSION_NUM < 170000
#define SemtokPrunesEarly() OldSnapshotThresholdActive()
#else
#define SemtokPrunesEarly() false
#endif

#endif
