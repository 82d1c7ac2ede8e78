/*
 * What semtokd keeps to: fifty tokenizers used in turn by four sessions, greedily and with a beam,
 * under a budget that holds a few of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/bench.h"
#include "common/data.h"
#include "core/rq.h"
#include "worker/common/client.h"

#define LEVELS 3
#define CODES 256
#define TOKENIZERS 50
#define SESSIONS 4
#define ROUNDS 3
#define ROWS 2048
#define BEAM 5
#define SOCKET "tmp/bench-memory.sock"

/* A kB figure of a process; 0 when there is none. */
static double
process_kb(pid_t pid, const char *name)
{
	char path[64], line[256];
	double kb = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", (int) pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, name, strlen(name)) == 0)
			kb = strtod(line + strlen(name) + 1, NULL);
	if (file)
		fclose(file);
	return kb;
}

/*
 * Codewords are rows of the data, other ones for each tokenizer: how good they are does not matter.
 */
static bench_stored
tokenizer(const bench_rows *rows, int number)
{
	size_t floats = (size_t) LEVELS * CODES * rows->dim;
	float *codewords = bench_alloc(floats, sizeof(float));
	bench_stored s;

	for (size_t i = 0; i < (size_t) LEVELS * CODES; i++)
	{
		const float *x = rows->x + (i * 13 + (size_t) number * 7) % rows->n * rows->dim;

		for (size_t d = 0; d < rows->dim; d++)
			codewords[i * rows->dim + d] = x[d] / (float) (1 << i / CODES);
	}
	s = bench_store(LEVELS, CODES, (int) rows->dim, codewords);
	free(codewords);
	return s;
}

static void
session(const bench_worker *w, const bench_rows *rows, const bench_stored *cb, int number)
{
	bench_session s = bench_session_open(w);
	uint16_t *codes = bench_alloc((size_t) ROWS * LEVELS, sizeof(uint16_t));
	int file = bench_data_file();

	for (int i = 0; i < ROUNDS * TOKENIZERS; i++)
		bench_encode(&s, &cb[(i + number * TOKENIZERS / SESSIONS) % TOKENIZERS], rows->x, ROWS,
					 i % 2 ? BEAM : 1, file, codes);
	close(file);
	free(codes);
	bench_session_close(&s);
}

static stk_statistics
statistics(const bench_worker *w)
{
	bench_session s = bench_session_open(w);
	stk_statistics m;
	stk_error err;

	bench_call(&s, stk_write_empty(s.out, STK_MSG_STATISTICS, bench_next(&s)), -1);
	bench_check("statistics", stk_read_statistics(s.in, s.header.bytes, &m, &err), &err);
	bench_session_close(&s);
	return m;
}

/* Use all in turn under a budget of so many MB; returns the peak as a share of the budget. */
static double
print_row(const char *program, const bench_rows *rows, const bench_stored *cb, uint64_t budget)
{
	bench_worker w = bench_worker_start(program, SOCKET, budget << 20);
	stk_statistics s = statistics(&w);
	double before = process_kb(w.pid, "VmRSS") / 1024;
	double began = bench_now();
	double seconds, peak;

	fflush(stdout);
	for (int i = 0; i < SESSIONS; i++)
	{
		if (fork() == 0)
		{
			session(&w, rows, cb, i);
			_exit(0);
		}
	}
	for (int i = 0; i < SESSIONS; i++)
	{
		int status;

		if (wait(&status) < 0 || status != 0)
			bench_check("a session failed", STK_EIO, NULL);
	}
	seconds = bench_now() - began;
	peak = process_kb(w.pid, "VmHWM") / 1024;
	s = statistics(&w);
	printf("%8llu %10.1f %10.1f %8.2f %12.1f %10u %10llu %9.1f\n", (unsigned long long) budget,
		   before, peak, peak / (double) budget, (double) s.memory_used / 1048576, s.codebooks,
		   (unsigned long long) s.requests, seconds);
	bench_worker_stop(&w);
	return peak / (double) budget;
}

int
main(int argc, char **argv)
{
	const char *program = argc > 1 ? argv[1] : "src/worker/semtokd";
	static const uint64_t budgets[] = {64, 128, 1024};
	bench_rows rows = bench_rows_load("beauty", SIZE_MAX);
	bench_stored cb[TOKENIZERS];
	double worst = 0;

	printf("Memory of semtokd: %d tokenizers of %d x %d codewords of %zu dimensions in turn\n\n",
		   TOKENIZERS, LEVELS, CODES, rows.dim);
	for (int i = 0; i < TOKENIZERS; i++)
		cb[i] = tokenizer(&rows, i);
	printf("%s; %d sessions, each %d rounds of all, %d rows a request, every other with a beam of "
		   "%d\n",
		   rows.name, SESSIONS, ROUNDS, ROWS, BEAM);
	printf("%8s %10s %10s %8s %12s %10s %10s %9s\n", "budget", "MB before", "MB peak", "of it",
		   "MB counted", "codebooks", "requests", "seconds");
	for (size_t i = 0; i < sizeof(budgets) / sizeof(budgets[0]); i++)
	{
		double share = print_row(program, &rows, cb, budgets[i]);

		if (share > worst)
			worst = share;
	}
	putchar('\n');
	bench_goal(worst <= 1.1, "peak of at most 1.1 times the budget", "%.2f", worst);
	return 0;
}
