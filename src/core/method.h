/*
 * A training method: one file behind one struct, which method.c lists. Nothing else asks which
 * method a plan names.
 *
 * A method makes a codebook, and what encodes and decodes by a codebook (rq.h) does not ask where it
 * comes from. So a method is how to learn one, what may be said about that in a plan, and what it
 * takes.
 */
#ifndef STK_METHOD_H
#define STK_METHOD_H

#include "forecast.h"
#include "train.h"

typedef enum stk_option_kind
{
	STK_OPTION_WHOLE, /* int or uint32_t */
	STK_OPTION_REAL,  /* double */
	STK_OPTION_WORD   /* an enum: the place of the word */
} stk_option_kind;

/*
 * A member of the plan that a method goes by, as people may set it. What it is unless they do is
 * the method's `defaults`; that may be a number less than `least`, which means none.
 */
typedef struct stk_option
{
	const char *name;
	stk_option_kind kind;
	size_t at;                /* offset in stk_train_plan */
	double least, most;       /* WHOLE, REAL */
	bool below;               /* REAL: less than `most` */
	const char *const *words; /* WORD: [nwords] */
	int nwords;
	bool all_rows; /* goes only with all rows at once: without a batch_size */
} stk_option;

/* Rounds of refinement (refine.h): an option of every method whose codewords it can refit. */
#define STK_OPTION_REFINE                                                                          \
	{                                                                                              \
		.name = "refine", .kind = STK_OPTION_WHOLE, .at = offsetof(stk_train_plan, refine),        \
		.most = STK_TRAIN_MAX_ROUNDS                                                               \
	}

/* What a method learns with. */
typedef struct stk_method_run
{
	const stk_train_plan *plan;
	const stk_exec *exec;
	int look_every; /* epochs between those whose codewords progress reads; >= 1 */
	void (*progress)(void *ctx, const stk_train_progress *p); /* after every epoch of every level */
	void *progress_ctx;
} stk_method_run;

typedef struct stk_method
{
	const char *name; /* in SQL */
	const stk_option *options;
	int noptions;
	/* Which method goes on from a codebook that this one has made, with plan.resume. */
	stk_train_method fit;
	/* Set the members that options name; the plan's others are as they were. */
	void (*defaults)(stk_train_plan *plan);
	/* As stk_train_check, which has seen to what all methods have in common. */
	stk_status (*check)(const stk_train_plan *plan, stk_error *err);
	/* Do all levels learn at once, batch by batch, or each behind those that are finished? */
	bool (*joint)(const stk_train_plan *plan);
	/* Bytes of exec->a that learning takes at its peak beside the rows. */
	size_t (*bytes)(const stk_forecast *f);
	/*
	 * Learn result's codewords and counts from rows x [n][dim], n >= 1, which may be overwritten.
	 * The plan has been checked. Errors as the trainers have them, err->row counting in x as given.
	 */
	stk_status (*train)(const stk_method_run *run, float *x, size_t n, stk_train_result *result,
						stk_error *err);
} stk_method;

extern const stk_method stk_method_rqkmeans; /* method_rqkmeans.c */
extern const stk_method stk_method_ema;      /* method_ema.c */

/* NULL: there is no such method. */
extern const stk_method *stk_method_of(stk_train_method method);

#endif
