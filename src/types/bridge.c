#include "postgres.h"

#include "types/bridge.h"

#include <ctype.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "compat.h"
#include "guc.h"

/* A zero-byte request still gets memory, as core expects of malloc. */
static void *
BridgeAlloc(void *context, size_t size)
{
	if (size > MaxAllocHugeSize)
		return NULL;
	return MemoryContextAllocExtended((MemoryContext) context, size,
									  MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
}

static void *
BridgeRealloc(void *context, void *ptr, size_t size)
{
	if (ptr == NULL)
		return BridgeAlloc(context, size);
	if (size > MaxAllocHugeSize)
		return NULL;
	return SemtokReallocHuge(ptr, size);
}

static void
BridgeFree(void *context, void *ptr)
{
	if (ptr)
		pfree(ptr);
}

stk_allocator
SemtokAllocator(MemoryContext context)
{
	stk_allocator a = {BridgeAlloc, BridgeRealloc, BridgeFree, context};

	return a;
}

/*
 * Not every interrupt ends the statement (a request to log memory contexts does not), so those
 * that do not are served here and the computation goes on.
 */
static bool
BridgeStop(void *ctx)
{
	if (!INTERRUPTS_PENDING_CONDITION() || !INTERRUPTS_CAN_BE_PROCESSED())
		return false;
	if (ProcDiePending || QueryCancelPending)
		return true;
	CHECK_FOR_INTERRUPTS();
	return false;
}

const stk_monitor SemtokMonitor = {BridgeStop, NULL};

const stk_cpu *
SemtokCpu(stk_simd want, stk_error *err)
{
	static stk_cpu paths[STK_SIMD_SCALAR + 1];
	static stk_simd best; /* auto until it is known */
	stk_cpu cpu;

	if (want == STK_SIMD_AUTO)
		want = best;
	if (paths[want].reference)
		return &paths[want];
	if (stk_cpu_choose(want, &cpu, err) != STK_OK)
		return NULL;
	if (want == STK_SIMD_AUTO)
		best = cpu.simd;
	paths[cpu.simd] = cpu;
	return &paths[cpu.simd];
}

stk_exec
SemtokExec(MemoryContext context)
{
	const stk_cpu *cpu = SemtokCpu((stk_simd) semtok_simd, NULL);

	return (stk_exec){.a = SemtokAllocator(context), .cpu = cpu, .monitor = &SemtokMonitor};
}

void
SemtokReportStatus(stk_status status, const stk_error *err, const char *what)
{
	int sqlstate = ERRCODE_INTERNAL_ERROR;
	const char *why = "unexpected status";

	switch (status)
	{
		case STK_ECANCELED:
			CHECK_FOR_INTERRUPTS();
			ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("canceling statement")));
			break;
		case STK_ENOMEM:
			sqlstate = ERRCODE_OUT_OF_MEMORY;
			why = "out of memory";
			break;
		case STK_EINVAL:
			sqlstate = ERRCODE_INVALID_PARAMETER_VALUE;
			why = "invalid argument";
			break;
		case STK_ERANGE:
			sqlstate = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
			why = "limit exceeded";
			break;
		case STK_ECORRUPT:
			sqlstate = ERRCODE_DATA_CORRUPTED;
			why = "data is corrupt";
			break;
		case STK_ERETRY:
			sqlstate = ERRCODE_T_R_SERIALIZATION_FAILURE;
			why = "the index changed during the search";
			break;
		case STK_EIO:
			sqlstate = ERRCODE_IO_ERROR;
			why = "data could not be read or written";
			break;
		case STK_EDEVICE:
			sqlstate = ERRCODE_SYSTEM_ERROR;
			why = "the device cannot compute";
			break;
		case STK_OK:
			break;
	}
	if (err && err->message[0])
		why = err->message;
	ereport(ERROR, (errcode(sqlstate), errmsg("%s: %s", what, why)));
}

char *
SemtokErrorSentence(const stk_error *err)
{
	return psprintf("%c%s.", toupper((unsigned char) err->message[0]),
					err->message[0] ? err->message + 1 : "");
}

/* Schema of extension semtok. PostgreSQL 15 exports no function for this. */
static Oid
SemtokSchemaOid(void)
{
	Oid extension = get_extension_oid("semtok", false);
	Relation rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;
	Oid schema = InvalidOid;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (!OidIsValid(schema))
		elog(ERROR, "extension semtok has no schema");
	return schema;
}

Oid
SemtokTypeOid(const char *name)
{
	Oid type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
							   ObjectIdGetDatum(SemtokSchemaOid()));

	if (!OidIsValid(type))
		elog(ERROR, "type %s of extension semtok does not exist", name);
	return type;
}

const char *
SemtokTypeSchema(void)
{
	char *name = get_namespace_name(SemtokSchemaOid());

	if (name == NULL)
		elog(ERROR, "extension semtok has no schema");
	return quote_identifier(name);
}
