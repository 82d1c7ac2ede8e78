/*
 * What every benchmark of core needs: a clock, threads, goals. A benchmark's first line of output
 * is its title; what machine it ran on is printed by whoever runs it.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/exec.h"
#include "engine/crew.h"

/* Threads of every measurement, ours and the rivals', unless a row says otherwise. */
#define BENCH_THREADS 2

typedef struct bench_time
{
	double shortest; /* seconds */
	double median;
} bench_time;

/* Seconds of the monotonic clock. */
extern double bench_now(void);

/* Run work(arg) `times` times, at most 64. */
extern bench_time bench_measure(int times, void (*work)(void *arg), void *arg);

/* End with a message unless status is STK_OK; err may be NULL. */
extern void bench_check(const char *what, stk_status status, const stk_error *err);
/* malloc that ends the program rather than return NULL. */
extern void *bench_alloc(size_t n, size_t size);

/*
 * The vector unit wanted, on so many threads (1: no pool). False when this processor or build has
 * not got it. Lives until bench_exec_stop.
 */
typedef struct bench_exec
{
	stk_exec exec;
	stk_cpu cpu;
	stk_crew *threads;
} bench_exec;

extern bool bench_exec_start(bench_exec *e, stk_simd simd, int threads);
extern void bench_exec_stop(bench_exec *e);

/* A line that says whether a goal was met: what was asked for, and by printf what came out. */
extern void bench_goal(bool met, const char *goal, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same for a goal that this machine or set-up cannot decide, and why. */
extern void bench_goal_open(const char *goal, const char *why);

/*
 * The most memory that work(arg) needs beyond what this process holds, in kB, measured in a child
 * that runs it once; NAN where the system does not tell.
 */
extern double bench_memory(void (*work)(void *arg), void *arg);

#endif
