/*
 * Private to rq.c, rq_beam*.c and what measures them: the quantizer, and what the ways of encoding
 * share.
 */
#ifndef STK_RQ_IMPL_H
#define STK_RQ_IMPL_H

#include "beam_tables.h"
#include "rq.h"

struct stk_rq
{
	stk_codebook cb;
	stk_allocator a;
	stk_pack packs[STK_MAX_LEVELS];
	uint32_t largest;        /* size of the largest level */
	stk_beam_tables *tables; /* NULL until stk_rq_prepare_beam */
};

/* Note where an error happened; returns err, which may be NULL. */
extern stk_error *stk_rq_place(stk_error *err, size_t row, int level);
/* STK_ERANGE: the residual that level would quantize left binary32's range. */
extern stk_status stk_rq_out_of_range(stk_error *err, size_t row, int level);
/* stk_rq_prepare_row, in the environment already entered, with a row number for the error. */
extern stk_status stk_rq_prepare(const stk_codebook *cb, const stk_reference *reference,
								 const float *x, float *out, size_t row, stk_error *err);

/*
 * What is encoded of the embedding *x: the latent vector of a codebook with a network, which *x
 * then is; *made owns it, NULL where there is none, and is to be freed whatever happens.
 */
extern stk_status stk_rq_latent(const stk_codebook *cb, const stk_exec *exec, const float **x,
								float **made, stk_error *err);

/* What stopped a thread: the first of its rows that failed, or the monitor. */
typedef struct stk_rq_failure
{
	stk_status status;
	stk_error err;
} stk_rq_failure;

/* Does this thread's failure leave rows from `row` on without interest? */
static inline bool
stk_rq_failed_before(const stk_rq_failure *f, size_t row)
{
	return f->status == STK_ECANCELED || (f->status != STK_OK && f->err.row < row);
}

/* Keep in *to whichever comes first: a cancellation, then the lower row. */
static inline void
stk_rq_merge_failure(stk_rq_failure *to, const stk_rq_failure *f)
{
	if (f->status == STK_ECANCELED ||
		(f->status != STK_OK && !stk_rq_failed_before(to, f->err.row)))
		*to = *f;
}

/* stk_rq_encode with a beam > 1, in the environment already entered. */
extern stk_status stk_rq_encode_beam(const stk_rq *rq, const stk_exec *exec, const float *x,
									 size_t n, int beam, uint16_t *codes, stk_nearest_stats *stats,
									 stk_error *err);

/*
 * The same by the reference alone, for the rows named by rows [count], in ascending order; NULL
 * means rows 0 .. count - 1.
 */
extern stk_status stk_rq_encode_beam_plain(const stk_rq *rq, const stk_exec *exec, const float *x,
										   const size_t *rows, size_t count, int beam,
										   uint16_t *codes, stk_nearest_stats *stats,
										   stk_error *err);

/* Prefixes that a level of a beam may have: beam, or as many as there are. */
extern size_t stk_rq_beam_width(const stk_codebook *cb, int beam);

/* Codes of a kept prefix. */
typedef uint16_t stk_beam_codes[STK_MAX_LEVELS];

/* A prefix on offer by the reference's numbers. */
typedef struct stk_beam_candidate
{
	double key; /* d_parent + 2 s */
	double s;
	uint32_t parent; /* which of the level above's prefixes */
	uint16_t code;
	float value; /* what a filter made of it; the order does not look at it */
} stk_beam_candidate;

/*
 * Offer c to a heap of at most `keep` candidates with the worst on top, *n of them so far: by key,
 * then s, then code sequence. parents are the prefixes of the level above.
 */
extern void stk_beam_offer(stk_beam_candidate *heap, size_t *n, size_t keep, stk_beam_candidate c,
						   const stk_beam_codes *parents, int level);

#endif
