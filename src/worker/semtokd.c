/*
 * semtokd: computes what backends ask for, in a process of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/faults.h"
#include "worker/log.h"
#include "worker/loop.h"
#include "worker/selftest.h"

/* Exit status for arguments that are not understood. */
#define EXIT_USAGE 2
/* Seconds: a day. */
#define MAX_REST 86400

static const char usage[] =
	"usage: semtokd --private | --listen PATH  --threads N --memory BYTES --batch-max N\n"
	"               --batch-wait-us N --cuda-devices all|none|0,1 --device-rest SECONDS\n"
	"       semtokd --selftest | --engines | --version\n"
	"The first form is for semtok in a PostgreSQL server, which starts it.\n";

/* A number of this option within its limits; false, with a line on standard error, otherwise. */
static bool
read_number(const char *option, const char *text, uint64_t low, uint64_t high, uint64_t *value)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno != 0 || v < low || v > high)
	{
		fprintf(stderr, "semtokd: %s must be %llu to %llu, not \"%s\"\n", option,
				(unsigned long long) low, (unsigned long long) high, text);
		return false;
	}
	*value = v;
	return true;
}

/* An option of the first form, and its value. */
static bool
read_option(stk_settings *s, const char *option, const char *value)
{
	uint64_t number = 0;
	bool ok;

	if (strcmp(option, "--threads") == 0)
	{
		ok = read_number(option, value, 1, STK_MAX_THREADS, &number);
		s->threads = (uint32_t) number;
	}
	else if (strcmp(option, "--memory") == 0)
		ok = read_number(option, value, 1 << 20, INT64_MAX, &s->memory);
	else if (strcmp(option, "--batch-max") == 0)
	{
		ok = read_number(option, value, 1, STK_MAX_BATCH, &number);
		s->batch_max = (uint32_t) number;
	}
	else if (strcmp(option, "--batch-wait-us") == 0)
	{
		ok = read_number(option, value, 0, UINT32_MAX, &number);
		s->batch_wait_us = (uint32_t) number;
	}
	else if (strcmp(option, "--device-rest") == 0)
	{
		ok = read_number(option, value, 0, MAX_REST, &number);
		s->device_rest = (uint32_t) number;
	}
	else if (strcmp(option, "--cuda-devices") == 0)
	{
		s->cuda_devices = value;
		ok = true;
	}
	else if (strcmp(option, "--listen") == 0)
	{
		s->listen_path = value;
		ok = true;
	}
	else
	{
		fprintf(stderr, "semtokd: unknown option \"%s\"\n%s", option, usage);
		ok = false;
	}
	return ok;
}

static bool
read_arguments(int argc, char **argv, stk_settings *s)
{
	bool one_client = false;

	for (int i = 1; i < argc; i++)
	{
		if (strcmp(argv[i], "--private") == 0)
			one_client = true;
		else if (i + 1 == argc)
		{
			fputs(usage, stderr);
			return false;
		}
		else if (!read_option(s, argv[i], argv[i + 1]))
			return false;
		else
			i++;
	}
	if (one_client != (s->listen_path == NULL) || s->threads == 0 || s->memory == 0 ||
		s->batch_max == 0)
	{
		fputs(usage, stderr);
		return false;
	}
	return true;
}

/*
 * Descriptor 0 is a stream socket, and 1 and 2 are open: nothing else of ours gets their numbers.
 */
static bool
check_descriptors(void)
{
	int type = 0;
	socklen_t length = sizeof(type);

	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		while (fcntl(fd, F_GETFD) < 0)
			if (open("/dev/null", O_RDWR) < 0)
				return false;
	return getsockopt(STDIN_FILENO, SOL_SOCKET, SO_TYPE, &type, &length) == 0 &&
		   type == SOCK_STREAM;
}

/* When memory is short the kernel shall take us rather than the server. */
static void
offer_to_die_first(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, "1000", 4) != 4)
		stk_log_line("could not raise oom_score_adj: %s", strerror(errno));
	close(fd);
}

/*
 * What is freed goes back to the system, so that the memory we take is what the budget counts:
 * large blocks one by one, and few heaps that keep small ones.
 */
static void
set_up_malloc(void)
{
#ifdef __GLIBC__
	mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	mallopt(M_TRIM_THRESHOLD, 128 * 1024);
	mallopt(M_ARENA_MAX, 2);
#endif
}

int
main(int argc, char **argv)
{
	stk_settings settings = {.cuda_devices = "all"};
	int status;

	if (argc == 2 && strcmp(argv[1], "--version") == 0)
	{
		puts("semtokd " SEMTOK_VERSION);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--engines") == 0)
		return stk_print_engines();
	if (argc == 2 && strcmp(argv[1], "--selftest") == 0)
		return stk_selftest();
	if (!read_arguments(argc, argv, &settings))
		return EXIT_USAGE;
	STK_FAULT(STK_STEP_START, 0, false);
	umask(077);
	if (!check_descriptors())
	{
		stk_log_line("descriptor 0 must be a stream socket");
		return EXIT_USAGE;
	}
	offer_to_die_first();
	set_up_malloc();
	status = stk_loop_run(&settings);
	/* Threads may be computing: nothing that they use is freed. */
	_exit(status);
}
