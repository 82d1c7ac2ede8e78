/*
 * What launch.c (loading, encoding, training) and launch_search.c share.
 */
#ifndef STK_LAUNCH_IMPL_H
#define STK_LAUNCH_IMPL_H

#include "worker/launch.h"

/* Rows that are in memory at a time are as many bytes, or a share of the budget. */
#define PIECE_BYTES ((uint64_t) 16 << 20)
#define PIECE_SHARE 16

/* A launch while it runs. */
typedef struct launch_run
{
	const stk_shop *shop;
	stk_launch *launch;
	stk_purse purse;
	stk_monitor monitor;
	stk_exec exec;
	uint64_t reports; /* of the training so far */
	uint64_t said;    /* of these, said before it began again */
	uint64_t states;  /* of the training, put into the file so far */
} launch_run;

/* Is it to stop? A look at the monitor; ctx is the stk_launch. */
extern bool launch_stops(void *ctx);

/*
 * The device cannot do what it was to do. May the cores? Not where the client insists on the
 * device; then the job's answer says why.
 */
extern bool launch_falls_back(launch_run *r, stk_device wanted, const stk_error *err);

/* Search for the queries of all jobs. */
extern void launch_search(launch_run *r);

#endif
