#include "bench.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_TIMES 64

double
bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

static int
compare_seconds(const void *a, const void *b)
{
	double p = *(const double *) a;
	double q = *(const double *) b;

	return (p > q) - (p < q);
}

bench_time
bench_measure(int times, void (*work)(void *arg), void *arg)
{
	double took[MOST_TIMES];

	if (times > MOST_TIMES)
		times = MOST_TIMES;
	for (int i = 0; i < times; i++)
	{
		double began = bench_now();

		work(arg);
		took[i] = bench_now() - began;
	}
	qsort(took, (size_t) times, sizeof(double), compare_seconds);
	return (bench_time){took[0], (took[(times - 1) / 2] + took[times / 2]) / 2};
}

void
bench_check(const char *what, stk_status status, const stk_error *err)
{
	if (status == STK_OK)
		return;
	fprintf(stderr, "%s: status %d%s%s\n", what, (int) status, err ? ": " : "",
			err ? err->message : "");
	exit(1);
}

void *
bench_alloc(size_t n, size_t size)
{
	void *p = stk_alloc_array(&stk_malloc, n, size);

	if (!p)
		bench_check("memory", STK_ENOMEM, NULL);
	return p;
}

bool
bench_exec_start(bench_exec *e, stk_simd simd, int threads)
{
	memset(e, 0, sizeof(*e));
	if (stk_cpu_choose(simd, &e->cpu, NULL) != STK_OK)
		return false;
	e->exec = (stk_exec){.a = stk_malloc, .cpu = &e->cpu};
	if (threads > 1)
	{
		bench_check("threads", stk_crew_start(threads, &e->threads), NULL);
		e->exec.pool = stk_crew_pool(e->threads, STK_BACKGROUND);
	}
	return true;
}

void
bench_exec_stop(bench_exec *e)
{
	stk_crew_stop(e->threads);
}

void
bench_goal(bool met, const char *goal, const char *format, ...)
{
	va_list args;

	printf("%-6s  %s: ", met ? "met" : "MISSED", goal);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

void
bench_goal_open(const char *goal, const char *why)
{
	printf("open    %s: %s\n", goal, why);
}

/* A kB figure of this process; NAN when there is none. */
static double
status_kb(const char *name)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];
	double kb = NAN;

	while (file && fgets(line, sizeof(line), file))
	{
		if (strncmp(line, name, strlen(name)) == 0)
			kb = strtod(line + strlen(name) + 1, NULL);
	}
	if (file)
		fclose(file);
	return kb;
}

double
bench_memory(void (*work)(void *arg), void *arg)
{
	double kb = NAN;
	int ends[2];
	pid_t child;

	fflush(stdout);
	if (pipe(ends) != 0)
		return NAN;
	child = fork();
	if (child == 0)
	{
		double before = status_kb("VmRSS");
		ssize_t written;

		work(arg);
		kb = status_kb("VmHWM") - before;
		written = write(ends[1], &kb, sizeof(kb));
		_exit(written == (ssize_t) sizeof(kb) ? 0 : 1);
	}
	close(ends[1]);
	if (child < 0 || read(ends[0], &kb, sizeof(kb)) != (ssize_t) sizeof(kb))
		kb = NAN;
	close(ends[0]);
	if (child > 0)
		waitpid(child, NULL, 0);
	return kb;
}
