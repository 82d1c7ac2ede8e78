/*
 * An engine: the operations that can be offloaded, on one kind of device. A new device is a new
 * file that fills this struct. Every engine gives the same bits.
 *
 * Beside the processor's cores a device may fail: then what it was asked for ends with STK_EDEVICE
 * and the reason, and whoever asked has the cores compute it from the beginning.
 *
 * Functions may be called from several threads at once, each with an exec of its own; exec->pool's
 * threads are the engine's to use, exec->monitor is asked between bounded pieces of work. Which
 * unit computes is the engine's choice: exec->cpu does not matter.
 */
#ifndef STK_ENGINE_H
#define STK_ENGINE_H

#include "core/codebook.h"
#include "core/exec.h"
#include "core/train.h"
#include "engine/search_batch.h"

typedef struct stk_engine stk_engine;

/* A codebook made ready on the engine's device; the engine's own. */
typedef struct stk_resident stk_resident;

/* A trie of ids made ready on the engine's device; the engine's own. */
typedef struct stk_resident_trie stk_resident_trie;

/* How an engine does that has a device of its own. */
typedef struct stk_engine_state
{
	/*
	 * A device of it has failed for good, as far as this process goes: it may be there again in a
	 * new one. What other devices there are compute on.
	 */
	bool failed;
	bool usable;           /* some device of it still computes */
	uint64_t memory;       /* bytes of the devices' memory that it takes now */
	uint64_t memory_limit; /* that it allows itself */
	char failure[160];     /* why a device has failed; empty: none has */
} stk_engine_state;

typedef struct stk_engine_ops
{
	const char *name; /* "cpu" */

	/*
	 * Make a codebook ready: for greedy encoding, or for beams wider than 1 too. cb's floats and
	 * exec->a must outlive the result. Every result encodes with any beam, to the same codes; one
	 * made for it is the faster. STK_EINVAL (a codeword not finite), STK_ENOMEM, STK_ECANCELED,
	 * STK_EDEVICE.
	 */
	stk_status (*load)(stk_engine *e, const stk_exec *exec, const stk_codebook *cb, bool wide,
					   stk_resident **out, stk_error *err);
	/* Free it; nobody uses it any more. */
	void (*unload)(stk_engine *e, stk_resident *r);
	/* Bytes of exec->a that it takes beside cb's floats. */
	size_t (*resident_bytes)(const stk_resident *r);

	/*
	 * Does it encode with a beam of this width? Where it does not, encode answers STK_EDEVICE.
	 * NULL: with any.
	 */
	bool (*takes)(const stk_engine *e, const stk_codebook *cb, int beam);

	/*
	 * Encode, as stk_rq_encode does; or STK_EDEVICE.
	 *
	 *   x      [n][dim]
	 *   codes  [n][levels]  out
	 */
	stk_status (*encode)(stk_engine *e, const stk_exec *exec, const stk_resident *r, const float *x,
						 size_t n, int beam, uint16_t *codes, stk_error *err);

	/* Train, as stk_train does; or STK_EDEVICE, which may come after reports. */
	stk_status (*train)(stk_engine *e, const stk_exec *exec, const stk_train_plan *plan,
						const stk_rows *rows, const stk_rows *heldout,
						void (*report)(void *ctx, const stk_train_report *r), void *report_ctx,
						stk_train_result *result, stk_error *err);

	/*
	 * Make a trie ready. stored, [bytes] of a set's stored form that stk_semset_check passes, and
	 * exec->a must outlive the result. STK_ENOMEM, STK_ECANCELED, STK_EDEVICE. An engine that does
	 * not search has NULL here and below.
	 */
	stk_status (*trie_load)(stk_engine *e, const stk_exec *exec, const uint8_t *stored,
							size_t bytes, stk_resident_trie **out, stk_error *err);
	/* Free it; nobody uses it any more. */
	void (*trie_unload)(stk_engine *e, stk_resident_trie *t);
	/* Bytes of the device's memory that it takes, and of exec->a beside the stored form. */
	size_t (*trie_bytes)(const stk_resident_trie *t);

	/*
	 * Does it search such a batch? The numbers of b are looked at, not its arrays. Where it does
	 * not, search answers STK_EDEVICE. NULL: any.
	 */
	bool (*takes_search)(const stk_engine *e, const stk_search_batch *b);

	/*
	 * Search for all queries of a batch, which the caller has checked. STK_ENOMEM, STK_ECANCELED,
	 * STK_EDEVICE.
	 */
	stk_status (*search)(stk_engine *e, const stk_exec *exec, const stk_resident_trie *t,
						 const stk_search_batch *b, stk_error *err);

	/* How it does now. NULL: it has no device but the processor, which does not fail. */
	void (*state)(stk_engine *e, stk_engine_state *state);

	void (*close)(stk_engine *e);
} stk_engine_ops;

/* The head of every engine's own struct. */
struct stk_engine
{
	const stk_engine_ops *ops;
	char device[96]; /* what it computes on, for people: "avx512, AMD EPYC 9654" */
};

/* The processor's cores. a outlives the engine, which ops->close frees. STK_ENOMEM. */
extern stk_status stk_engine_cpu_open(const stk_allocator *a, stk_engine **out, stk_error *err);

#endif
