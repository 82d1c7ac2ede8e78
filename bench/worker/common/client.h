/*
 * A client of semtokd as plain as can be: one request at a time, waiting in read(). For benchmarks;
 * what goes wrong ends the program.
 */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include <sys/types.h>

#include "worker/protocol.h"

/* A semtokd of ours. */
typedef struct bench_worker
{
	pid_t pid;
	int control;      /* our end of its descriptor 0: of a private one the only connection */
	const char *path; /* that it listens to; NULL: it is private */
} bench_worker;

/* Start `program`, private without a path. It computes on BENCH_THREADS threads. */
extern bench_worker bench_worker_start(const char *program, const char *path, uint64_t memory);
/* End it, and see that it ended well. */
extern void bench_worker_stop(bench_worker *w);

typedef struct bench_session
{
	int fd;
	uint64_t request;
	stk_welcome welcome;
	stk_header header; /* of the last answer */
	uint8_t *out;      /* a message to send, with room for any */
	uint8_t *in;       /* the body of the last answer */
} bench_session;

/* Connect, or take a private one's only connection, and say hello. */
extern bench_session bench_session_open(const bench_worker *w);
extern void bench_session_close(bench_session *s);

/* The number for the next request. */
extern uint64_t bench_next(bench_session *s);
/* Send s->out [bytes], with a file unless it is -1, and wait for the answer; returns its kind. */
extern stk_kind bench_call(bench_session *s, size_t bytes, int file);

/* A file for data, empty and without a name. */
extern int bench_data_file(void);
/* Write to it. */
extern void bench_data_write(int file, uint64_t at, const void *data, size_t bytes);

/* A codebook as a client knows it. */
typedef struct bench_stored
{
	uint8_t hash[STK_HASH_BYTES];
	uint8_t *bytes;
	size_t size;
	stk_codebook cb; /* a view */
} bench_stored;

/* levels of `size` codewords from floats [levels][size][dim]. */
extern bench_stored bench_store(int levels, uint32_t size, int dim, const float *codewords);
extern void bench_stored_free(bench_stored *s);
/* Have it kept there; file is overwritten at `at`. */
extern void bench_load(bench_session *s, const bench_stored *cb, int file, uint64_t at);
/*
 * Encode rows, in a body where they are few, else by way of the file; loads the codebook when the
 * worker lacks it. codes [n][levels] out.
 */
extern void bench_encode(bench_session *s, const bench_stored *cb, const float *x, uint32_t n,
						 int beam, int file, uint16_t *codes);

#endif
