/*
 * Every way of computing that this machine has: each path of vector units, alone and with pools of
 * one, two and three threads.
 */
#ifndef UNIT_MACHINES_H
#define UNIT_MACHINES_H

#include "core/exec.h"
#include "engine/crew.h"
#include "rows.h"

typedef struct machines
{
	int count;
	stk_exec execs[16]; /* the first is portable C in this thread */
	stk_cpu cpus[4];
	stk_crew *pools[4];
} machines;

/* stk_malloc for all; returns how many there are. */
static inline int
machines_start(machines *m)
{
	static const stk_simd simds[] = {STK_SIMD_SCALAR, STK_SIMD_AVX2, STK_SIMD_NEON,
									 STK_SIMD_AVX512};

	m->count = 0;
	for (int threads = 0; threads <= 3; threads++)
	{
		m->pools[threads] = NULL;
		if (threads > 0 && stk_crew_start(threads, &m->pools[threads]) != STK_OK)
			continue;
		for (int i = 0; i < 4; i++)
		{
			const stk_pool *pool =
				threads ? stk_crew_pool(m->pools[threads], STK_BACKGROUND) : NULL;

			if (stk_cpu_choose(simds[i], &m->cpus[i], NULL) == STK_OK)
				m->execs[m->count++] =
					(stk_exec){.a = stk_malloc, .cpu = &m->cpus[i], .pool = pool};
		}
	}
	return m->count;
}

/*
 * Does machine i compute round `round` of a test? The first does always, the others unless time is
 * short: then every third, or one, by turns.
 */
static inline bool
machines_turn(const machines *m, int i, int round)
{
	int step = (int) unit_size(1, 3, (size_t) m->count);

	return i == 0 || (i - 1 + round) % (step < m->count ? step : m->count - 1) == 0;
}

static inline void
machines_stop(machines *m)
{
	for (int threads = 1; threads <= 3; threads++)
		stk_crew_stop(m->pools[threads]);
}

#endif
