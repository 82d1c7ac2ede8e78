/*
 * Prefixes as ranges of the order of ids, and what share of a column lies in one.
 */
#ifndef STK_SEMID_RANGE_H
#define STK_SEMID_RANGE_H

#include "semid.h"

/*
 * The least id after all those that begin with prefix (its tokenizer taken as it is):
 * prefix <= id < *next says that id begins with it. False when there is no id after them.
 */
extern bool stk_semid_successor(const stk_semid *prefix, stk_semid *next);

/*
 * Bounds of an equi-depth histogram, ascending, at least 2: between neighbours lie as many ids.
 * sizes[l] is one more than the largest code seen at level l, 1 where none was.
 */
typedef struct stk_semid_histogram
{
	const stk_semid *bounds;
	size_t n;
	uint32_t sizes[STK_MAX_LEVELS];
} stk_semid_histogram;

/* Take n >= 2 bounds, which stay the caller's. */
extern void stk_semid_histogram_make(stk_semid_histogram *h, const stk_semid *bounds, size_t n);

/*
 * Estimated share of the histogram's ids that begin with prefix, 0 to 1; tokenizer 0 stands for
 * every tokenizer that a bound has. Inside a bin codes are taken as spread evenly over 0 to
 * sizes[l] - 1. Bounds out of order give a wrong share, nothing worse.
 */
extern double stk_semid_histogram_share(const stk_semid_histogram *h, const stk_semid *prefix);

#endif
