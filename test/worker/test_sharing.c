/*
 * Many clients of one semtokd: their requests are gathered, nobody waits for another's long work,
 * and what a client leaves behind when it goes is dropped.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "driver.h"
#include "training.h"

#define CLIENTS 12

/* Wait until the daemon's statistics say what the test waits for. */
static stk_statistics
wait_for(client *c, bool (*is_so)(const stk_statistics *s))
{
	stk_statistics s = statistics(c);
	time_t until = time(NULL) + PATIENCE_MS / 1000;

	while (!is_so(&s) && time(NULL) < until)
	{
		struct timespec ms = {.tv_nsec = 1000000};

		nanosleep(&ms, NULL);
		s = statistics(c);
	}
	assert_true(is_so(&s));
	return s;
}

static bool
nothing_is_done(const stk_statistics *s)
{
	return s->running == 0 && s->queued == 0;
}

/* As much as can run at a time: four trainings, and two large encodings. */
static bool
all_is_running(const stk_statistics *s)
{
	return s->running == 6;
}

static bool
something_runs(const stk_statistics *s)
{
	return s->running > 0;
}

static bool
one_client(const stk_statistics *s)
{
	return s->clients == 1;
}

/*
 * Requests for one codebook that wait together are computed together, each with its own answer; one
 * that fails does so alone.
 */
static void
requests_are_gathered(void **state)
{
	static const char *const more[] = {"--threads",       "2",           "--memory",
									   "268435456",       "--batch-max", "12",
									   "--batch-wait-us", "60000000",    NULL};
	daemon_process d;
	client clients[CLIENTS];
	encoding e[CLIENTS];
	book b;
	stk_statistics s;

	(void) state;
	start_with(&d, true, more);
	book_make(&b, 3, 64, 16, 1);
	for (int i = 0; i < CLIENTS; i++)
		join(&d, &clients[i]);
	load(&clients[0], &b);

	uint32_t half_ms = 4 + (uint32_t) (clients[0].rate * 5e-4 / (3 * 64 * 16));

	for (int i = 0; i < CLIENTS; i++)
	{
		/*
		 * Too much for the loop to do at once, little enough to be gathered; of different lengths.
		 */
		encoding_make(&e[i], &b, half_ms + (uint32_t) i, 1, (uint64_t) i);
		if (i == 5)
		{
			e[i].x[3 * 16 + 3] = NAN;
			if (e[i].file >= 0)
				put(e[i].file, 0, e[i].x, e[i].n * 16 * sizeof(float));
		}
		send_encode(&clients[i], &e[i]);
	}
	/* They wait for the twelfth, not for the minute. */
	for (int i = 0; i < CLIENTS; i++)
	{
		if (i == 5)
		{
			stk_failed f = expect_failure(&clients[i], e[i].request, STK_FAILED_COMPUTATION);

			assert_int_equal(f.row, 3);
		}
		else
			expect_codes(&clients[i], &e[i]);
	}
	s = statistics(&d.zero);
	assert_int_equal(s.batches, 1);
	assert_int_equal(s.requests, CLIENTS + 1);
	assert_int_equal(s.failures, 1);
	for (int i = 0; i < CLIENTS; i++)
	{
		encoding_free(&e[i]);
		leave(&clients[i]);
	}
	book_free(&b);
	stop(&d);
}

/* No more than batch_max are gathered, whatever it was set to since. */
static void
launches_have_a_limit(void **state)
{
	static const char *const more[] = {"--threads",       "2",           "--memory",
									   "268435456",       "--batch-max", "4",
									   "--batch-wait-us", "0",           NULL};
	daemon_process d;
	client clients[CLIENTS];
	encoding e[CLIENTS];
	book b;

	(void) state;
	start_with(&d, true, more);
	book_make(&b, 3, 512, 64, 1);
	for (int i = 0; i < CLIENTS; i++)
	{
		join(&d, &clients[i]);
		encoding_make(&e[i], &b, 200, 2, (uint64_t) i);
	}
	load(&clients[0], &b);
	for (int round = 0; round < 2; round++)
	{
		uint64_t before = statistics(&d.zero).batches;

		hold(&d);
		for (int i = 0; i < CLIENTS; i++)
			send_encode(&clients[i], &e[i]);
		go_on(&d);
		for (int i = 0; i < CLIENTS; i++)
			expect_codes(&clients[i], &e[i]);
		assert_int_equal(statistics(&d.zero).batches - before, round == 0 ? 3 : 1);
		configure(&d, (stk_configure){2, 1 << 28, CLIENTS, 0});
	}
	for (int i = 0; i < CLIENTS; i++)
	{
		encoding_free(&e[i]);
		leave(&clients[i]);
	}
	book_free(&b);
	stop(&d);
}

/* Waiting for more ends after batch_wait_us, and other codebooks and beams are not mixed. */
static void
unlike_requests_are_not_gathered(void **state)
{
	static const char *const more[] = {"--threads",       "2",           "--memory",
									   "268435456",       "--batch-max", "64",
									   "--batch-wait-us", "20000",       NULL};
	daemon_process d;
	client clients[CLIENTS];
	encoding e[CLIENTS];
	book b[2];

	(void) state;
	start_with(&d, true, more);
	for (int i = 0; i < 2; i++)
		book_make(&b[i], 3, 512, 64, (uint64_t) i + 1);
	for (int i = 0; i < CLIENTS; i++)
	{
		join(&d, &clients[i]);
		load(&clients[i], &b[i % 2]);
		encoding_make(&e[i], &b[i % 2], 250, 1 + i % 3, (uint64_t) i);
	}
	for (int i = 0; i < CLIENTS; i++)
		send_encode(&clients[i], &e[i]);
	for (int i = 0; i < CLIENTS; i++)
		expect_codes(&clients[i], &e[i]);
	assert_true(statistics(&d.zero).batches >= 6);
	for (int i = 0; i < CLIENTS; i++)
	{
		encoding_free(&e[i]);
		leave(&clients[i]);
	}
	for (int i = 0; i < 2; i++)
		book_free(&b[i]);
	stop(&d);
}

/* Trainings and large requests of some do not keep others' from being answered before they end. */
static void
long_work_does_not_delay_others(void **state)
{
	daemon_process d;
	client busy[6], bulk, quick;
	training t[6];
	book b;
	encoding large[4];

	(void) state;
	start(&d, true);
	book_make(&b, 3, 64, 32, 1);
	for (int i = 0; i < 6; i++)
	{
		join(&d, &busy[i]);
		training_make(&t[i], TRAINING_LONG);
		send_train(&busy[i], &t[i]);
	}
	/* Four of them run; all of one client's window is taken by more. */
	expect(&busy[0], STK_MSG_PROGRESS, t[0].request);
	join(&d, &bulk);
	load(&bulk, &b);
	for (int i = 0; i < 4; i++)
	{
		encoding_fill(&large[i], &b, 50000, 5, (uint64_t) i);
		send_encode(&bulk, &large[i]);
	}
	join(&d, &quick);
	for (uint32_t n = 1; n <= 1000; n *= 10)
	{
		encoding e;

		encoding_make(&e, &b, n, 1, n);
		encode(&quick, &e);
		encoding_free(&e);
		assert_int_equal(ping(&quick).state, STK_WORK_NONE);
	}
	for (int i = 0; i < 4; i++)
		encoding_free(&large[i]);
	leave(&bulk);
	/* Nobody has been answered who asked for a training. */
	assert_int_equal(statistics(&d.zero).failures, 0);
	assert_true(statistics(&d.zero).running >= 4);
	for (int i = 0; i < 6; i++)
	{
		leave(&busy[i]);
		training_free(&t[i]);
	}
	leave(&quick);
	book_free(&b);
	stop(&d);
}

/* A client that goes takes along what it asked for, running and waiting, files and memory too. */
static void
work_of_those_who_go_is_dropped(void **state)
{
	daemon_process d;
	client first;
	encoding warm, e;
	training t;
	book b;
	int before;
	uint64_t used;

	(void) state;
	start(&d, true);
	join(&d, &first);
	book_make(&b, 3, 64, 32, 1);
	load(&first, &b);
	/* What a beam needs stays with the codebook, and is no leak. */
	encoding_make(&warm, &b, 100, 5, 1);
	encode(&first, &warm);
	encoding_free(&warm);
	wait_for(&d.zero, nothing_is_done);
	before = descriptors(&d);
	used = statistics(&d.zero).memory_used;
	training_make(&t, TRAINING_LONG);
	encoding_fill(&e, &b, 200000, 5, 1);
	for (int round = 0; round < 5; round++)
	{
		client c[6];

		for (int i = 0; i < 6; i++)
		{
			join(&d, &c[i]);
			for (int j = 0; j < 3; j++)
				send_train(&c[i], &t);
			for (int j = 0; j < 3; j++)
				send_encode(&c[i], &e);
			send_load(&c[i], &b);
		}
		wait_for(&d.zero, all_is_running);
		for (int i = 0; i < 6; i++)
			leave(&c[i]);
		wait_for(&d.zero, one_client);
		wait_for(&d.zero, nothing_is_done);
		assert_int_equal(descriptors(&d), before);
		assert_int_equal(statistics(&d.zero).memory_used, used);
	}
	training_free(&t);
	encoding_free(&e);
	leave(&first);
	book_free(&b);
	stop(&d);
}

/* A client may send more than its window; it is answered, in time, and pings are until then. */
static void
more_than_the_window(void **state)
{
	daemon_process d;
	client c, other;
	book b;
	encoding e[40];
	bool answered[40] = {false};
	training t;

	(void) state;
	start(&d, true);
	join(&d, &c);
	book_make(&b, 3, 64, 32, 1);
	load(&c, &b);
	for (int i = 0; i < 40; i++)
	{
		encoding_make(&e[i], &b, 3000, 1, (uint64_t) i);
		send_encode(&c, &e[i]);
	}
	for (int i = 0; i < 40; i++)
	{
		int j = 0;

		assert_true(receive(&c));
		assert_int_equal(c.header.kind, STK_MSG_CODES);
		while (j < 40 && e[j].request != c.header.request)
			j++;
		assert_true(j < 40 && !answered[j]);
		answered[j] = true;
		check_codes(&c, &e[j]);
	}
	/* A window full of what takes long: pings are answered, and the state of the oldest told. */
	training_make(&t, TRAINING_LONG);
	join(&d, &other);
	for (uint32_t i = 0; i < other.window; i++)
		send_train(&other, &t);
	for (int i = 0; i < 3; i++)
	{
		stk_pong pong;

		send_empty(&other, STK_MSG_PING);
		while (receive(&other) && other.header.kind == STK_MSG_PROGRESS)
			continue;
		assert_int_equal(other.header.kind, STK_MSG_PONG);
		assert_int_equal(stk_read_pong(other.body, other.header.bytes, &pong, NULL), STK_OK);
		assert_int_equal(pong.request, t.request - other.window + 1);
		assert_int_not_equal(pong.state, STK_WORK_NONE);
	}
	leave(&other);
	training_free(&t);
	for (int i = 0; i < 40; i++)
		encoding_free(&e[i]);
	leave(&c);
	book_free(&b);
	stop(&d);
}

/* Trainings that do not fit together take turns; one that would never fit is refused at once. */
static void
trainings_wait_for_memory(void **state)
{
	static const char *const more[] = {"--threads",       "2",           "--memory",
									   "16777216",        "--batch-max", "64",
									   "--batch-wait-us", "0",           NULL};
	daemon_process d;
	client c[3];
	training t[3];

	(void) state;
	start_with(&d, true, more);
	for (int i = 0; i < 3; i++)
	{
		join(&d, &c[i]);
		training_make(&t[i], TRAINING_LONG);
		send_train(&c[i], &t[i]);
	}
	/* One takes about 11 of the 14 MB that trainings may have. */
	for (int i = 0; i < 3; i++)
	{
		stk_statistics s;

		expect(&c[i], STK_MSG_PROGRESS, t[i].request);
		s = statistics(&d.zero);
		assert_int_equal(s.running, 1);
		assert_int_equal(s.queued, 2 - i);
		for (int j = i + 1; j < 3; j++)
			assert_int_equal(ping(&c[j]).state, STK_WORK_QUEUED);
		leave(&c[i]);
	}
	for (int i = 0; i < 3; i++)
		training_free(&t[i]);
	stop(&d);
}

/* Requests from a thread, which waits while nobody reads them. */
#define MANY 100

typedef struct sender
{
	client c;
	encoding *e;
} sender;

static void *
send_many(void *arg)
{
	sender *s = arg;

	for (int i = 0; i < MANY; i++)
		send_encode(&s->c, s->e);
	return NULL;
}

/*
 * Who does not read its answers holds up nobody else, and is not read either: what waits for it is
 * no more than the sockets and a window of answers. It loses none.
 */
static void
answers_wait_for_their_reader(void **state)
{
	daemon_process d;
	sender lazy;
	client quick;
	pthread_t thread;
	book b;
	encoding e;

	(void) state;
	start(&d, true);
	join(&d, &lazy.c);
	book_make(&b, 8, 64, 4, 1);
	load(&lazy.c, &b);
	/* Answers of 64 kB, as large as there are without a file. */
	encoding_make(&e, &b, 4096, 1, 1);
	assert_int_equal(e.n * 8 * sizeof(uint16_t), STK_INLINE_MAX);
	lazy.e = &e;
	lazy.c.last = 2;
	assert_int_equal(pthread_create(&thread, NULL, send_many, &lazy), 0);
	join(&d, &quick);
	for (int i = 0; i < MANY; i++)
	{
		encoding again = e;

		encode(&quick, &again);
	}
	wait_for(&d.zero, nothing_is_done);
	/* The load, the quick one's, and what the sockets took. */
	assert_in_range(statistics(&d.zero).requests, 1 + MANY, 1 + MANY + 40);
	for (int i = 0; i < MANY; i++)
	{
		assert_true(receive(&lazy.c));
		assert_int_equal(lazy.c.header.kind, STK_MSG_CODES);
		check_codes(&lazy.c, &e);
	}
	pthread_join(thread, NULL);
	assert_int_equal(statistics(&d.zero).requests, 1 + 2 * MANY);
	encoding_free(&e);
	leave(&lazy.c);
	leave(&quick);
	book_free(&b);
	stop(&d);
}

/* A training waits while its reports are not read, and goes on to its end when they are. */
static void
reports_wait_for_their_reader(void **state)
{
	daemon_process d;
	client lazy, other;
	training t[2];
	int heard = 0;

	(void) state;
	start(&d, true);
	join(&d, &lazy);
	join(&d, &other);
	for (int i = 0; i < 2; i++)
	{
		training_make(&t[i], TRAINING_BATCHES);
		t[i].plan.epochs = (int) unit_size(400, 300, 200);
	}
	send_train(&lazy, &t[0]);
	/* Another client's comes to its end twice in the time that this one would take. */
	for (int i = 0; i < 2; i++)
	{
		send_train(&other, &t[1]);
		do
			assert_true(receive(&other));
		while (other.header.kind == STK_MSG_PROGRESS);
		assert_int_equal(other.header.kind, STK_MSG_TRAINED);
	}
	assert_int_equal(statistics(&d.zero).running, 1);
	assert_int_equal(statistics(&d.zero).rows, 2 * t[1].n);
	while (receive(&lazy) && lazy.header.kind == STK_MSG_PROGRESS)
		heard++;
	assert_int_equal(lazy.header.kind, STK_MSG_TRAINED);
	assert_int_equal(heard, 3 * t[0].plan.epochs);
	/* And one that waits so goes with its client. */
	send_train(&lazy, &t[0]);
	wait_for(&d.zero, something_runs);
	leave(&lazy);
	wait_for(&d.zero, nothing_is_done);
	for (int i = 0; i < 2; i++)
		training_free(&t[i]);
	leave(&other);
	stop(&d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(requests_are_gathered),
									   cmocka_unit_test(launches_have_a_limit),
									   cmocka_unit_test(unlike_requests_are_not_gathered),
									   cmocka_unit_test(long_work_does_not_delay_others),

									   cmocka_unit_test(work_of_those_who_go_is_dropped),
									   cmocka_unit_test(more_than_the_window),
									   cmocka_unit_test(trainings_wait_for_memory),
									   cmocka_unit_test(answers_wait_for_their_reader),
									   cmocka_unit_test(reports_wait_for_their_reader)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
