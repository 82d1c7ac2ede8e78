/*
 * The pool of threads: each task once, never two at a time for one thread; signals; what is left
 * when it cannot start; and core's floating-point environment in threads that have another.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "core/fpenv.h"
#include "engine/threads.h"
#include "foreign_fpenv.h"
#include "rows.h"

#define MAX_THREADS 8
#define MAX_TASKS 5000

typedef struct tally
{
	atomic_int calls[MAX_TASKS];
	atomic_int running[MAX_THREADS];
	atomic_int wrong;
	int threads;
	size_t n;
	pthread_t caller;
	pthread_barrier_t barrier;
} tally;

static void
count(void *arg, size_t index, int thread)
{
	tally *t = arg;

	if (index >= MAX_TASKS || thread < 0 || thread >= t->threads)
	{
		atomic_fetch_add(&t->wrong, 1);
		return;
	}
	/* The calling thread has number 0, and that number is its own. */
	if ((thread == 0) != (pthread_equal(pthread_self(), t->caller) != 0))
		atomic_fetch_add(&t->wrong, 1);
	if (atomic_fetch_add(&t->running[thread], 1) != 0)
		atomic_fetch_add(&t->wrong, 1);
	atomic_fetch_add(&t->calls[index], 1);
	/* Once all threads are awake they compete for the rest. */
	if (t->n == MAX_TASKS && index < (size_t) t->threads)
		pthread_barrier_wait(&t->barrier);
	atomic_fetch_sub(&t->running[thread], 1);
}

static void
each_task_once(void **state)
{
	static const size_t tasks[] = {0, 1, 2, 3, 7, MAX_TASKS};
	tally *t = malloc(sizeof(tally));

	(void) state;
	for (int threads = 1; threads <= MAX_THREADS; threads++)
	{
		stk_threads_pool *pool;

		assert_int_equal(stk_threads_start(threads, &pool), STK_OK);
		assert_int_equal(stk_threads(stk_threads_as_pool(pool)), threads);
		/* One pool serves many rounds. */
		for (int round = 0; round < 30; round++)
		{
			size_t n = tasks[(size_t) round % (sizeof(tasks) / sizeof(tasks[0]))];

			memset(t, 0, sizeof(*t));
			t->threads = threads;
			t->n = n;
			t->caller = pthread_self();
			pthread_barrier_init(&t->barrier, NULL, (unsigned) threads);
			stk_run(stk_threads_as_pool(pool), count, t, n);
			pthread_barrier_destroy(&t->barrier);
			assert_int_equal(atomic_load(&t->wrong), 0);
			for (size_t i = 0; i < MAX_TASKS; i++)
				assert_int_equal(atomic_load(&t->calls[i]), i < n);
		}
		stk_threads_stop(pool);
	}
	memset(t, 0, sizeof(*t));
	t->threads = 1;
	t->caller = pthread_self();
	stk_run(NULL, count, t, 5);
	for (size_t i = 0; i < MAX_TASKS; i++)
		assert_int_equal(atomic_load(&t->calls[i]), i < 5);
	free(t);
}

typedef struct slow_task
{
	pthread_barrier_t barrier;
	uint64_t result; /* of the other thread's long work */
} slow_task;

static void
work_on(void *arg, size_t index, int thread)
{
	slow_task *s = arg;
	volatile uint64_t bits = index;

	pthread_barrier_wait(&s->barrier);
	for (int i = 0; i < 1000000 && thread != 0; i++)
		bits = bits * 3 + 1;
	if (thread != 0)
		s->result = bits;
}

/* The caller has done its share long before the other thread. */
static void
the_caller_waits(void **state)
{
	slow_task s = {.result = 0};
	stk_threads_pool *pool;

	(void) state;
	assert_int_equal(stk_threads_start(2, &pool), STK_OK);
	pthread_barrier_init(&s.barrier, NULL, 2);
	for (int round = 0; round < 10; round++)
	{
		s.result = 0;
		stk_run(stk_threads_as_pool(pool), work_on, &s, 2);
		assert_int_not_equal(s.result, 0);
	}
	pthread_barrier_destroy(&s.barrier);
	stk_threads_stop(pool);
}

static void
add_index(void *arg, size_t index, int thread)
{
	uint64_t *sums = arg;

	sums[16 * thread] += index + 1;
}

/* What a task wrote is there for the caller when the round is over, and for the next round. */
static void
rounds_follow_each_other(void **state)
{
	stk_threads_pool *pool;
	uint64_t sums[16 * 3] = {0};

	(void) state;
	assert_int_equal(stk_threads_start(3, &pool), STK_OK);
	for (uint64_t round = 1; round <= 2000; round++)
	{
		stk_run(stk_threads_as_pool(pool), add_index, sums, 10);
		assert_int_equal(sums[0] + sums[16] + sums[32], 55 * round);
	}
	stk_threads_stop(pool);
	stk_threads_stop(NULL);
	/* A pool that never had any work ends as well. */
	for (int i = 0; i < 50; i++)
	{
		assert_int_equal(stk_threads_start(1 + i % 4, &pool), STK_OK);
		stk_threads_stop(pool);
	}
}

/* Wait until every thread of the pool has come here, so that each runs one task. */
typedef struct meeting
{
	pthread_barrier_t barrier;
	void (*check)(int thread, atomic_int *wrong);
	atomic_int wrong;
} meeting;

static void
meet(void *arg, size_t index, int thread)
{
	meeting *m = arg;

	(void) index;
	m->check(thread, &m->wrong);
	pthread_barrier_wait(&m->barrier);
}

/* Run check once in each of the pool's threads, through core or straight; how many went wrong. */
static int
in_each_thread(const stk_pool *pool, bool through_core, void (*check)(int, atomic_int *))
{
	meeting m = {.check = check};

	pthread_barrier_init(&m.barrier, NULL, (unsigned) pool->threads);
	if (through_core)
		stk_run(pool, meet, &m, (size_t) pool->threads);
	else
		pool->run(pool->ctx, meet, &m, (size_t) pool->threads);
	pthread_barrier_destroy(&m.barrier);
	return atomic_load(&m.wrong);
}

static void
signals_are_blocked(int thread, atomic_int *wrong)
{
	static const int some[] = {SIGINT,  SIGTERM, SIGHUP,  SIGALRM,
							   SIGUSR1, SIGUSR2, SIGCHLD, SIGQUIT};
	sigset_t set;

	pthread_sigmask(SIG_BLOCK, NULL, &set);
	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
	{
		/* The caller's are as the caller has them. */
		if (sigismember(&set, some[i]) != (thread != 0 || some[i] == SIGUSR2))
			atomic_fetch_add(wrong, 1);
	}
}

static void
signals_stay_with_the_caller(void **state)
{
	stk_threads_pool *pool;
	sigset_t mine, before, after;

	(void) state;
	sigemptyset(&mine);
	sigaddset(&mine, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &mine, &before);
	assert_int_equal(stk_threads_start(3, &pool), STK_OK);
	assert_int_equal(in_each_thread(stk_threads_as_pool(pool), true, signals_are_blocked), 0);
	stk_threads_stop(pool);
	pthread_sigmask(SIG_SETMASK, &before, &after);
	assert_int_equal(sigismember(&after, SIGUSR2), 1);
	assert_int_equal(sigismember(&after, SIGINT), 0);
}

/* Threads whose stacks find no room: no pool, no thread left, signals as they were. */
static void
a_start_that_fails(void **state)
{
	stk_threads_pool *pool = (void *) &pool;
	pthread_attr_t usual, vast;
	sigset_t set;

	(void) state;
	pthread_getattr_default_np(&usual);
	pthread_getattr_default_np(&vast);
	assert_int_equal(pthread_attr_setstacksize(&vast, (size_t) 1 << 50), 0);
	assert_int_equal(pthread_setattr_default_np(&vast), 0);
	assert_int_equal(stk_threads_start(3, &pool), STK_ENOMEM);
	assert_null(pool);
	pthread_setattr_default_np(&usual);
	pthread_attr_destroy(&usual);
	pthread_attr_destroy(&vast);
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	assert_int_equal(sigismember(&set, SIGTERM), 0);
	assert_int_equal(stk_threads_start(3, &pool), STK_OK);
	stk_threads_stop(pool);
}

static void
spoil(int thread, atomic_int *wrong)
{
	(void) thread;
	(void) wrong;
	foreign_fpenv_enter();
}

static void
is_ours(int thread, atomic_int *wrong)
{
	volatile float small = 0x1p-149f, one = 1, third = 3;

	(void) thread;
	if (small * one == 0 || one / third != 0x1.555556p-2f || foreign_fpenv_is_set())
		atomic_fetch_add(wrong, 1);
}

static void
is_theirs(int thread, atomic_int *wrong)
{
	(void) thread;
	if (!foreign_fpenv_is_set())
		atomic_fetch_add(wrong, 1);
}

static void
mend(int thread, atomic_int *wrong)
{
	(void) thread;
	(void) wrong;
	foreign_fpenv_leave();
}

/* Whatever the threads' environments: tasks compute in core's, and leave the thread's behind. */
static void
floating_point_environment(void **state)
{
	stk_threads_pool *pool;

	(void) state;
	assert_int_equal(stk_threads_start(3, &pool), STK_OK);
	assert_int_equal(in_each_thread(stk_threads_as_pool(pool), false, spoil), 0);
	assert_int_equal(in_each_thread(stk_threads_as_pool(pool), false, is_theirs), 0);
	assert_int_equal(in_each_thread(stk_threads_as_pool(pool), true, is_ours), 0);
	assert_int_equal(in_each_thread(stk_threads_as_pool(pool), false, is_theirs), 0);
	assert_int_equal(in_each_thread(stk_threads_as_pool(pool), false, mend), 0);
	stk_threads_stop(pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_task_once),           cmocka_unit_test(the_caller_waits),
		cmocka_unit_test(rounds_follow_each_other), cmocka_unit_test(signals_stay_with_the_caller),
		cmocka_unit_test(a_start_that_fails),       cmocka_unit_test(floating_point_environment),
	};

	return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
