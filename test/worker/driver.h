/*
 * A semtokd to test, and clients of it: messages to and fro, and small problems to ask for. The
 * program is SEMTOKD, or src/worker/semtokd; SEMTOKD_RUN, words before it (valgrind -q).
 */
#ifndef WORKER_DRIVER_H
#define WORKER_DRIVER_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/rq.h"
#include "rows.h"
#include "worker/hash.h"
#include "worker/protocol.h"

/* Nothing takes as long, under any tool. */
#define PATIENCE_MS 120000

typedef struct client
{
	int fd;
	uint64_t last; /* request */
	uint32_t window;
	double rate;
	stk_header header; /* of the latest answer */
	uint8_t body[STK_BODY_MAX];
} client;

typedef struct daemon_process
{
	pid_t pid;
	char path[64]; /* of the socket; empty: private */
	client zero;   /* by descriptor 0, greeted */
} daemon_process;

static inline void
send_bytes(int fd, const void *bytes, size_t n, const int *files, int nfiles)
{
	union
	{
		struct cmsghdr align;
		char bytes[CMSG_SPACE(16 * sizeof(int))];
	} control = {0};
	const char *from = bytes;

	while (n > 0)
	{
		struct iovec iov = {(void *) (uintptr_t) from, n};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t w;

		if (nfiles > 0)
		{
			msg.msg_control = &control;
			msg.msg_controllen = CMSG_SPACE((size_t) nfiles * sizeof(int));

			struct cmsghdr *h = CMSG_FIRSTHDR(&msg);

			h->cmsg_level = SOL_SOCKET;
			h->cmsg_type = SCM_RIGHTS;
			h->cmsg_len = CMSG_LEN((size_t) nfiles * sizeof(int));
			memcpy(CMSG_DATA(h), files, (size_t) nfiles * sizeof(int));
		}
		w = sendmsg(fd, &msg, MSG_NOSIGNAL);
		if (w < 0 && errno == EINTR)
			continue;
		/* A daemon that has closed the connection is the tests' to notice by reading. */
		if (w < 0)
			return;
		from += w;
		n -= (size_t) w;
		nfiles = 0;
	}
}

/* Send a message, with a file unless it is -1. */
static inline void
send_message(client *c, uint8_t *message, size_t bytes, int file)
{
	if (file >= 0)
	{
		stk_header h;

		assert_int_equal(stk_read_header(message, &h, NULL), STK_OK);
		h.with_file = true;
		stk_write_header(message, &h);
	}
	send_bytes(c->fd, message, bytes, &file, file >= 0 ? 1 : 0);
}

/* Read exactly n bytes; false at the end of the connection. */
static inline bool
read_bytes(int fd, void *to, size_t n)
{
	char *out = to;

	while (n > 0)
	{
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t r;

		if (poll(&p, 1, PATIENCE_MS) == 0)
			fail_msg("no answer in %d s", PATIENCE_MS / 1000);
		r = read(fd, out, n);
		if (r < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (r <= 0)
			return false;
		out += r;
		n -= (size_t) r;
	}
	return true;
}

/* The next message, into c->header and c->body; false at the end of the connection. */
static inline bool
receive(client *c)
{
	uint8_t head[STK_HEADER_BYTES];
	stk_error err = {.message = ""};

	if (!read_bytes(c->fd, head, sizeof(head)))
		return false;
	if (stk_read_header(head, &c->header, &err) != STK_OK)
		fail_msg("a header: %s", err.message);
	return read_bytes(c->fd, c->body, c->header.bytes);
}

/* The next message is of this kind and answers this request. */
static inline void
expect(client *c, stk_kind kind, uint64_t request)
{
	if (!receive(c))
		fail_msg("the connection ended where a message of kind %d was expected", kind);
	if (c->header.kind == STK_MSG_FAILED && kind != STK_MSG_FAILED)
	{
		stk_failed failed;

		assert_int_equal(stk_read_failed(c->body, c->header.bytes, &failed, NULL), STK_OK);
		fail_msg("failed: %d, status %d: %s", failed.failure, failed.status, failed.message);
	}
	assert_int_equal(c->header.kind, kind);
	assert_int_equal(c->header.request, request);
}

static inline stk_failed
expect_failure(client *c, uint64_t request, stk_failure failure)
{
	stk_failed failed;

	expect(c, STK_MSG_FAILED, request);
	assert_int_equal(stk_read_failed(c->body, c->header.bytes, &failed, NULL), STK_OK);
	if (failed.failure != failure)
		fail_msg("failure %d, not %d: %s", failed.failure, failure, failed.message);
	return failed;
}

static inline void
expect_end(client *c)
{
	if (receive(c))
		fail_msg("a message of kind %u came where the connection was to end", c->header.kind);
}

static inline uint64_t
send_empty(client *c, stk_kind kind)
{
	uint8_t out[STK_HEADER_BYTES + STK_BODY_MAX];
	size_t n = stk_write_empty(out, kind, ++c->last);

	send_message(c, out, n, -1);
	return c->last;
}

static inline void
greet(client *c)
{
	uint8_t out[STK_HEADER_BYTES + STK_BODY_MAX];
	stk_hello hello = {.version = STK_PROTOCOL_VERSION, .program = "test"};
	stk_welcome welcome;

	send_message(c, out, stk_write_hello(out, ++c->last, &hello), -1);
	expect(c, STK_MSG_WELCOME, c->last);
	assert_int_equal(stk_read_welcome(c->body, c->header.bytes, &welcome, NULL), STK_OK);
	c->window = welcome.window;
	c->rate = welcome.rate;
}

static inline int
try_connect(const daemon_process *d)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", d->path);
	if (connect(fd, (struct sockaddr *) &address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

/* A client of a daemon that listens. */
static inline void
join(const daemon_process *d, client *c)
{
	memset(c, 0, sizeof(*c));
	c->fd = try_connect(d);
	assert_true(c->fd >= 0);
	greet(c);
}

static inline void
leave(client *c)
{
	close(c->fd);
	c->fd = -1;
}

/* Start one with these arguments beside where its clients come from; shared = it listens. */
static inline void
start_with(daemon_process *d, bool shared, const char *const *more)
{
	const char *program = getenv("SEMTOKD");
	char run[1024];
	char *argv[48];
	static int started = 0;
	int n = 0;
	int pair[2];

	snprintf(run, sizeof(run), "%s %s", getenv("SEMTOKD_RUN") ? getenv("SEMTOKD_RUN") : "",
			 program ? program : "src/worker/semtokd");
	for (char *word = strtok(run, " "); word && n < 32; word = strtok(NULL, " "))
		argv[n++] = word;
	memset(d, 0, sizeof(*d));
	if (shared)
		snprintf(d->path, sizeof(d->path), "/tmp/semtokd-test-%d-%d.sock", (int) getpid(),
				 started++);
	argv[n++] = shared ? (char *) (uintptr_t) "--listen" : (char *) (uintptr_t) "--private";
	if (shared)
		argv[n++] = d->path;
	for (; *more; more++)
		argv[n++] = (char *) (uintptr_t) *more;
	argv[n] = NULL;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	d->pid = fork();
	assert_true(d->pid >= 0);
	if (d->pid == 0)
	{
		dup2(pair[1], 0);
		execvp(argv[0], argv);
		_exit(127);
	}
	close(pair[1]);
	d->zero.fd = pair[0];
	greet(&d->zero);
}

static inline void
start(daemon_process *d, bool shared)
{
	static const char *const more[] = {"--threads",       "2",           "--memory",
									   "268435456",       "--batch-max", "64",
									   "--batch-wait-us", "0",           NULL};

	start_with(d, shared, more);
}

/* Wait for its end; its exit status, or -1 when a signal ended it. */
static inline int
wait_end(daemon_process *d)
{
	int status;

	assert_int_equal(waitpid(d->pid, &status, 0), d->pid);
	d->pid = 0;
	if (d->path[0])
		unlink(d->path);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* End it by the end of descriptor 0. */
static inline void
stop(daemon_process *d)
{
	close(d->zero.fd);
	assert_int_equal(wait_end(d), 0);
}

static inline stk_statistics
statistics(client *c)
{
	stk_statistics s;

	expect(c, STK_MSG_STATISTICS_ARE, send_empty(c, STK_MSG_STATISTICS));
	assert_int_equal(stk_read_statistics(c->body, c->header.bytes, &s, NULL), STK_OK);
	return s;
}

static inline stk_pong
ping(client *c)
{
	stk_pong pong;

	expect(c, STK_MSG_PONG, send_empty(c, STK_MSG_PING));
	assert_int_equal(stk_read_pong(c->body, c->header.bytes, &pong, NULL), STK_OK);
	return pong;
}

/* Hold it, so that it finds at once what is sent meanwhile, and let it go on. */
static inline void
hold(const daemon_process *d)
{
	int status;

	kill(d->pid, SIGSTOP);
	assert_int_equal(waitpid(d->pid, &status, WUNTRACED), d->pid);
	assert_true(WIFSTOPPED(status));
}

static inline void
go_on(const daemon_process *d)
{
	kill(d->pid, SIGCONT);
}

/* Change its settings, by descriptor 0. */
static inline void
configure(daemon_process *d, stk_configure settings)
{
	uint8_t out[STK_HEADER_BYTES + STK_BODY_MAX];

	send_message(&d->zero, out, stk_write_configure(out, ++d->zero.last, &settings), -1);
	expect(&d->zero, STK_MSG_DONE, d->zero.last);
}

/* Entries of /proc/PID/fd. */
static inline int
descriptors(const daemon_process *d)
{
	char path[64];
	DIR *dir;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int) d->pid);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* A file with nothing in it, open for reading and writing. */
static inline int
new_file(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static inline void
put(int file, uint64_t at, const void *from, size_t bytes)
{
	assert_int_equal(pwrite(file, from, bytes, (off_t) at), bytes);
}

static inline void
get(int file, uint64_t at, void *to, size_t bytes)
{
	assert_int_equal(pread(file, to, bytes, (off_t) at), bytes);
}

/* A codebook, its stored form and name, and core's own quantizer of it where it is needed. */
typedef struct book
{
	size_t bytes;
	uint8_t *stored;
	uint8_t hash[STK_HASH_BYTES];
	stk_codebook cb;
	stk_rq *rq;
} book;

static inline void
book_store(book *b, int levels, uint32_t codes, int dim, uint64_t seed)
{
	size_t at;
	stk_codebook shape = {.metric = STK_L2, .levels = levels, .dim = dim};

	for (int l = 0; l < levels; l++)
		shape.sizes[l] = codes;
	b->bytes = stk_codebook_stored_bytes(&shape);
	b->stored = malloc(b->bytes);
	at = stk_codebook_write_shape(b->stored, &shape);
	fill((float *) (void *) (b->stored + at), (b->bytes - at) / sizeof(float), 1, &seed);
	assert_int_equal(stk_hash(b->stored, b->bytes, b->hash, NULL), STK_OK);
	assert_int_equal(stk_codebook_view(b->stored, b->bytes, &b->cb, NULL), STK_OK);
	b->rq = NULL;
}

static inline void
book_make(book *b, int levels, uint32_t codes, int dim, uint64_t seed)
{
	book_store(b, levels, codes, dim, seed);
	assert_int_equal(stk_rq_create(&b->cb, plain_exec(), STK_FILTER_BEST, &b->rq, NULL), STK_OK);
	assert_int_equal(stk_rq_prepare_beam(b->rq, plain_exec()), STK_OK);
}

static inline void
book_free(book *b)
{
	if (b->rq)
		stk_rq_free(b->rq);
	free(b->stored);
}

/* Ask for a codebook to be kept, in a file or inside as it fits. */
static inline uint64_t
send_load(client *c, const book *b)
{
	uint8_t out[STK_HEADER_BYTES + STK_BODY_MAX];
	stk_load m = {.data = {.bytes = b->bytes, .inside = b->stored}};
	int file = -1;

	memcpy(m.hash, b->hash, sizeof(m.hash));
	if (b->bytes > STK_INLINE_MAX)
	{
		file = new_file();
		put(file, 8, b->stored, b->bytes);
		m.data = (stk_data){.in_file = true, .offset = 8, .bytes = b->bytes};
	}
	send_message(c, out, stk_write_load(out, ++c->last, &m), file);
	if (file >= 0)
		close(file);
	return c->last;
}

static inline void
load(client *c, const book *b)
{
	uint64_t request = send_load(c, b);

	expect(c, STK_MSG_DONE, request);
}

/* Rows, what core makes of them, and a request for them under way. */
typedef struct encoding
{
	const book *b;
	uint32_t n;
	int beam;
	float *x;
	uint16_t *expected;
	int file; /* where they are and the codes shall be; -1 = inside */
	uint64_t codes_at;
	uint64_t request;
} encoding;

/* Rows whose codes nobody will look at. */
static inline void
encoding_fill(encoding *e, const book *b, uint32_t n, int beam, uint64_t seed)
{
	size_t values = n * (size_t) b->cb.dim;

	*e = (encoding){.b = b, .n = n, .beam = beam, .file = -1};
	e->x = calloc(values, sizeof(float));
	e->expected = malloc(n * (size_t) b->cb.levels * sizeof(uint16_t));
	fill(e->x, values, 1, &seed);
	if (values * sizeof(float) > STK_INLINE_MAX)
	{
		e->file = new_file();
		put(e->file, 0, e->x, values * sizeof(float));
		e->codes_at = (values * sizeof(float) + 7) / 8 * 8;
	}
}

static inline void
encoding_make(encoding *e, const book *b, uint32_t n, int beam, uint64_t seed)
{
	encoding_fill(e, b, n, beam, seed);
	assert_int_equal(stk_rq_encode(b->rq, plain_exec(), e->x, n, beam, e->expected, NULL, NULL),
					 STK_OK);
}

static inline void
encoding_free(encoding *e)
{
	free(e->x);
	free(e->expected);
	if (e->file >= 0)
		close(e->file);
}

static inline stk_encode
encode_message(const encoding *e)
{
	uint64_t bytes = e->n * (uint64_t) e->b->cb.dim * sizeof(float);
	stk_encode m = {.beam = e->beam,
					.dim = e->b->cb.dim,
					.levels = e->b->cb.levels,
					.n = e->n,
					.codes_at = e->codes_at,
					.rows = {.bytes = bytes, .inside = (const uint8_t *) e->x}};

	memcpy(m.hash, e->b->hash, sizeof(m.hash));
	if (e->file >= 0)
		m.rows = (stk_data){.in_file = true, .bytes = bytes};
	return m;
}

static inline void
send_encode(client *c, encoding *e)
{
	uint8_t out[STK_HEADER_BYTES + STK_BODY_MAX];
	stk_encode m = encode_message(e);

	e->request = ++c->last;
	send_message(c, out, stk_write_encode(out, e->request, &m), e->file);
}

/* The codes that c has just received are core's. */
static inline void
check_codes(client *c, const encoding *e)
{
	size_t bytes = e->n * (size_t) e->b->cb.levels * sizeof(uint16_t);
	uint16_t *codes = malloc(bytes);
	stk_codes m;

	assert_int_equal(stk_read_codes(c->body, c->header.bytes, e->n, e->b->cb.levels, &m, NULL),
					 STK_OK);
	assert_int_equal(m.codes.in_file, bytes > STK_INLINE_MAX);
	if (m.codes.in_file)
	{
		assert_int_equal(m.codes.offset, e->codes_at);
		get(e->file, m.codes.offset, codes, bytes);
	}
	else
		memcpy(codes, m.codes.inside, bytes);
	assert_memory_equal(codes, e->expected, bytes);
	free(codes);
}

static inline void
expect_codes(client *c, const encoding *e)
{
	expect(c, STK_MSG_CODES, e->request);
	check_codes(c, e);
}

static inline void
encode(client *c, encoding *e)
{
	send_encode(c, e);
	expect_codes(c, e);
}

#endif
