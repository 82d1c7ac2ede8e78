/* queue: sessions take turns, each with its jobs in order, whatever is taken out in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rows.h"
#include "worker/queue.h"

#define SEATS 4
#define JOBS 8

/* Jobs of sessions 0, 1, ...; a job's levels tell its session, its rows its place there. */
typedef struct scene
{
	stk_queue q;
	stk_seat seats[SEATS];
	stk_job jobs[SEATS][JOBS];
} scene;

static void
add(scene *s, int session, int n)
{
	s->jobs[session][n].encode.levels = session;
	s->jobs[session][n].encode.n = (uint32_t) n;
	stk_queue_add(&s->q, &s->seats[session], &s->jobs[session][n]);
}

static void
assert_job(const stk_job *job, int session, int n)
{
	assert_non_null(job);
	assert_int_equal(job->encode.levels, session);
	assert_int_equal(job->encode.n, n);
}

static void
sessions_take_turns(void **state)
{
	scene s = {0};
	stk_job *job;

	(void) state;
	assert_null(stk_queue_peek(&s.q));
	assert_null(stk_queue_take(&s.q));
	/* One that asks for much before the others come. */
	for (int n = 0; n < JOBS; n++)
		add(&s, 0, n);
	add(&s, 1, 0);
	add(&s, 2, 0);
	add(&s, 1, 1);
	assert_int_equal(s.q.jobs, JOBS + 3);
	assert_job(stk_queue_peek(&s.q), 0, 0);
	assert_job(stk_queue_take(&s.q), 0, 0);
	assert_job(stk_queue_take(&s.q), 1, 0);
	assert_job(stk_queue_take(&s.q), 2, 0);
	job = stk_queue_take(&s.q);
	assert_job(job, 0, 1);
	/* What could not be begun is next again. */
	stk_queue_put_back(&s.q, &s.seats[0], job);
	assert_job(stk_queue_take(&s.q), 0, 1);
	assert_job(stk_queue_take(&s.q), 1, 1);
	/* One who had nothing left comes last. */
	add(&s, 2, 1);
	assert_job(stk_queue_take(&s.q), 0, 2);
	job = stk_queue_take(&s.q);
	assert_job(job, 2, 1);
	stk_queue_put_back(&s.q, &s.seats[2], job);
	assert_job(stk_queue_take(&s.q), 2, 1);
	for (int n = 3; n < JOBS; n++)
		assert_job(stk_queue_take(&s.q), 0, n);
	assert_null(stk_queue_peek(&s.q));
	assert_int_equal(s.q.jobs, 0);
}

static bool
has_number(const void *ctx, const stk_job *job)
{
	return job->encode.n == *(const uint32_t *) ctx;
}

/* Only the first of a session can be gathered, and it takes the session's turn. */
static void
likes_are_taken_in_turn(void **state)
{
	scene s = {0};
	uint32_t zero = 0, one = 1;

	(void) state;
	assert_null(stk_queue_take_like(&s.q, has_number, &zero));
	for (int session = 0; session < 3; session++)
		for (int n = 0; n < 2; n++)
			add(&s, session, n);
	assert_null(stk_queue_take_like(&s.q, has_number, &one));
	assert_job(stk_queue_take(&s.q), 0, 0);
	assert_job(stk_queue_take_like(&s.q, has_number, &zero), 1, 0);
	assert_job(stk_queue_take_like(&s.q, has_number, &one), 0, 1);
	assert_job(stk_queue_take(&s.q), 2, 0);
	assert_job(stk_queue_take(&s.q), 1, 1);
	assert_job(stk_queue_take(&s.q), 2, 1);
	assert_null(stk_queue_take(&s.q));
}

/* Jobs come and go at random: nothing is lost, and each session's stay in order. */
static void
any_order(void **state)
{
	uint64_t seed = 1;

	(void) state;
	for (size_t round = 0; round < unit_size(2000, 500, 100); round++)
	{
		scene s = {0};
		bool gone[SEATS][JOBS] = {{false}};
		int next[SEATS] = {0}, added[SEATS] = {0};
		size_t left = 0;

		for (int step = 0; step < 60; step++)
		{
			int session = (int) (next_bits(&seed) % SEATS);
			uint64_t what = next_bits(&seed) % 4;

			if (what < 2 && added[session] < JOBS)
			{
				add(&s, session, added[session]++);
				left++;
			}
			else if (what == 2 && added[session] > next[session])
			{
				int n = next[session] +
						(int) (next_bits(&seed) % (uint64_t) (added[session] - next[session]));

				if (!gone[session][n])
				{
					stk_queue_remove(&s.q, &s.seats[session], &s.jobs[session][n]);
					gone[session][n] = true;
					left--;
				}
			}
			else if (what == 3 && left > 0)
			{
				const stk_job *job = stk_queue_take(&s.q);

				session = job->encode.levels;
				while (gone[session][next[session]])
					next[session]++;
				assert_job(job, session, next[session]);
				gone[session][next[session]] = true;
				left--;
			}
			for (int i = 0; i < SEATS; i++)
				while (next[i] < added[i] && gone[i][next[i]])
					next[i]++;
			assert_int_equal(s.q.jobs, left);
			assert_int_equal(stk_queue_peek(&s.q) != NULL, left > 0);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sessions_take_turns),
		cmocka_unit_test(likes_are_taken_in_turn),
		cmocka_unit_test(any_order),
	};

	return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
