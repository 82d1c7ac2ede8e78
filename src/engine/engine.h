/*
 * An engine: the operations that can be offloaded, on one kind of device. A new device is a new
 * file that fills this struct. Every engine gives the same bits.
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

typedef struct stk_engine stk_engine;

/* A codebook made ready on the engine's device; the engine's own. */
typedef struct stk_resident stk_resident;

typedef struct stk_engine_ops
{
	const char *name; /* "cpu" */

	/*
	 * Make a codebook ready: for greedy encoding, or for beams wider than 1 too. cb's floats and
	 * exec->a must outlive the result. Every result encodes with any beam, to the same codes; one
	 * made for it is the faster. STK_EINVAL (a codeword not finite), STK_ENOMEM, STK_ECANCELED.
	 */
	stk_status (*load)(stk_engine *e, const stk_exec *exec, const stk_codebook *cb, bool wide,
					   stk_resident **out, stk_error *err);
	/* Free it; nobody uses it any more. */
	void (*unload)(stk_engine *e, stk_resident *r);
	/* Bytes that it takes beside cb's floats, of exec->a and of the device. */
	size_t (*resident_bytes)(const stk_resident *r);

	/*
	 * Encode, as stk_rq_encode does.
	 *
	 *   x      [n][dim]
	 *   codes  [n][levels]  out
	 */
	stk_status (*encode)(stk_engine *e, const stk_exec *exec, const stk_resident *r, const float *x,
						 size_t n, int beam, uint16_t *codes, stk_error *err);

	/* Train, as stk_train does. */
	stk_status (*train)(stk_engine *e, const stk_exec *exec, const stk_train_plan *plan,
						const stk_rows *rows, const stk_rows *heldout,
						void (*report)(void *ctx, const stk_train_report *r), void *report_ctx,
						stk_train_result *result, stk_error *err);

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
