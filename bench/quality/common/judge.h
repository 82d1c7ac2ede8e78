/*
 * How good a tokenizer's ids are: one judge for ours and the rivals', who hand in codes and what
 * they make of them again.
 */
#ifndef QUALITY_JUDGE_H
#define QUALITY_JUDGE_H

#include "common/bench.h"
#include "common/data.h"

/* True neighbours of a query that ids should keep near it, and where they are looked for. */
#define NEIGHBOURS 10
#define SHORT_LIST 10
#define LONG_LIST 100

/* A data set, of which some rows are kept from training. */
typedef struct quality_data
{
	bench_rows all; /* those held out come last */
	size_t train_n;
	size_t queries;    /* rows whose neighbours are known: the first */
	uint32_t *nearest; /* [queries][NEIGHBOURS], none of them the query itself */
} quality_data;

typedef struct quality
{
	double error;     /* mean squared distance of a row held out from what its id says */
	double fitted;    /* the same of the rows trained on */
	double unique;    /* distinct ids of all rows / rows */
	double entropy;   /* of a level's codes, in nats; mean of the levels */
	double first;     /* share of the true neighbours with the query's first code */
	double second;    /* with its first two */
	double listed[2]; /* among the SHORT_LIST, LONG_LIST nearest by what ids say */
	double seconds;   /* of training */
} quality;

/*
 * Take a data set, in an order that the seed gives, its last twentieth held out; at most max rows.
 * Free with quality_data_free.
 */
extern quality_data quality_data_load(const stk_exec *exec, const char *name, size_t max,
									  uint64_t seed);
extern void quality_data_free(quality_data *data);

/*
 * Judge ids of all rows.
 *
 *   codes  [n][levels]
 *   again  [n][dim]     what they decode to
 */
extern quality quality_judge(const stk_exec *exec, const quality_data *data, const uint16_t *codes,
							 int levels, const float *again);

#endif
