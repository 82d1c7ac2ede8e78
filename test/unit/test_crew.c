/*
 * The crew of threads: each task once, never two at a time under one number, no more than its
 * threads; turns and urgency; signals; what is left when it cannot start; and core's floating-point
 * environment in threads that have another.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#include "core/fpenv.h"
#include "engine/crew.h"
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
		stk_crew *crew;

		assert_int_equal(stk_crew_start(threads, &crew), STK_OK);
		assert_int_equal(stk_threads(stk_crew_pool(crew, STK_BACKGROUND)), threads);
		assert_int_equal(stk_crew_threads(crew), threads);
		/* One crew serves many rounds. */
		for (int round = 0; round < 30; round++)
		{
			size_t n = tasks[(size_t) round % (sizeof(tasks) / sizeof(tasks[0]))];

			memset(t, 0, sizeof(*t));
			t->threads = threads;
			t->n = n;
			pthread_barrier_init(&t->barrier, NULL, (unsigned) threads);
			stk_run(stk_crew_pool(crew, STK_BACKGROUND), count, t, n);
			pthread_barrier_destroy(&t->barrier);
			assert_int_equal(atomic_load(&t->wrong), 0);
			for (size_t i = 0; i < MAX_TASKS; i++)
				assert_int_equal(atomic_load(&t->calls[i]), i < n);
		}
		stk_crew_stop(crew);
	}
	memset(t, 0, sizeof(*t));
	t->threads = 1;
	stk_run(NULL, count, t, 5);
	for (size_t i = 0; i < MAX_TASKS; i++)
		assert_int_equal(atomic_load(&t->calls[i]), i < 5);
	free(t);
}

typedef struct slow_task
{
	pthread_barrier_t barrier;
	pthread_t caller;
	uint64_t result; /* of the other thread's long work */
} slow_task;

static void
work_on(void *arg, size_t index, int thread)
{
	slow_task *s = arg;
	volatile uint64_t bits = index;

	(void) thread;
	pthread_barrier_wait(&s->barrier);
	if (pthread_equal(pthread_self(), s->caller))
		return;
	for (int i = 0; i < 1000000; i++)
		bits = bits * 3 + 1;
	s->result = bits;
}

/* The caller, who takes part when nobody else is to come first, has done its share long before. */
static void
the_caller_waits(void **state)
{
	slow_task s = {.caller = pthread_self()};
	stk_crew *crew;

	(void) state;
	assert_int_equal(stk_crew_start(2, &crew), STK_OK);
	pthread_barrier_init(&s.barrier, NULL, 2);
	for (int round = 0; round < 10; round++)
	{
		s.result = 0;
		stk_run(stk_crew_pool(crew, STK_BACKGROUND), work_on, &s, 2);
		assert_int_not_equal(s.result, 0);
	}
	pthread_barrier_destroy(&s.barrier);
	stk_crew_stop(crew);
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
	stk_crew *crew;
	uint64_t sums[16 * 3] = {0};

	(void) state;
	assert_int_equal(stk_crew_start(3, &crew), STK_OK);
	for (uint64_t round = 1; round <= 2000; round++)
	{
		stk_run(stk_crew_pool(crew, STK_BACKGROUND), add_index, sums, 10);
		assert_int_equal(sums[0] + sums[16] + sums[32], 55 * round);
	}
	stk_crew_stop(crew);
	stk_crew_stop(NULL);
	/* A crew that never had any work ends as well. */
	for (int i = 0; i < 50; i++)
	{
		assert_int_equal(stk_crew_start(1 + i % 4, &crew), STK_OK);
		stk_crew_stop(crew);
	}
}

/* Wait until as many tasks run as can, so that each has a thread of its own. */
typedef struct meeting
{
	pthread_barrier_t barrier;
	pthread_t caller;
	void (*check)(bool is_caller, atomic_int *wrong);
	atomic_int wrong;
} meeting;

static void
meet(void *arg, size_t index, int thread)
{
	meeting *m = arg;

	(void) index;
	(void) thread;
	m->check(pthread_equal(pthread_self(), m->caller) != 0, &m->wrong);
	pthread_barrier_wait(&m->barrier);
}

/* Run check in as many threads as the pool has, through core or straight; how many went wrong. */
static int
in_threads(const stk_pool *pool, bool through_core, void (*check)(bool, atomic_int *))
{
	meeting m = {.check = check, .caller = pthread_self()};

	pthread_barrier_init(&m.barrier, NULL, (unsigned) pool->threads);
	if (through_core)
		stk_run(pool, meet, &m, (size_t) pool->threads);
	else
		pool->run(pool->ctx, meet, &m, (size_t) pool->threads);
	pthread_barrier_destroy(&m.barrier);
	return atomic_load(&m.wrong);
}

static void
signals_are_blocked(bool is_caller, atomic_int *wrong)
{
	static const int some[] = {SIGINT,  SIGTERM, SIGHUP,  SIGALRM,
							   SIGUSR1, SIGUSR2, SIGCHLD, SIGQUIT};
	sigset_t set;

	pthread_sigmask(SIG_BLOCK, NULL, &set);
	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
	{
		/* The caller's are as the caller has them. */
		if (sigismember(&set, some[i]) != (!is_caller || some[i] == SIGUSR2))
			atomic_fetch_add(wrong, 1);
	}
}

static void
signals_stay_with_the_caller(void **state)
{
	stk_crew *crew;
	sigset_t mine, before, after;

	(void) state;
	sigemptyset(&mine);
	sigaddset(&mine, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &mine, &before);
	assert_int_equal(stk_crew_start(3, &crew), STK_OK);
	assert_int_equal(in_threads(stk_crew_pool(crew, STK_BACKGROUND), true, signals_are_blocked), 0);
	stk_crew_stop(crew);
	pthread_sigmask(SIG_SETMASK, &before, &after);
	assert_int_equal(sigismember(&after, SIGUSR2), 1);
	assert_int_equal(sigismember(&after, SIGINT), 0);
}

/* Threads whose stacks find no room: no pool, no thread left, signals as they were. */
static void
a_start_that_fails(void **state)
{
	stk_crew *crew = (void *) &crew;
	pthread_attr_t usual, vast;
	sigset_t set;

	(void) state;
	pthread_getattr_default_np(&usual);
	pthread_getattr_default_np(&vast);
	assert_int_equal(pthread_attr_setstacksize(&vast, (size_t) 1 << 50), 0);
	assert_int_equal(pthread_setattr_default_np(&vast), 0);
	assert_int_equal(stk_crew_start(3, &crew), STK_ENOMEM);
	assert_null(crew);
	pthread_setattr_default_np(&usual);
	pthread_attr_destroy(&usual);
	pthread_attr_destroy(&vast);
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	assert_int_equal(sigismember(&set, SIGTERM), 0);
	assert_int_equal(stk_crew_start(3, &crew), STK_OK);
	stk_crew_stop(crew);
}

static void
is_ours(bool is_caller, atomic_int *wrong)
{
	volatile float small = 0x1p-149f, one = 1, third = 3;

	(void) is_caller;
	if (small * one == 0 || one / third != 0x1.555556p-2f || foreign_fpenv_is_set())
		atomic_fetch_add(wrong, 1);
}

static void
is_theirs(bool is_caller, atomic_int *wrong)
{
	(void) is_caller;
	if (!foreign_fpenv_is_set())
		atomic_fetch_add(wrong, 1);
}

/* Whatever the threads' environments: tasks compute in core's, and leave the thread's behind. */
static void
floating_point_environment(void **state)
{
	stk_crew *crew;

	(void) state;
	/* A new thread has its creator's. */
	foreign_fpenv_enter();
	assert_int_equal(stk_crew_start(3, &crew), STK_OK);
	for (int round = 0; round < 20; round++)
	{
		const stk_pool *pool = stk_crew_pool(crew, (stk_urgency) (round % 2));

		assert_int_equal(in_threads(pool, false, is_theirs), 0);
		assert_int_equal(in_threads(pool, true, is_ours), 0);
		assert_int_equal(in_threads(pool, false, is_theirs), 0);
	}
	foreign_fpenv_leave();
	stk_crew_stop(crew);
}

/* Many computations at once: what each of their runs found. */
typedef struct crowd
{
	stk_crew *crew;
	atomic_int running; /* tasks of all */
	atomic_int most;
	atomic_int wrong;
} crowd;

typedef struct computation
{
	crowd *all;
	pthread_t thread;
	uint64_t seed;
	stk_urgency urgency;
	int runs;
	size_t tasks; /* of a run, at most */
	atomic_int mine[MAX_THREADS];
	uint64_t sums[16 * MAX_THREADS];
} computation;

static void
add_up(void *arg, size_t index, int thread)
{
	computation *c = arg;
	int running = atomic_fetch_add(&c->all->running, 1) + 1;
	int most = atomic_load(&c->all->most);

	while (running > most && !atomic_compare_exchange_weak(&c->all->most, &most, running))
		;
	if (thread < 0 || thread >= stk_crew_threads(c->all->crew) ||
		atomic_fetch_add(&c->mine[thread], 1) != 0)
		atomic_fetch_add(&c->all->wrong, 1);
	/* Not atomic: the thread sanitizer sees two tasks of one number at once. */
	c->sums[16 * thread] += index + 1;
	atomic_fetch_sub(&c->mine[thread], 1);
	atomic_fetch_sub(&c->all->running, 1);
}

static void *
compute(void *arg)
{
	computation *c = arg;
	const stk_pool *pool = stk_crew_pool(c->all->crew, c->urgency);

	for (int i = 0; i < c->runs; i++)
	{
		size_t n = next_bits(&c->seed) % (c->tasks + 1);
		uint64_t sum = 0;

		memset(c->sums, 0, sizeof(c->sums));
		stk_run(pool, add_up, c, n);
		for (int t = 0; t < MAX_THREADS; t++)
			sum += c->sums[16 * t];
		if (sum != n * (n + 1) / 2)
			atomic_fetch_add(&c->all->wrong, 1);
	}
	return NULL;
}

static void
many_computations_at_once(void **state)
{
	enum
	{
		COMPUTATIONS = 12
	};
	computation *all = calloc(COMPUTATIONS, sizeof(computation));

	(void) state;
	for (int threads = 1; threads <= MAX_THREADS; threads++)
	{
		crowd together = {.crew = NULL};

		assert_int_equal(stk_crew_start(threads, &together.crew), STK_OK);
		for (int i = 0; i < COMPUTATIONS; i++)
		{
			computation *c = &all[i];

			memset(c, 0, sizeof(*c));
			c->all = &together;
			c->seed = (uint64_t) (100 * threads + i);
			c->urgency = (stk_urgency) (i % 2);
			c->runs = (int) unit_size(400, 100, 30);
			c->tasks = i % 3 == 0 ? 2 : 40;
			assert_int_equal(pthread_create(&c->thread, NULL, compute, c), 0);
		}
		for (int i = 0; i < COMPUTATIONS; i++)
			pthread_join(all[i].thread, NULL);
		stk_crew_stop(together.crew);
		assert_int_equal(atomic_load(&together.wrong), 0);
		assert_true(atomic_load(&together.most) <= threads);
	}
	free(all);
}

/*
 * Tasks in the order in which they began. A thread may be kept from recording the task that it took
 * while the others go on; so what is said of n tasks holds up to the one of number
 * n - (threads - 1) in the record: when it was recorded not all the others were kept.
 */
#define MAX_BEGUN 200000

typedef struct record
{
	atomic_size_t begun;
	atomic_size_t trained; /* of them those of the background */
	_Atomic uint8_t who[MAX_BEGUN];
	atomic_bool enough;
	int work; /* of a task */
} record;

typedef struct recorded
{
	record *r;
	stk_crew *crew;
	pthread_t thread;
	uint8_t who;
	stk_urgency urgency;
	size_t n;
	bool forever; /* run after run, until there is enough */
} recorded;

static void
record_task(void *arg, size_t index, int thread)
{
	const recorded *d = arg;
	size_t at = atomic_fetch_add(&d->r->begun, 1);
	volatile uint64_t bits = index;

	(void) thread;
	if (d->urgency == STK_BACKGROUND)
		atomic_fetch_add(&d->r->trained, 1);
	if (at < MAX_BEGUN)
		d->r->who[at] = d->who;
	else
		atomic_store(&d->r->enough, true);
	for (int i = 0; i < d->r->work; i++)
		bits = bits * 3 + 1;
}

static void *
run_recorded(void *arg)
{
	recorded *d = arg;

	do
		stk_run(stk_crew_pool(d->crew, d->urgency), record_task, d, d->n);
	while (d->forever && !atomic_load(&d->r->enough));
	return NULL;
}

static void
begin_recorded(recorded *d, int count)
{
	for (int i = 0; i < count; i++)
		assert_int_equal(pthread_create(&d[i].thread, NULL, run_recorded, &d[i]), 0);
}

static void
end_recorded(recorded *d, int count)
{
	for (int i = 0; i < count; i++)
		pthread_join(d[i].thread, NULL);
}

static size_t
recorded_so_far(const record *r)
{
	size_t begun = atomic_load(&r->begun);

	return begun < MAX_BEGUN ? begun : MAX_BEGUN;
}

/* Where the nth (from 1) of who's tasks is among those begun from `from` on. */
static size_t
find(const record *r, size_t from, uint8_t who, size_t n)
{
	size_t to = recorded_so_far(r);

	for (; from < to; from++)
	{
		if (r->who[from] == who && --n == 0)
			break;
	}
	return from;
}

/* How many of those begun from `from` to before `to` are who's. */
static size_t
count_begun(const record *r, size_t from, size_t to, uint8_t who)
{
	size_t count = 0;

	for (size_t i = from; i < to; i++)
		count += r->who[i] == who;
	return count;
}

/*
 * Trainings without end fill the crew. From its first task to its last an urgent computation meets
 * no more of theirs than were in flight and their share; and its first comes before the turns of
 * those that were there.
 */
static void
urgent_ones_come_first(void **state)
{
	enum
	{
		TRAININGS = 20,
		TASKS = 320
	};
	record *r = malloc(sizeof(record));

	(void) state;
	for (int threads = 1; threads <= 3; threads++)
	{
		recorded trainings[TRAININGS];
		recorded urgent = {r, NULL, pthread_self(), 'u', STK_URGENT, TASKS, false};
		size_t shortest = SIZE_MAX;

		memset(r, 0, sizeof(*r));
		r->work = 500;
		assert_int_equal(stk_crew_start(threads, &urgent.crew), STK_OK);
		for (int i = 0; i < TRAININGS; i++)
			trainings[i] =
				(recorded){r, urgent.crew, pthread_self(), 't', STK_BACKGROUND, 1000, true};
		begin_recorded(trainings, TRAININGS);
		for (int round = 0; round < 20; round++)
		{
			size_t trained = atomic_load(&r->trained);
			size_t entered, first, last;

			/* They are there, and their turns come. */
			while (atomic_load(&r->trained) < trained + 1000 && !atomic_load(&r->enough))
				sched_yield();
			entered = recorded_so_far(r);
			run_recorded(&urgent);
			if (atomic_load(&r->enough))
				break;
			first = find(r, entered, 'u', 1);
			last = find(r, entered, 'u', (size_t) (TASKS - (threads - 1)));
			assert_true(last < recorded_so_far(r));
			assert_true(count_begun(r, first, last, 't') <=
						(size_t) (threads + 1 + TASKS / (STK_CREW_SHARE - 1)));
			shortest = first - entered < shortest ? first - entered : shortest;
		}
		atomic_store(&r->enough, true);
		end_recorded(trainings, TRAININGS);
		stk_crew_stop(urgent.crew);
		/* Of many rounds, one at least was not kept from the crew for long. */
		assert_true(shortest <= (size_t) threads || shortest == SIZE_MAX);
	}
	free(r);
}

/* Urgent computations without end: a training still gets its share, and no more. */
static void
a_training_gets_on(void **state)
{
	record *r = malloc(sizeof(record));

	(void) state;
	for (int threads = 1; threads <= 3; threads++)
	{
		recorded urgent[6];
		recorded training = {r, NULL, pthread_self(), 't', STK_BACKGROUND, 100, false};
		size_t first, last, between;

		memset(r, 0, sizeof(*r));
		r->work = 500;
		assert_int_equal(stk_crew_start(threads, &training.crew), STK_OK);
		for (int i = 0; i < 6; i++)
			urgent[i] = (recorded){r, training.crew, pthread_self(), 'u', STK_URGENT, 50, true};
		begin_recorded(urgent, 6);
		while (atomic_load(&r->begun) < 100)
			sched_yield();
		run_recorded(&training);
		atomic_store(&r->enough, true);
		end_recorded(urgent, 6);
		stk_crew_stop(training.crew);
		assert_int_equal(atomic_load(&r->trained), 100);
		first = find(r, 0, 't', 1);
		last = find(r, 0, 't', (size_t) (100 - (threads - 1)));
		between = count_begun(r, first, last, 'u');
		assert_true(last < recorded_so_far(r));
		assert_true(between <= (size_t) (100 * (STK_CREW_SHARE - 1) + threads));
	}
	free(r);
}

/* Two trainings of equal length take turns: as soon as both are there neither gets ahead. */
static void
equals_take_turns(void **state)
{
	enum
	{
		TASKS = 20000
	};
	record *r = malloc(sizeof(record));
	bool together = false;

	(void) state;
	for (int round = 0; round < 12; round++)
	{
		int threads = 1 + round % 3;
		stk_urgency urgency = (stk_urgency) (round % 2);
		recorded both[2];
		stk_crew *crew;
		size_t recorded_of_all = (size_t) (TASKS - (threads - 1));
		size_t begun[2] = {0, 0};
		size_t from, to[2];

		memset(r, 0, sizeof(*r));
		r->work = 500;
		assert_int_equal(stk_crew_start(threads, &crew), STK_OK);
		for (int i = 0; i < 2; i++)
			both[i] =
				(recorded){r, crew, pthread_self(), (uint8_t) ('a' + i), urgency, TASKS, false};
		begin_recorded(both, 2);
		end_recorded(both, 2);
		stk_crew_stop(crew);
		assert_int_equal(atomic_load(&r->begun), 2 * TASKS);
		/* From the first task of the later one until one of them has none to begin. */
		from = find(r, 0, r->who[0] == 'a' ? 'b' : 'a', 1);
		for (int i = 0; i < 2; i++)
			to[i] = find(r, 0, both[i].who, recorded_of_all);
		for (size_t i = from; i < (to[0] < to[1] ? to[0] : to[1]); i++)
		{
			begun[r->who[i] - 'a']++;
			assert_true(begun[0] <= begun[1] + (size_t) (2 * threads + 1));
			assert_true(begun[1] <= begun[0] + (size_t) (2 * threads + 1));
		}
		together |= begun[0] > TASKS / 4 && begun[1] > TASKS / 4;
	}
	assert_true(together);
	free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_task_once),           cmocka_unit_test(the_caller_waits),
		cmocka_unit_test(rounds_follow_each_other), cmocka_unit_test(many_computations_at_once),
		cmocka_unit_test(urgent_ones_come_first),   cmocka_unit_test(a_training_gets_on),
		cmocka_unit_test(equals_take_turns),        cmocka_unit_test(signals_stay_with_the_caller),
		cmocka_unit_test(a_start_that_fails),       cmocka_unit_test(floating_point_environment),
	};

	return cmocka_run_group_tests_name("crew", tests, NULL, NULL);
}
