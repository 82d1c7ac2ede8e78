/*
 * What no honest client sends costs it its connection and nothing else: no descriptor, no memory,
 * and no other client's answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/resource.h>

#include "driver.h"

/* A daemon with an honest client, and what it holds when nothing else is there. */
typedef struct scene
{
	daemon_process d;
	client honest;
	book b;
	encoding e;
	int descriptors;
	uint64_t used;
} scene;

/* Until there are so many, and nothing is computed. */
static void
wait_for_clients(scene *s, uint32_t n)
{
	time_t until = time(NULL) + PATIENCE_MS / 1000;

	stk_statistics t = statistics(&s->d.zero);

	while (t.clients != n || t.running > 0)
	{
		assert_true(time(NULL) < until);
		t = statistics(&s->d.zero);
	}
}

static void
begin(scene *s)
{
	start(&s->d, true);
	join(&s->d, &s->honest);
	book_make(&s->b, 3, 32, 16, 1);
	load(&s->honest, &s->b);
	encoding_make(&s->e, &s->b, 5, 1, 1);
	/* With a beam too: what that needs stays with the codebook, and is no leak. */
	s->e.beam = 2;
	send_encode(&s->honest, &s->e);
	expect(&s->honest, STK_MSG_CODES, s->e.request);
	s->e.beam = 1;
	encode(&s->honest, &s->e);
	wait_for_clients(s, 1);
	s->descriptors = descriptors(&s->d);
	s->used = statistics(&s->d.zero).memory_used;
}

/* Nobody but the hostile has lost anything. */
static void
end(scene *s)
{
	wait_for_clients(s, 1);
	encode(&s->honest, &s->e);
	assert_int_equal(descriptors(&s->d), s->descriptors);
	assert_int_equal(statistics(&s->d.zero).memory_used, s->used);
	encoding_free(&s->e);
	book_free(&s->b);
	leave(&s->honest);
	stop(&s->d);
}

static client
hostile(scene *s)
{
	client c;

	join(&s->d, &c);
	return c;
}

/* Random bytes, before and after the greeting, with and without an honest header before them. */
static void
garbage(void **state)
{
	scene s;
	uint64_t seed = 1;

	(void) state;
	begin(&s);
	for (int i = 0; i < 300; i++)
	{
		client c = {.fd = -1};
		uint8_t bytes[400];
		size_t n = 24 + next_bits(&seed) % (sizeof(bytes) - 24);

		if (i % 3 == 0)
			c.fd = try_connect(&s.d);
		else
			c = hostile(&s);
		for (size_t j = 0; j < n; j++)
			bytes[j] = (uint8_t) next_bits(&seed);
		if (i % 3 == 2)
		{
			stk_header h = {.kind = (uint16_t) (1 + i % 8),
							.request = c.last + 1,
							.bytes = (uint32_t) (n - STK_HEADER_BYTES)};

			stk_write_header(bytes, &h);
		}
		send_bytes(c.fd, bytes, n, NULL, 0);
		shutdown(c.fd, SHUT_WR);
		while (receive(&c))
			assert_true(c.header.kind == STK_MSG_FAILED || c.header.kind == STK_MSG_PONG ||
						c.header.kind == STK_MSG_STATISTICS_ARE);
		leave(&c);
	}
	end(&s);
}

/* One byte changed, everywhere, in honest requests. */
static void
mutated_requests(void **state)
{
	scene s;
	uint8_t honest[STK_HEADER_BYTES + STK_BODY_MAX], out[STK_HEADER_BYTES + STK_BODY_MAX];
	stk_encode m;
	size_t n;

	(void) state;
	begin(&s);
	m = encode_message(&s.e);
	n = stk_write_encode(honest, 2, &m);
	for (size_t i = 0; i < 160; i++)
	{
		client c = hostile(&s);

		memcpy(out, honest, n);
		out[i % n] ^= (uint8_t) (1u << (i * 7 % 8));
		send_bytes(c.fd, out, n, NULL, 0);
		shutdown(c.fd, SHUT_WR);
		while (receive(&c))
			continue;
		leave(&c);
	}
	end(&s);
}

/* Half a header, half a body, and then nothing, or the end. */
static void
half_messages(void **state)
{
	scene s;
	uint8_t out[STK_HEADER_BYTES + STK_BODY_MAX];
	stk_encode m;
	size_t n;
	static client waiting[40]; /* valgrind takes so large a frame for another stack */

	(void) state;
	begin(&s);
	m = encode_message(&s.e);
	n = stk_write_encode(out, 2, &m);
	for (size_t i = 0; i < 40; i++)
	{
		waiting[i] = hostile(&s);
		send_bytes(waiting[i].fd, out, n * i / 40, NULL, 0);
	}
	encode(&s.honest, &s.e);
	/* Half of them go on after all. */
	for (size_t i = 0; i < 40; i += 2)
	{
		send_bytes(waiting[i].fd, out + n * i / 40, n - n * i / 40, NULL, 0);
		s.e.request = 2;
		expect_codes(&waiting[i], &s.e);
	}
	for (size_t i = 0; i < 40; i++)
		leave(&waiting[i]);
	end(&s);
}

/* Numbers of requests that do not rise, and work before the greeting. */
static void
rules_of_order(void **state)
{
	scene s;

	(void) state;
	begin(&s);
	for (int i = 0; i < 3; i++)
	{
		client c = hostile(&s);

		if (i == 2)
		{
			leave(&c);
			c.fd = try_connect(&s.d);
			c.last = 0;
			send_empty(&c, STK_MSG_PING);
		}
		else
		{
			c.last = 9;
			ping(&c);
			c.last = i == 0 ? 9 : 4;
			send_empty(&c, STK_MSG_PING);
		}
		expect_end(&c);
		leave(&c);
	}
	end(&s);
}

/* Send a ping's header that says `with_file`, with these descriptors. */
static void
send_with(client *c, bool with_file, const int *files, int nfiles)
{
	uint8_t out[STK_HEADER_BYTES + STK_BODY_MAX];
	size_t n = stk_write_empty(out, STK_MSG_PING, ++c->last);
	stk_header h;

	assert_int_equal(stk_read_header(out, &h, NULL), STK_OK);
	h.with_file = with_file;
	stk_write_header(out, &h);
	send_bytes(c->fd, out, n, files, nfiles);
}

/* A request whose descriptor comes with its body. */
static void
send_late(client *c, const scene *s, int file)
{
	uint8_t out[STK_HEADER_BYTES + STK_BODY_MAX];
	stk_encode m = encode_message(&s->e);
	size_t n = stk_write_encode(out, ++c->last, &m);

	send_bytes(c->fd, out, STK_HEADER_BYTES, NULL, 0);
	send_bytes(c->fd, out + STK_HEADER_BYTES, n - STK_HEADER_BYTES, &file, 1);
}

/* Descriptors that are too many, of no file, not announced, missing, or late. */
static void
wrong_descriptors(void **state)
{
	scene s;
	int pair[2], good[16], readonly, null, path_only;
	char path[64];

	(void) state;
	begin(&s);
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	for (int i = 0; i < 16; i++)
		good[i] = new_file();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", good[0]);
	readonly = open(path, O_RDONLY | O_CLOEXEC);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	path_only = open(path, O_PATH | O_RDWR | O_CLOEXEC);
	for (int i = 0; i < 10; i++)
	{
		client c = hostile(&s);
		int socket_itself = c.fd;

		switch (i)
		{
			case 0: /* more than one */
				send_with(&c, true, good, 2);
				break;
			case 1: /* many more */
				send_with(&c, true, good, 16);
				break;
			case 2: /* not announced */
				send_with(&c, false, good, 1);
				break;
			case 3: /* announced, and none */
				send_with(&c, true, good, 0);
				break;
			case 4:
				send_late(&c, &s, good[0]);
				break;
			case 5:
				send_with(&c, true, pair, 1);
				break;
			case 6:
				send_with(&c, true, &readonly, 1);
				break;
			case 7:
				send_with(&c, true, &null, 1);
				break;
			case 8:
				send_with(&c, true, &path_only, 1);
				break;
			default:
				send_with(&c, true, &socket_itself, 1);
				break;
		}
		expect_end(&c);
		leave(&c);
	}
	/* One that nobody needs is closed. */
	for (int i = 0; i < 50; i++)
	{
		client c = hostile(&s);

		send_with(&c, true, good, 1);
		expect(&c, STK_MSG_PONG, c.last);
		leave(&c);
	}
	for (int i = 0; i < 16; i++)
		close(good[i]);
	close(pair[0]);
	close(pair[1]);
	close(readonly);
	close(null);
	close(path_only);
	end(&s);
}

/* Requests for more than there is room for, and files that they need and do not bring. */
static void
huge_numbers(void **state)
{
	scene s;
	uint8_t out[STK_HEADER_BYTES + STK_BODY_MAX];

	(void) state;
	begin(&s);
	for (int i = 0; i < 4; i++)
	{
		client c = hostile(&s);
		stk_encode m = encode_message(&s.e);
		stk_load l = {.data = {.in_file = true, .bytes = INT64_MAX - 8}};
		int file = i < 2 ? -1 : new_file();

		m.n = STK_ENCODE_MAX_ROWS;
		m.rows = (stk_data){.in_file = true,
							.offset = i % 2 ? 0 : (uint64_t) 1 << 62,
							.bytes = (uint64_t) m.n * 16 * sizeof(float)};
		m.codes_at = (uint64_t) 1 << 62;
		send_message(&c, out, stk_write_encode(out, ++c.last, &m), file);
		if (file < 0)
			expect_end(&c);
		else
		{
			(void) expect_failure(&c, c.last, STK_FAILED_DATA);
			send_message(&c, out, stk_write_load(out, ++c.last, &l), file);
			while (receive(&c))
			{
				assert_int_equal(c.header.kind, STK_MSG_FAILED);
				shutdown(c.fd, SHUT_WR);
			}
			close(file);
		}
		leave(&c);
	}
	end(&s);
}

/* A file that is cut short and lengthened while it is read, again and again. */
static void
shrinking_files(void **state)
{
	scene s;
	client c;
	encoding e;

	(void) state;
	begin(&s);
	c = hostile(&s);
	encoding_make(&e, &s.b, 100000, 1, 1);
	for (size_t i = 0; i < unit_size(30, 30, 4); i++)
	{
		off_t whole = (off_t) 100000 * 16 * 4;

		send_encode(&c, &e);
		for (int j = 0; j < 20; j++)
		{
			assert_int_equal(ftruncate(e.file, whole / (j + 2)), 0);
			assert_int_equal(ftruncate(e.file, whole), 0);
		}
		assert_true(receive(&c));
		assert_true(c.header.kind == STK_MSG_CODES || c.header.kind == STK_MSG_FAILED);
	}
	encoding_free(&e);
	leave(&c);
	end(&s);
}

/* More clients than there are descriptors for: some are turned away, none spin, and all recover. */
static void
many_connections(void **state)
{
	scene s;
	int fds[300];
	struct rlimit few = {120, 120};

	(void) state;
	begin(&s);
	/* Its own limit on clients comes first; this one, in the midst of it, it cannot know. */
	assert_int_equal(prlimit(s.d.pid, RLIMIT_NOFILE, &few, NULL), 0);
	for (int i = 0; i < 300; i++)
		fds[i] = try_connect(&s.d);
	encode(&s.honest, &s.e);
	for (int i = 0; i < 300; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	end(&s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(garbage),           cmocka_unit_test(mutated_requests),
		cmocka_unit_test(half_messages),     cmocka_unit_test(rules_of_order),
		cmocka_unit_test(wrong_descriptors), cmocka_unit_test(huge_numbers),
		cmocka_unit_test(shrinking_files),   cmocka_unit_test(many_connections)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
