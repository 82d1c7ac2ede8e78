/*
 * What a code adds to the cost of a prefix: the terms of a node's children from a row of logits, by
 * a norm and a temperature, and what top_k and top_p leave of them. Private to core.
 */
#ifndef STK_TERMS_H
#define STK_TERMS_H

#include "decode.h"

typedef struct terms_entry
{
	double cost;
	uint32_t child;
} terms_entry;

/* Scratch, one entry a child. */
typedef struct terms
{
	stk_allocator a;
	const stk_decode_options *options;
	double temperature; /* options', 1 for 0 */
	double *cost;
	float *z;
	double *select;
	terms_entry *entries;
	size_t room;
} terms;

/* A row of logits. */
typedef struct terms_row
{
	const float *logits;
	uint32_t size;
	bool empty;     /* no finite logit */
	double max;     /* norm full: of stk_softmax_log_sum */
	double log_sum; /* norm full */
	double least;   /* at most the term of any code */
} terms_row;

extern void terms_init(terms *t, const stk_decode_options *options, const stk_allocator *a);
extern void terms_free(terms *t);
extern stk_status terms_reserve(terms *t, size_t n);

/* STK_EINVAL when a logit is NaN or +infinity; *code is the first such. */
extern stk_status terms_read_row(const terms *t, stk_norm norm, const float *logits, uint32_t size,
								 terms_row *row, uint32_t *code);

/* Fill t->cost with the terms of children, +infinity = never. */
extern stk_status terms_of_children(terms *t, stk_norm norm, const terms_row *row,
									const stk_child *children, size_t n);

/*
 * Take out of cost [n], the terms of one node's children or their costs, what top_k and top_p do
 * not leave. With sampling the rest become terms whose probabilities add up to 1. cost may be
 * t->cost. STK_ENOMEM.
 */
extern stk_status terms_truncate(terms *t, double *cost, size_t n);

#endif
