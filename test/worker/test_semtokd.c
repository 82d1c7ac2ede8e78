/*
 * semtokd answers every kind of request as core would, and every error by the right failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver.h"
#include "training.h"

/* Encoding without its codebook, with it, with a beam, and in every size of request and answer. */
static void
it_encodes(void **state)
{
	daemon_process d;
	book b;

	(void) state;
	start(&d, false);
	book_make(&b, 3, 64, 32, 1);
	for (int beam = 1; beam <= 3; beam += 2)
	{
		static const uint32_t sizes[] = {1, 7, 500, 30000};

		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		{
			encoding e;

			encoding_make(&e, &b, sizes[i], beam, i);
			send_encode(&d.zero, &e);
			if (beam == 1 && i == 0)
			{
				expect(&d.zero, STK_MSG_MISSING, e.request);
				load(&d.zero, &b);
				send_encode(&d.zero, &e);
			}
			expect_codes(&d.zero, &e);
			encoding_free(&e);
		}
	}
	book_free(&b);
	stop(&d);
}

/* A request that needs more memory at a time than a piece is done in pieces. */
static void
it_encodes_in_pieces(void **state)
{
	static const char *const more[] = {"--threads",       "2",           "--memory",
									   "16777216",        "--batch-max", "64",
									   "--batch-wait-us", "0",           NULL};
	daemon_process d;
	book b;
	encoding e;

	(void) state;
	start_with(&d, false, more);
	book_make(&b, 2, 16, 64, 1);
	load(&d.zero, &b);
	/* 1 MB is a piece: 16 of them, and one row beyond. */
	encoding_make(&e, &b, 65537, 1, 1);
	encode(&d.zero, &e);
	/* An error names the row of the request, whatever the piece. */
	float nan = NAN;

	put(e.file, 50000 * 64 * sizeof(float), &nan, sizeof(nan));
	send_encode(&d.zero, &e);

	stk_failed failed = expect_failure(&d.zero, e.request, STK_FAILED_COMPUTATION);

	assert_int_equal(failed.status, STK_EINVAL);
	assert_int_equal(failed.row, 50000);
	assert_string_equal(failed.message, "embedding holds NaN or infinity");
	encoding_free(&e);
	book_free(&b);
	stop(&d);
}

/* Several requests may be sent at once, a codebook's before those that need it. */
static void
requests_wait_for_their_codebook(void **state)
{
	daemon_process d;
	book b;
	encoding e[4];
	uint64_t loading;

	(void) state;
	start(&d, false);
	book_make(&b, 3, 256, 128, 1);
	loading = send_load(&d.zero, &b);
	for (int i = 0; i < 4; i++)
	{
		encoding_make(&e[i], &b, 3, 1 + i % 2, (uint64_t) i);
		send_encode(&d.zero, &e[i]);
	}
	/* No order among answers is promised. */
	for (int i = 0; i < 5; i++)
	{
		int j = 0;

		assert_true(receive(&d.zero));
		if (d.zero.header.request == loading)
		{
			assert_int_equal(d.zero.header.kind, STK_MSG_DONE);
			loading = 0;
			continue;
		}
		assert_int_equal(d.zero.header.kind, STK_MSG_CODES);
		while (j < 4 && e[j].request != d.zero.header.request)
			j++;
		assert_true(j < 4);
		check_codes(&d.zero, &e[j]);
		e[j].request = 0;
	}
	assert_int_equal(loading, 0);
	for (int i = 0; i < 4; i++)
		encoding_free(&e[i]);
	book_free(&b);
	stop(&d);
}

/* Both methods, with and without a file for the answer, refined, held out, and gone on with. */
static void
it_trains(void **state)
{
	daemon_process d;

	(void) state;
	start(&d, false);
	for (int i = 0; i < TRAININGS; i++)
	{
		training t;

		training_make(&t, i);
		send_train(&d.zero, &t);
		expect_trained(&d.zero, &t);
		training_free(&t);
	}
	stop(&d);
}

/* What core says of a request is what the failure says. */
static void
errors_of_computations(void **state)
{
	daemon_process d;
	book b;
	encoding e;
	training t;
	stk_failed failed;

	(void) state;
	start(&d, false);
	book_make(&b, 2, 16, 8, 1);
	load(&d.zero, &b);
	for (uint32_t n = 5; n <= 50000; n *= 10000)
	{
		encoding_make(&e, &b, n, 1, 1);
		e.x[3 * 8 + 7] = INFINITY;
		if (e.file >= 0)
			put(e.file, 0, e.x, n * 8 * sizeof(float));
		send_encode(&d.zero, &e);
		failed = expect_failure(&d.zero, e.request, STK_FAILED_COMPUTATION);
		assert_int_equal(failed.status, STK_EINVAL);
		assert_int_equal(failed.row, 3);
		assert_int_equal(failed.level, -1);
		encoding_free(&e);
	}
	/* A row held out that is no number. */
	training_make(&t, TRAINING_HELDOUT);
	t.heldout[4] = NAN;
	send_train(&d.zero, &t);
	do
		assert_true(receive(&d.zero));
	while (d.zero.header.kind == STK_MSG_PROGRESS);
	assert_int_equal(d.zero.header.kind, STK_MSG_FAILED);
	assert_int_equal(stk_read_failed(d.zero.body, d.zero.header.bytes, &failed, NULL), STK_OK);
	assert_int_equal(failed.failure, STK_FAILED_COMPUTATION);
	assert_int_equal(failed.which, STK_ROWS_HELDOUT);
	assert_int_equal(failed.row, 0);
	training_free(&t);
	book_free(&b);
	stop(&d);
}

/* Another shape than the codebook's, a device that is not here, a kind that is not known. */
static void
requests_that_cannot_be_served(void **state)
{
	daemon_process d;
	book b, other;
	encoding e;
	uint8_t out[STK_HEADER_BYTES + STK_BODY_MAX];
	stk_encode m;
	stk_load l;
	training t;

	(void) state;
	start(&d, true);

	client c;

	join(&d, &c);
	book_make(&b, 2, 16, 8, 1);
	book_make(&other, 2, 16, 9, 1);
	load(&c, &b);
	encoding_make(&e, &other, 2, 1, 1);
	memcpy(other.hash, b.hash, sizeof(b.hash));
	send_encode(&c, &e);
	(void) expect_failure(&c, e.request, STK_FAILED_REQUEST);
	encoding_free(&e);

	encoding_make(&e, &b, 2, 1, 1);
	m = encode_message(&e);
	m.device = STK_DEVICE_CUDA;
	send_message(&c, out, stk_write_encode(out, ++c.last, &m), -1);
	(void) expect_failure(&c, c.last, STK_FAILED_DEVICE);
	/* Who controls the daemon computes nothing, and nobody else configures it. */
	send_encode(&d.zero, &e);
	(void) expect_failure(&d.zero, e.request, STK_FAILED_REQUEST);
	encoding_free(&e);
	training_make(&t, 0);
	t.device = STK_DEVICE_CUDA;
	send_train(&c, &t);
	(void) expect_failure(&c, t.request, STK_FAILED_DEVICE);
	training_free(&t);
	send_message(&c, out, stk_write_configure(out, ++c.last, &(stk_configure){2, 1 << 26, 1, 0}),
				 -1);
	(void) expect_failure(&c, c.last, STK_FAILED_REQUEST);
	(void) expect_failure(&c, send_empty(&c, (stk_kind) 77), STK_FAILED_REQUEST);

	/* A codebook of another name. */
	l = (stk_load){.data = {.bytes = b.bytes, .inside = b.stored}};
	send_message(&c, out, stk_write_load(out, ++c.last, &l), -1);
	(void) expect_failure(&c, c.last, STK_FAILED_DATA);
	assert_int_equal(statistics(&d.zero).codebooks, 1);
	book_free(&b);
	book_free(&other);
	leave(&c);
	stop(&d);
}

/* A file that is cut short, before and while it is read, and one that cannot be written. */
static void
files_that_fail(void **state)
{
	daemon_process d;
	book b, large;
	encoding e;
	training t;
	uint64_t request;

	(void) state;
	start(&d, false);
	book_make(&b, 3, 16, 8, 1);
	load(&d.zero, &b);
	encoding_make(&e, &b, 20000, 1, 1);
	assert_int_equal(ftruncate(e.file, 1000), 0);
	send_encode(&d.zero, &e);
	(void) expect_failure(&d.zero, e.request, STK_FAILED_DATA);
	/* It may not grow: there is no place for the codes. */
	put(e.file, 0, e.x, 20000 * 8 * sizeof(float));
	close(e.file);
	e.file = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	put(e.file, 0, e.x, 20000 * 8 * sizeof(float));
	assert_int_equal(fcntl(e.file, F_ADD_SEALS, F_SEAL_GROW), 0);
	send_encode(&d.zero, &e);
	(void) expect_failure(&d.zero, e.request, STK_FAILED_DATA);
	encoding_free(&e);

	training_make(&t, TRAINING_LARGE);
	assert_int_equal(ftruncate(t.file, 10), 0);
	send_train(&d.zero, &t);
	(void) expect_failure(&d.zero, t.request, STK_FAILED_DATA);
	training_free(&t);

	/* A codebook of which a part is said to be there. */
	book_store(&large, 2, 256, 64, 1);
	large.bytes += 4;
	large.stored = realloc(large.stored, large.bytes);
	memset(large.stored + large.bytes - 4, 0, 4);
	request = send_load(&d.zero, &large);
	(void) expect_failure(&d.zero, request, STK_FAILED_DATA);
	book_free(&large);
	book_free(&b);
	stop(&d);
}

/* More than the budget has, ever. */
static void
requests_beyond_the_memory(void **state)
{
	static const char *const more[] = {"--threads",       "2",           "--memory",
									   "16777216",        "--batch-max", "64",
									   "--batch-wait-us", "0",           NULL};
	daemon_process d;
	book b;
	training t;
	uint64_t request;
	stk_statistics s;

	(void) state;
	start_with(&d, false, more);
	book_store(&b, 2, 8192, 256, 1);
	request = send_load(&d.zero, &b);
	(void) expect_failure(&d.zero, request, STK_FAILED_MEMORY);
	book_free(&b);
	/* One that fits by itself, but not with what is made of it. */
	book_store(&b, 2, 4096, 480, 1);
	request = send_load(&d.zero, &b);
	(void) expect_failure(&d.zero, request, STK_FAILED_MEMORY);
	book_free(&b);
	training_make(&t, TRAINING_LARGE);
	t.n = 1000000;
	send_train(&d.zero, &t);
	(void) expect_failure(&d.zero, t.request, STK_FAILED_MEMORY);
	training_free(&t);
	s = statistics(&d.zero);
	assert_int_equal(s.failures, 3);
	assert_true(s.memory_used <= s.memory);
	/* What fits is served none the less. */
	book_store(&b, 2, 256, 64, 1);
	load(&d.zero, &b);
	book_free(&b);
	stop(&d);
}

/* Fifty codebooks in turn where eight have room. */
static void
codebooks_take_turns_in_the_cache(void **state)
{
	static const char *const more[] = {
		"--threads", "2", "--memory", "4194304", "--batch-max", "64", "--batch-wait-us", "0", NULL};
	daemon_process d;
	client *c = &d.zero;
	book b[50];
	int missing = 0;

	(void) state;
	start_with(&d, false, more);
	for (int i = 0; i < 50; i++)
		book_make(&b[i], 2, 256, 128, (uint64_t) i);
	for (int round = 0; round < 3; round++)
	{
		for (int i = 0; i < 50; i++)
		{
			encoding e;
			stk_statistics s;

			encoding_make(&e, &b[i], 1 + (uint32_t) i % 3 * 20, 1 + i % 2, (uint64_t) i);
			send_encode(c, &e);
			assert_true(receive(c));
			if (c->header.kind == STK_MSG_MISSING)
			{
				missing++;
				load(c, &b[i]);
				send_encode(c, &e);
				expect(c, STK_MSG_CODES, e.request);
			}
			check_codes(c, &e);
			encoding_free(&e);
			s = statistics(c);
			assert_true(s.memory_used <= s.memory);
			assert_true(s.codebooks >= 1 && s.codebooks < 20);
			assert_int_equal(s.failures, 0);
		}
	}
	assert_int_equal(missing, 150);
	for (int i = 0; i < 50; i++)
		book_free(&b[i]);
	stop(&d);
}

/* What it has done is counted, and nothing else; less memory takes codebooks away. */
static void
it_counts(void **state)
{
	daemon_process d;
	client *c = &d.zero;
	book b;
	encoding e;
	training t;
	stk_statistics s;

	(void) state;
	start(&d, false);
	book_make(&b, 2, 256, 1024, 1);
	encoding_make(&e, &b, 10, 1, 1);
	send_encode(c, &e);
	expect(c, STK_MSG_MISSING, e.request);
	s = statistics(c);
	assert_true(s.requests == 0 && s.batches == 0 && s.rows == 0 && s.failures == 0);
	assert_string_equal(s.last_error, "");
	assert_int_equal(s.clients, 1);
	load(c, &b);
	encode(c, &e);
	training_make(&t, TRAINING_LLOYD);
	send_train(c, &t);
	expect_trained(c, &t);
	s = statistics(c);
	assert_int_equal(s.requests, 3);
	assert_int_equal(s.batches, 2);
	assert_int_equal(s.rows, 10 + t.n);
	assert_int_equal(s.failures, 0);
	assert_int_equal(s.codebooks, 1);
	assert_in_range(s.cache_bytes, b.bytes, s.memory_used);
	e.x[3] = NAN;
	send_encode(c, &e);
	(void) expect_failure(c, e.request, STK_FAILED_COMPUTATION);
	s = statistics(c);
	assert_int_equal(s.requests, 4);
	assert_int_equal(s.rows, 10 + t.n);
	assert_int_equal(s.failures, 1);
	assert_string_equal(s.last_error, "embedding holds NaN or infinity");
	configure(&d, (stk_configure){2, 1 << 20, 64, 0});
	s = statistics(c);
	assert_int_equal(s.codebooks, 0);
	assert_int_equal(s.cache_bytes, 0);
	assert_int_equal(s.memory, 1 << 20);
	assert_true(s.memory_used <= s.memory);
	training_free(&t);
	encoding_free(&e);
	book_free(&b);
	stop(&d);
}

/*
 * Statistics tell the state; settings can be changed while it computes; a ping tells how far that
 * is.
 */
static void
it_is_controlled(void **state)
{
	daemon_process d;
	client c;
	uint8_t out[STK_HEADER_BYTES + STK_BODY_MAX];
	stk_configure configure = {4, 1 << 27, 16, 0};
	training t;
	stk_statistics s;
	stk_pong pong;
	uint64_t ticks;

	(void) state;
	start(&d, true);
	join(&d, &c);
	s = statistics(&d.zero);
	assert_int_equal(s.pid, d.pid);
	assert_int_equal(s.clients, 1);
	assert_int_equal(s.threads, 2);
	assert_string_equal(s.engine, "cpu");
	assert_int_equal(ping(&c).state, STK_WORK_NONE);
	training_make(&t, TRAINING_LONG);
	send_train(&c, &t);
	/* Whether it was begun already or not, at last it runs and gets on. */
	expect(&c, STK_MSG_PROGRESS, t.request);
	send_empty(&c, STK_MSG_PING);
	while (receive(&c) && c.header.kind == STK_MSG_PROGRESS)
		continue;
	assert_int_equal(c.header.kind, STK_MSG_PONG);
	assert_int_equal(stk_read_pong(c.body, c.header.bytes, &pong, NULL), STK_OK);
	assert_int_equal(pong.state, STK_WORK_RUNNING);
	assert_int_equal(pong.request, t.request);
	ticks = pong.ticks;
	assert_true(ticks > 0);
	/* More threads, and less memory: what runs goes on. */
	send_message(&d.zero, out, stk_write_configure(out, ++d.zero.last, &configure), -1);
	expect(&d.zero, STK_MSG_DONE, d.zero.last);
	s = statistics(&d.zero);
	assert_int_equal(s.threads, 4);
	assert_int_equal(s.memory, 1 << 27);
	assert_int_equal(s.running, 1);
	do
	{
		send_empty(&c, STK_MSG_PING);
		while (receive(&c) && c.header.kind == STK_MSG_PROGRESS)
			continue;
		assert_int_equal(stk_read_pong(c.body, c.header.bytes, &pong, NULL), STK_OK);
	} while (pong.ticks == ticks);
	leave(&c);
	training_free(&t);
	stop(&d);
}

/* It ends at once when it is told to, even amid work; its socket is then anybody's to replace. */
static void
it_ends(void **state)
{
	static const int signals[] = {SIGTERM, SIGINT, 0};
	daemon_process d, second;

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		client c;
		training t;

		start(&d, true);
		join(&d, &c);
		training_make(&t, TRAINING_LONG);
		send_train(&c, &t);
		expect(&c, STK_MSG_PROGRESS, t.request);
		if (signals[i])
			kill(d.pid, signals[i]);
		else
			shutdown(d.zero.fd, SHUT_WR);
		while (receive(&c))
			assert_int_equal(c.header.kind, STK_MSG_PROGRESS);
		leave(&c);
		training_free(&t);
		close(d.zero.fd);
		assert_int_equal(wait_end(&d), 0);
	}
	/* Killed, it leaves its socket; the next one takes the place. */
	start(&d, true);
	kill(d.pid, SIGKILL);
	close(d.zero.fd);
	assert_int_equal(waitpid(d.pid, NULL, 0), d.pid);
	start(&second, true);
	stop(&second);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(it_encodes),
									   cmocka_unit_test(it_encodes_in_pieces),
									   cmocka_unit_test(requests_wait_for_their_codebook),
									   cmocka_unit_test(it_trains),
									   cmocka_unit_test(errors_of_computations),
									   cmocka_unit_test(requests_that_cannot_be_served),
									   cmocka_unit_test(files_that_fail),
									   cmocka_unit_test(requests_beyond_the_memory),
									   cmocka_unit_test(codebooks_take_turns_in_the_cache),
									   cmocka_unit_test(it_counts),
									   cmocka_unit_test(it_is_controlled),
									   cmocka_unit_test(it_ends)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
