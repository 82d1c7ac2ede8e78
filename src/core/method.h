/*
 * A training method: one file behind one struct, which method.c lists. Nothing else asks which
 * method a plan names.
 *
 * A method makes a codebook, and what encodes and decodes by a codebook (rq.h) does not ask where
 * it comes from. So a method is how to learn one, what may be said about that in a plan, and what
 * it takes.
 */
#ifndef STK_METHOD_H
#define STK_METHOD_H

#include "forecast.h"
#include "train.h"

typedef enum stk_option_kind
{
	STK_OPTION_WHOLE, /* int or uint32_t */
	STK_OPTION_REAL,  /* double */
	STK_OPTION_WORD,  /* an enum: the place of the word */
	STK_OPTION_FLAG,  /* bool */
	STK_OPTION_LIST   /* uint32_t[nwords], of which an int says how many there are */
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
	size_t count_at;          /* LIST: and of how many */
	double least, most;       /* WHOLE, REAL, members of LIST */
	bool above;               /* REAL: more than `least` */
	bool below;               /* REAL: less than `most` */
	const char *const *words; /* WORD: [nwords] */
	int nwords;               /* WORD, LIST: at most */
	bool all_rows;            /* goes only with all rows at once: without a batch_size */
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
	const float *heldout; /* [heldout_n][dim], of a method that measures them itself; else NULL */
	size_t heldout_n;
	int look_every; /* epochs between those whose codewords progress reads; >= 1 */
	/*
	 * After every epoch of every level; of a method that measures itself, report alone is called.
	 */
	void (*progress)(void *ctx, const stk_train_progress *p);
	void (*report)(void *ctx, const stk_train_report *r);
	void *ctx;
} stk_method_run;

typedef struct stk_method
{
	const char *name; /* in SQL */
	const stk_option *options;
	int noptions;
	/* Which method goes on from a codebook that this one has made, with plan.resume. */
	stk_train_method fit;
	/*
	 * Names of sets of defaults, ours first; NULL: there is one. Set the members that options name,
	 * and batch_size where it is 0 and the method knows better; the plan's others are as they were.
	 */
	const char *const *presets;
	int npresets;
	void (*defaults)(int preset, stk_train_plan *plan);
	/* What options left open follows from others: called once when all are read. May be NULL. */
	void (*settle)(stk_train_plan *plan);
	/* As stk_train_check, which has seen to what all methods have in common. */
	stk_status (*check)(const stk_train_plan *plan, stk_error *err);
	/* Do all levels learn at once, batch by batch, or each behind those that are finished? */
	bool (*joint)(const stk_train_plan *plan);
	/* Bytes of exec->a that learning takes at its peak beside the rows and those held out. */
	size_t (*bytes)(const stk_forecast *f);
	/* Multiply-adds of an epoch, about, for each row. */
	double (*work)(const stk_train_plan *plan);
	/*
	 * A method that makes more than codewords keeps all of it in a state of so many bytes, reports
	 * what it measures itself, can go on from any state that it has reported, and diverges by an
	 * error that names no row. NULL: a codebook of codewords and counts is all.
	 */
	size_t (*state_bytes)(const stk_train_plan *plan);
	/*
	 * The codebook of a state [state_bytes] in its stored form, *bytes long, allocated from a.
	 * STK_ECORRUPT: no state of this plan; STK_EINVAL: numbers that are not finite.
	 */
	stk_status (*store)(const stk_train_plan *plan, const stk_allocator *a, const uint8_t *state,
						uint8_t **out, size_t *bytes, stk_error *err);
	/*
	 * Let a state that a training came to be where another one begins, by this plan; epoch: how
	 * many epochs a state has behind it. STK_ECORRUPT: no state of this plan.
	 */
	stk_status (*again)(stk_train_plan *plan, const stk_allocator *a, uint8_t *state,
						stk_error *err);
	stk_status (*epoch)(const stk_train_plan *plan, const stk_allocator *a, const uint8_t *state,
						int *epoch, stk_error *err);
	/*
	 * Learn result's codewords and counts, or its state, from rows x [n][dim], n >= 1, which may be
	 * overwritten.
	 * The plan has been checked. Errors as the trainers have them, err->row counting in x as given.
	 */
	stk_status (*train)(const stk_method_run *run, float *x, size_t n, stk_train_result *result,
						stk_error *err);
} stk_method;

extern const stk_method stk_method_rqkmeans; /* method_rqkmeans.c */
extern const stk_method stk_method_ema;      /* method_ema.c */
extern const stk_method stk_method_rqvae;    /* method_rqvae.c */

/* NULL: there is no such method. */
extern const stk_method *stk_method_of(stk_train_method method);

/* Codewords of all levels together, and what a row is compared with in an epoch. */
extern size_t stk_plan_codes(const stk_train_plan *plan);
extern double stk_plan_row_work(const stk_train_plan *plan);

#endif
