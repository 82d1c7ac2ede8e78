/*
 * What the client's ways of computing share: where something is to be computed, and what is said
 * when that is not possible.
 */
#ifndef SEMTOK_OFFLOAD_IMPL_H
#define SEMTOK_OFFLOAD_IMPL_H

#include "postgres.h"

#include "client/offload.h"
#include "client/worker.h"
#include "compat.h"

/*
 * Is this work for the worker? Connects to it when it is. What is for device cuda always is.
 *
 *   multiply_adds  of the work at hand
 *   known_ms       of one-thread time that the statement's work is known to take at least, beside
 *                  the work at hand: what makes up for starting a worker
 *   bytes          of data that have to be in the worker at a time. More than
 *                  semtok.max_worker_bytes is for the session, and an error (53400) for device
 *                  cuda and where semtok.offload = on has all work go to a worker
 *   away           becomes true when there is no worker though it is wanted: after OffloadFallback
 */
extern bool OffloadGoes(stk_device device, double multiply_adds, double known_ms, uint64 bytes,
						bool *away);

/* Multiply-adds of one-thread milliseconds, where nobody has measured yet. */
extern double OffloadAssumed(double multiply_adds);

/*
 * The session computes what was meant for a worker: count it, and warn once a statement. The
 * remedy, a hint, may be NULL. For device cuda an error instead: OffloadDeviceFailed.
 */
extern void OffloadFallback(stk_device device, const char *why, const char *remedy);
/*
 * Why a request failed, for people; palloc'd. And what can be done about it; NULL where nothing
 * can.
 */
extern char *OffloadFailure(const stk_failed *failed);
extern const char *OffloadRemedy(const stk_failed *failed);

/* The device that is wanted, where a verb's is this. */
extern stk_device OffloadDevice(stk_device device);
/* Raise 0A000: there is no device cuda. why is a sentence. */
pg_noreturn extern void OffloadNoDevice(const char *why);
/* Raise 58000: device cuda was asked for and there is none any more, or no worker to have it. */
pg_noreturn extern void OffloadDeviceFailed(const char *why);

/* Bytes that may be in a worker; UINT64_MAX = any. */
extern uint64 OffloadLimit(void);

/* Say where the work is computed now; NULL for the session. */
extern void OffloadWhere(const WorkerInfo *info);

#endif
