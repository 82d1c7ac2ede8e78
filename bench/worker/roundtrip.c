/*
 * What it costs to ask semtokd for the codes of one row, beside computing them where one is: one
 * session and eight at once, by a private worker and by a shared one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bench.h"
#include "common/data.h"
#include "common/train.h"
#include "core/rq.h"
#include "worker/common/client.h"

#define LEVELS 3
#define CODES 256
#define EPOCHS 5
#define REQUESTS 20000
#define SESSIONS 8
#define MEMORY (256ull << 20)
#define SOCKET "tmp/bench-roundtrip.sock"
#define GOAL_US 60

typedef struct problem
{
	bench_rows rows;
	bench_stored cb;
	stk_rq *rq;
	const stk_exec *exec;
	const bench_worker *worker; /* NULL: compute here */
	int requests;               /* of each session */
} problem;

/*
 * One session: seconds of each request [requests] out. Codes are compared with those computed here.
 */
static void
session(const problem *p, bool ping, double *took)
{
	bench_session s = {0};
	int file = -1;

	if (p->worker)
	{
		s = bench_session_open(p->worker);
		file = bench_data_file();
		bench_load(&s, &p->cb, file, 0);
	}
	for (int i = -100; i < p->requests; i++)
	{
		const float *x = p->rows.x + (size_t) (i + 100) % p->rows.n * p->rows.dim;
		uint16_t codes[LEVELS], here[LEVELS];
		double began = bench_now();
		stk_error err;

		if (!p->worker)
			bench_check("encode", stk_rq_encode(p->rq, p->exec, x, 1, 1, codes, NULL, &err), &err);
		else if (ping)
			bench_call(&s, stk_write_empty(s.out, STK_MSG_PING, bench_next(&s)), -1);
		else
			bench_encode(&s, &p->cb, x, 1, 1, file, codes);
		if (i >= 0)
			took[i] = bench_now() - began;
		if (ping || !p->worker || i % 100 != 0)
			continue;
		bench_check("encode", stk_rq_encode(p->rq, p->exec, x, 1, 1, here, NULL, &err), &err);
		if (memcmp(codes, here, sizeof(codes)) != 0)
			bench_check("codes differ from those computed here", STK_ECORRUPT, NULL);
	}
	if (p->worker)
	{
		bench_session_close(&s);
		close(file);
	}
}

static int
compare(const void *a, const void *b)
{
	double p = *(const double *) a, q = *(const double *) b;

	return (p > q) - (p < q);
}

/* Sessions at once, each a process of its own; returns the median in microseconds. */
static double
print_row(const char *name, const problem *p, bool ping, int sessions)
{
	size_t n = (size_t) sessions * (size_t) p->requests;
	double *took =
		mmap(NULL, n * sizeof(double), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double began = bench_now();
	double seconds, p50;

	if (took == MAP_FAILED)
		bench_check("memory", STK_ENOMEM, NULL);
	fflush(stdout);
	if (sessions == 1)
		session(p, ping, took);
	for (int i = 0; sessions > 1 && i < sessions; i++)
	{
		if (fork() == 0)
		{
			session(p, ping, took + (size_t) i * (size_t) p->requests);
			_exit(0);
		}
	}
	for (int i = 0; sessions > 1 && i < sessions; i++)
	{
		int status;

		if (wait(&status) < 0 || status != 0)
			bench_check("a session failed", STK_EIO, NULL);
	}
	seconds = bench_now() - began;
	qsort(took, n, sizeof(double), compare);
	p50 = took[n / 2] * 1e6;
	printf("%-34s %8d %9.1f %9.1f %9.1f %11.0f\n", name, sessions, p50, took[n * 99 / 100] * 1e6,
		   took[n - 1] * 1e6, (double) n / seconds);
	munmap(took, n * sizeof(double));
	return p50;
}

int
main(int argc, char **argv)
{
	const char *program = argc > 1 ? argv[1] : "src/worker/semtokd";
	problem p = {.rows = bench_rows_load("beauty", SIZE_MAX), .requests = REQUESTS};
	bench_codebook trained = bench_codebook_new(LEVELS, CODES, p.rows.dim);
	stk_rqkmeans_options opt = bench_options(&trained, EPOCHS, STK_INIT_RANDOM, 1);
	float *work = bench_copy(p.rows.x, p.rows.n * p.rows.dim);
	double one, eight, one_here, eight_here;
	bench_worker w;
	bench_exec e;
	stk_error err;

	printf("Round trip to semtokd: codes of one row, %d x %d codewords of %zu dimensions\n\n",
		   LEVELS, CODES, p.rows.dim);
	/* Without threads: sessions are forked, and a backend has none. */
	bench_exec_start(&e, STK_SIMD_AUTO, 1);
	p.exec = &e.exec;
	bench_train(p.exec, &opt, work, p.rows.n, &trained);
	p.cb = bench_store(LEVELS, CODES, (int) p.rows.dim, trained.codewords);
	bench_check("prepare", stk_rq_create(&p.cb.cb, p.exec, STK_FILTER_BEST, &p.rq, &err), &err);

	printf("%s; each session %d requests, one after the other\n", p.rows.name, REQUESTS);
	printf("%-34s %8s %9s %9s %9s %11s\n", "us", "sessions", "p50", "p99", "longest", "requests/s");
	one_here = print_row("stk_rq_encode in the process", &p, false, 1);
	w = bench_worker_start(program, NULL, MEMORY);
	p.worker = &w;
	print_row("private worker, ping", &p, true, 1);
	bench_worker_stop(&w);
	w = bench_worker_start(program, NULL, MEMORY);
	one = print_row("private worker, encode", &p, false, 1);
	bench_worker_stop(&w);
	w = bench_worker_start(program, SOCKET, MEMORY);
	print_row("shared worker, ping", &p, true, 1);
	print_row("shared worker, encode", &p, false, 1);
	p.requests = REQUESTS / SESSIONS * 2;
	eight = print_row("shared worker, encode", &p, false, SESSIONS);
	bench_worker_stop(&w);
	p.worker = NULL;
	eight_here = print_row("stk_rq_encode in the processes", &p, false, SESSIONS);
	printf("\noverhead of the worker, p50: %.1f us of one session, %.1f us of %d at once\n",
		   one - one_here, eight - eight_here, SESSIONS);
	bench_goal(one <= GOAL_US, "round trip of at most 60 us p50", "%.1f", one);
	return 0;
}
