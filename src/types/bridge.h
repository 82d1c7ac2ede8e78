/*
 * Between core and PostgreSQL: memory, interrupts, errors.
 */
#ifndef SEMTOK_BRIDGE_H
#define SEMTOK_BRIDGE_H

#include "postgres.h"

#include "compat.h"
#include "core/exec.h"
#include "core/status.h"

/*
 * An allocator over a memory context; huge requests allowed. NULL when memory is out, except that
 * growing a block raises 53200 itself before PostgreSQL 16.
 */
extern stk_allocator SemtokAllocator(MemoryContext context);

/* Stops core's long loops when an interrupt is pending; the caller then checks for interrupts. */
extern const stk_monitor SemtokMonitor;

/*
 * A way of computing, the same object for the same path as long as the backend lives; NULL where
 * the processor has no such unit, and err says so.
 */
extern const stk_cpu *SemtokCpu(stk_simd want, stk_error *err);

/*
 * What core computes with in a backend: memory of this context, the vector unit of semtok.simd,
 * one thread, and SemtokMonitor.
 */
extern stk_exec SemtokExec(MemoryContext context);

/*
 * Raise the error for a status that is not STK_OK: 53200 for memory, 54000 for limits, 22023 for
 * bad arguments, XX001 for corrupt data; STK_ECANCELED runs the pending interrupt. what begins
 * the message ("could not encode embedding"); err may be NULL.
 */
pg_noreturn extern void SemtokReportStatus(stk_status status, const stk_error *err,
										   const char *what);

/* core's message as an errdetail: a capital letter and a full stop; palloc'd. */
extern char *SemtokErrorSentence(const stk_error *err);

/* OID of one of semtok's types ("semid", "codebook", …), in the extension's schema. */
extern Oid SemtokTypeOid(const char *name);
/* Schema that the extension's types live in, quoted for SQL. */
extern const char *SemtokTypeSchema(void);

#endif
