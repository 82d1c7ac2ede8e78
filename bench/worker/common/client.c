#include "client.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bench.h"
#include "worker/hash.h"

static void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void
die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

bench_worker
bench_worker_start(const char *program, const char *path, uint64_t memory)
{
	char threads[16], bytes[32];
	bench_worker w = {.path = path};
	int ends[2];

	snprintf(threads, sizeof(threads), "%d", BENCH_THREADS);
	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long) memory);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		die("socketpair: %s", strerror(errno));
	w.pid = fork();
	if (w.pid == 0)
	{
		dup2(ends[1], 0);
		if (path)
			execl(program, program, "--listen", path, "--threads", threads, "--memory", bytes,
				  "--batch-max", "64", "--batch-wait-us", "0", (char *) NULL);
		else
			execl(program, program, "--private", "--threads", threads, "--memory", bytes,
				  "--batch-max", "64", "--batch-wait-us", "0", (char *) NULL);
		die("%s: %s", program, strerror(errno));
	}
	close(ends[1]);
	w.control = ends[0];
	return w;
}

void
bench_worker_stop(bench_worker *w)
{
	int status;

	close(w->control);
	if (waitpid(w->pid, &status, 0) != w->pid || status != 0)
		die("semtokd ended with status %x", (unsigned int) status);
	if (w->path)
		unlink(w->path);
}

static void
write_all(bench_session *s, size_t bytes, int file)
{
	struct iovec iov = {s->out, bytes};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union
	{
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control;

	if (file >= 0)
	{
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &file, sizeof(int));
	}
	while (iov.iov_len > 0)
	{
		ssize_t n = sendmsg(s->fd, &msg, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			die("could not send to semtokd: %s", strerror(errno));
		iov.iov_base = (char *) iov.iov_base + n;
		iov.iov_len -= (size_t) n;
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
	}
}

static void
read_all(bench_session *s, uint8_t *to, size_t bytes)
{
	while (bytes > 0)
	{
		ssize_t n = read(s->fd, to, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die("semtokd is gone: %s", n < 0 ? strerror(errno) : "end of the connection");
		to += n;
		bytes -= (size_t) n;
	}
}

stk_kind
bench_call(bench_session *s, size_t bytes, int file)
{
	uint8_t header[STK_HEADER_BYTES];
	stk_error err;

	write_all(s, bytes, file);
	read_all(s, header, sizeof(header));
	if (stk_read_header(header, &s->header, &err) != STK_OK)
		die("answer of semtokd: %s", err.message);
	read_all(s, s->in, s->header.bytes);
	if (s->header.request != s->request)
		die("answer of semtokd to request %llu, expected %llu",
			(unsigned long long) s->header.request, (unsigned long long) s->request);
	return (stk_kind) s->header.kind;
}

uint64_t
bench_next(bench_session *s)
{
	return ++s->request;
}

/* The answer must be of this kind. */
static void
expect(bench_session *s, stk_kind got, stk_kind kind)
{
	stk_failed failed;
	stk_error err;

	if (got == kind)
		return;
	if (got == STK_MSG_FAILED && stk_read_failed(s->in, s->header.bytes, &failed, &err) == STK_OK)
		die("semtokd failed (%d): %s", (int) failed.failure, failed.message);
	die("semtokd answered by kind %d, expected %d", (int) got, (int) kind);
}

/* Wait until it listens. */
static int
connect_to(const bench_worker *w)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	double began = bench_now();
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", w->path);
	while (connect(fd, (struct sockaddr *) &address, sizeof(address)) != 0)
	{
		if (bench_now() - began > 10)
			die("could not connect to %s: %s", w->path, strerror(errno));
		usleep(1000);
	}
	return fd;
}

bench_session
bench_session_open(const bench_worker *w)
{
	bench_session s = {.fd = w->path ? connect_to(w) : dup(w->control)};
	stk_hello hello = {.version = STK_PROTOCOL_VERSION, .program = "benchmark"};
	stk_error err;

	s.out = bench_alloc(STK_HEADER_BYTES + STK_BODY_MAX, 1);
	s.in = bench_alloc(STK_BODY_MAX, 1);
	expect(&s, bench_call(&s, stk_write_hello(s.out, bench_next(&s), &hello), -1), STK_MSG_WELCOME);
	bench_check("welcome", stk_read_welcome(s.in, s.header.bytes, &s.welcome, &err), &err);
	return s;
}

void
bench_session_close(bench_session *s)
{
	close(s->fd);
	free(s->out);
	free(s->in);
}

int
bench_data_file(void)
{
	int file = memfd_create("benchmark", MFD_CLOEXEC);

	if (file < 0)
		die("memfd_create: %s", strerror(errno));
	return file;
}

void
bench_data_write(int file, uint64_t at, const void *data, size_t bytes)
{
	if (pwrite(file, data, bytes, (off_t) at) != (ssize_t) bytes)
		die("could not write to a file of %zu bytes", bytes);
}

bench_stored
bench_store(int levels, uint32_t size, int dim, const float *codewords)
{
	bench_stored s;
	stk_codebook shape = {.metric = STK_L2, .levels = levels, .dim = dim};
	size_t at;
	stk_error err;

	for (int l = 0; l < levels; l++)
		shape.sizes[l] = size;
	s.size = stk_codebook_stored_bytes(&shape);
	s.bytes = bench_alloc(s.size, 1);
	at = stk_codebook_write_shape(s.bytes, &shape);
	memcpy(s.bytes + at, codewords, s.size - at);
	bench_check("hash", stk_hash(s.bytes, s.size, s.hash, &err), &err);
	bench_check("codebook", stk_codebook_view(s.bytes, s.size, &s.cb, &err), &err);
	return s;
}

void
bench_stored_free(bench_stored *s)
{
	free(s->bytes);
}

void
bench_load(bench_session *s, const bench_stored *cb, int file, uint64_t at)
{
	stk_load m = {.data = {.in_file = true, .offset = at, .bytes = cb->size}};

	memcpy(m.hash, cb->hash, sizeof(m.hash));
	bench_data_write(file, at, cb->bytes, cb->size);
	expect(s, bench_call(s, stk_write_load(s->out, bench_next(s), &m), file), STK_MSG_DONE);
}

void
bench_encode(bench_session *s, const bench_stored *cb, const float *x, uint32_t n, int beam,
			 int file, uint16_t *codes)
{
	size_t bytes = n * (size_t) cb->cb.dim * sizeof(float);
	size_t answer = n * (size_t) cb->cb.levels * sizeof(uint16_t);
	stk_encode m = {
		.beam = beam, .dim = cb->cb.dim, .levels = cb->cb.levels, .n = n, .rows = {.bytes = bytes}};
	stk_codes got;
	stk_error err;
	stk_kind kind;

	memcpy(m.hash, cb->hash, sizeof(m.hash));
	if (bytes <= STK_INLINE_MAX)
		m.rows.inside = (const uint8_t *) x;
	else
	{
		m.rows.in_file = true;
		bench_data_write(file, 0, x, bytes);
	}
	if (answer > STK_INLINE_MAX)
		m.codes_at = (bytes + 7) / 8 * 8;
	for (;;)
	{
		kind = bench_call(s, stk_write_encode(s->out, bench_next(s), &m),
						  stk_encode_needs_file(&m) ? file : -1);
		if (kind != STK_MSG_MISSING)
			break;
		bench_load(s, cb, file, (bytes + answer + 15) / 8 * 8);
	}
	expect(s, kind, STK_MSG_CODES);
	bench_check("codes", stk_read_codes(s->in, s->header.bytes, n, cb->cb.levels, &got, &err),
				&err);
	if (!got.codes.in_file)
		memcpy(codes, got.codes.inside, answer);
	else if (pread(file, codes, answer, (off_t) m.codes_at) != (ssize_t) answer)
		die("could not read %zu bytes of codes", answer);
}
