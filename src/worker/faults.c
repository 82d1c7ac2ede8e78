/*
 * Faults on purpose, for the tests; linked into no other build.
 */
#ifndef SEMTOK_FAULTS
#define SEMTOK_FAULTS
#endif

#include "worker/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/philox.h"
#include "worker/protocol.h"

#define FAULTS_FILE "semtok_faults"
#define FAULTS_MAX 16

typedef enum fault
{
	/* at any step */
	FAULT_SEGV,
	FAULT_ABORT,
	FAULT_EXIT,
	FAULT_STOP,        /* the whole process */
	FAULT_HANG,        /* this thread */
	FAULT_LATE,        /* this thread, for some ms */
	FAULT_DESCRIPTORS, /* none is left */
	FAULT_MEMORY,      /* none is left, until the next answer */
	FAULT_DISK,        /* none is left, until the next answer */
	FAULT_VALUES,      /* a result out of range */

	/* of messages */
	FAULT_GARBAGE, /* random bytes instead of it */
	FAULT_BODY,    /* a body of random bytes */
	FAULT_VERSION, /* the first number of the body */
	FAULT_REQUEST, /* another request's number */
	FAULT_EARLIER, /* the number of the request before */
	FAULT_KIND,    /* of a kind that answers nothing */
	FAULT_LENGTH,  /* a header that tells of more than there may be */
	FAULT_SHORT,   /* a body without its last bytes */
	FAULT_LONG,    /* a body of some bytes more */
	FAULT_HALF,    /* half of it, then the connection's end */
	FAULT_HALF_SEGV,
	FAULT_HALF_STOP,
	FAULT_DRIP,    /* byte by byte: nothing is wrong */
	FAULT_TRICKLE, /* byte by byte, a moment between two */
	FAULT_OTHER,   /* a pong about another request, each time */
	FAULT_TWICE,   /* a second time */
	FAULT_EXTRA,   /* after a message that nobody has asked for */
	FAULT_MORE,    /* before what is no message, in one go */
	FAULT_SWALLOW, /* not at all */

	/* FAILED instead of it, in the order of stk_failure */
	FAULT_FAILED_COMPUTATION,
	FAULT_FAILED_MEMORY,
	FAULT_FAILED_DATA,
	FAULT_FAILED_REQUEST,
	FAULT_FAILED_DEVICE,
	FAULT_FAILED_ENDING,
	FAULTS
} fault;

static const char *const fault_names[FAULTS] = {
	"segv",          "abort",       "exit",           "stop",          "hang",
	"late",          "descriptors", "memory",         "disk",          "values",
	"garbage",       "body",        "version",        "request",       "earlier",
	"kind",          "length",      "short",          "long",          "half",
	"half_segv",     "half_stop",   "drip",           "trickle",       "other",
	"twice",         "extra",       "more",           "swallow",       "failed_computation",
	"failed_memory", "failed_data", "failed_request", "failed_device", "failed_ending"};

static const char *const step_names[] = {"start",  "accept",  "header",    "descriptor",
										 "body",   "compute", "computing", "computed",
										 "answer", "answered"};
#define STEPS (sizeof(step_names) / sizeof(*step_names))

static const struct
{
	const char *name;
	int kind;
} kind_names[] = {{"hello", STK_MSG_HELLO},
				  {"ping", STK_MSG_PING},
				  {"statistics", STK_MSG_STATISTICS},
				  {"configure", STK_MSG_CONFIGURE},
				  {"load", STK_MSG_LOAD},
				  {"encode", STK_MSG_ENCODE},
				  {"train", STK_MSG_TRAIN},
				  {"trie", STK_MSG_TRIE},
				  {"search", STK_MSG_SEARCH},
				  {"welcome", STK_MSG_WELCOME},
				  {"pong", STK_MSG_PONG},
				  {"statistics_are", STK_MSG_STATISTICS_ARE},
				  {"done", STK_MSG_DONE},
				  {"missing", STK_MSG_MISSING},
				  {"codes", STK_MSG_CODES},
				  {"progress", STK_MSG_PROGRESS},
				  {"trained", STK_MSG_TRAINED},
				  {"found", STK_MSG_FOUND},
				  {"failed", STK_MSG_FAILED}};
#define KINDS (sizeof(kind_names) / sizeof(*kind_names))

typedef struct rule
{
	int line;
	stk_step step;
	int kind; /* 0 = any */
	fault fault;
	bool control;
	uint64_t first;
	uint64_t last; /* 0 = for ever */
	uint64_t every;
	int ms;
	int counter; /* a file, one byte for each pass */
} rule;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the next four */
static rule rules[FAULTS_MAX];
static int nrules;
static int met = -1;     /* descriptor of the file of those that were met */
static struct stat seen; /* the file; all zero = there was none */
static atomic_bool no_memory;
static atomic_bool no_disk;

/* A mistake in the file is a mistake in the test. */
static _Noreturn void
fault_refuse(int line, const char *what)
{
	fprintf(stderr, "semtokd[%d]: line %d of \"%s\": unknown \"%s\"\n", (int) getpid(), line,
			FAULTS_FILE, what);
	_exit(2);
}

static int
fault_lookup(const char *const *names, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

static int
fault_kind(const char *name)
{
	for (size_t i = 0; i < KINDS; i++)
		if (strcmp(kind_names[i].name, name) == 0)
			return kind_names[i].kind;
	return -1;
}

static int
fault_open(const char *ending)
{
	char name[64];

	snprintf(name, sizeof(name), "%s.%s", FAULTS_FILE, ending);
	return open(name, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void
fault_parse(int line, char *text)
{
	char *rest;
	char *step = strtok_r(text, " \n", &rest);
	char *name = strtok_r(NULL, " \n", &rest);
	char *kind = step ? strchr(step, ':') : NULL;
	char number[16];
	rule r = {.line = line, .first = 1, .every = 1, .ms = 100};
	int i;

	if (!step)
		return;
	if (kind)
	{
		*kind++ = '\0';
		r.kind = fault_kind(kind);
		if (r.kind < 0)
			fault_refuse(line, kind);
	}
	i = fault_lookup(step_names, STEPS, step);
	if (i < 0)
		fault_refuse(line, step);
	r.step = (stk_step) i;
	i = name ? fault_lookup(fault_names, FAULTS, name) : -1;
	if (i < 0)
		fault_refuse(line, name ? name : "end of line");
	r.fault = (fault) i;

	for (char *word = strtok_r(NULL, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest))
	{
		char *value = strchr(word, '=');

		if (value)
			*value++ = '\0';
		if (!value && strcmp(word, "control") == 0)
			r.control = true;
		else if (value && strcmp(word, "first") == 0)
			r.first = strtoull(value, NULL, 10);
		else if (value && strcmp(word, "last") == 0)
			r.last = strtoull(value, NULL, 10);
		else if (value && strcmp(word, "every") == 0 && atoi(value) > 0)
			r.every = strtoull(value, NULL, 10);
		else if (value && strcmp(word, "ms") == 0)
			r.ms = atoi(value);
		else
			fault_refuse(line, word);
	}
	snprintf(number, sizeof(number), "%d", line);
	r.counter = fault_open(number);
	if (r.counter < 0 || nrules == FAULTS_MAX)
		fault_refuse(line, "room");
	rules[nrules++] = r;
}

/* Read the file, if it is another than it was. Under the lock. */
static void
fault_read(void)
{
	struct stat now = {0};
	bool there = stat(FAULTS_FILE, &now) == 0;
	char text[256];
	FILE *file;

	if (now.st_ino == seen.st_ino && now.st_mtim.tv_sec == seen.st_mtim.tv_sec &&
		now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec)
		return;
	seen = now;
	while (nrules > 0)
		close(rules[--nrules].counter);
	if (met >= 0)
		close(met);
	met = -1;
	file = there ? fopen(FAULTS_FILE, "r") : NULL;
	if (!file)
		return;
	met = fault_open("met");
	for (int line = 1; fgets(text, sizeof(text), file); line++)
		fault_parse(line, text);
	fclose(file);
}

/* Does this pass meet the rule's fault? Appending tells which pass over all processes it is. */
static bool
fault_due(const rule *r)
{
	char note[80];
	uint64_t pass;
	int n;

	if (write(r->counter, ".", 1) != 1)
		return false;
	pass = (uint64_t) lseek(r->counter, 0, SEEK_CUR);
	if (pass < r->first || (r->last > 0 && pass > r->last) || (pass - r->first) % r->every != 0)
		return false;
	n = snprintf(note, sizeof(note), "%d %s %s\n", r->line, step_names[r->step],
				 fault_names[r->fault]);
	return write(met, note, (size_t) n) == n;
}

/* What this pass meets: due [FAULTS_MAX]. Returns how many. */
static int
fault_pass(stk_step step, int kind, bool control, bool values, rule *due)
{
	int n = 0;

	pthread_mutex_lock(&lock);
	fault_read();
	for (int i = 0; i < nrules; i++)
		if (rules[i].step == step && rules[i].control == control &&
			(rules[i].kind == 0 || rules[i].kind == kind) &&
			(rules[i].fault == FAULT_VALUES) == values && fault_due(&rules[i]))
			due[n++] = rules[i];
	pthread_mutex_unlock(&lock);
	return n;
}

static void
fault_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
	{
		limit.rlim_cur = limit.rlim_cur < 256 ? limit.rlim_cur : 256;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
		;
}

/* A fault of the process or of this thread; false for those of messages and results. */
static bool
fault_happen(const rule *r)
{
	struct timespec ms = {r->ms / 1000, r->ms % 1000 * 1000000L};

	switch (r->fault)
	{
		case FAULT_SEGV:
			signal(SIGSEGV, SIG_DFL);
			raise(SIGSEGV);
			return true;
		case FAULT_ABORT:
			abort();
		case FAULT_EXIT:
			_exit(0);
		case FAULT_STOP:
			kill(getpid(), SIGSTOP);
			return true;
		case FAULT_HANG:
			for (;;)
				pause();
		case FAULT_LATE:
			nanosleep(&ms, NULL);
			return true;
		case FAULT_DESCRIPTORS:
			fault_descriptors();
			return true;
		case FAULT_MEMORY:
			atomic_store(&no_memory, true);
			return true;
		case FAULT_DISK:
			atomic_store(&no_disk, true);
			return true;
		default:
			return false;
	}
}

void
stk_fault(stk_step step, int kind, bool control)
{
	rule due[FAULTS_MAX];
	int n = fault_pass(step, kind, control, false, due);

	for (int i = 0; i < n; i++)
		fault_happen(&due[i]);
}

void
stk_fault_result(int kind, void *data, size_t bytes)
{
	rule due[FAULTS_MAX];

	if (fault_pass(STK_STEP_COMPUTED, kind, false, true, due) > 0)
		memset(data, 0xff, bytes); /* a code that no codebook has, or not a number */
}

bool
stk_fault_memory(void)
{
	return atomic_load(&no_memory);
}

bool
stk_fault_fast_device(void)
{
	return access("semtok_fast_device", F_OK) == 0;
}

bool
stk_fault_disk(void)
{
	return atomic_load(&no_disk);
}

/* All of it, whatever the queue of the connection does. False when nobody is there any more. */
static bool
fault_write(int fd, const uint8_t *data, size_t bytes)
{
	struct pollfd room = {.fd = fd, .events = POLLOUT};

	while (bytes > 0)
	{
		ssize_t n = send(fd, data, bytes, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		if (n < 0)
		{
			poll(&room, 1, 1000);
			continue;
		}
		data += n;
		bytes -= (size_t) n;
	}
	return true;
}

/* The same bytes in every run. */
static void
fault_random(uint8_t *data, size_t bytes)
{
	const uint32_t key[2] = {7, 0};
	uint32_t counter[4] = {0};
	uint32_t random[4];

	for (size_t i = 0; i < bytes; i++)
	{
		if (i % sizeof(random) == 0)
		{
			stk_philox(counter, key, random);
			counter[0]++;
		}
		data[i] = ((const uint8_t *) random)[i % sizeof(random)];
	}
}

static void
fault_failed(uint8_t *message, size_t *bytes, uint64_t request, stk_failure failure)
{
	stk_failed failed = {.failure = failure, .row = UINT64_MAX, .level = -1};

	if (failure == STK_FAILED_COMPUTATION)
	{
		failed.status = STK_ERANGE;
		snprintf(failed.message, sizeof(failed.message), "a fault on purpose");
	}
	*bytes = stk_write_failed(message, request, &failed);
}

/* A fault of a message that is about to go out. */
static void
fault_message(fault f, int fd, uint8_t *message, size_t *bytes, stk_header *h)
{
	static uint64_t others = 0;
	const struct timespec moment = {.tv_nsec = 20000000};
	uint8_t other[STK_HEADER_BYTES];
	size_t half = *bytes / 2;
	stk_pong pong;

	switch (f)
	{
		case FAULT_GARBAGE:
			fault_random(message, *bytes);
			break;
		case FAULT_BODY:
			fault_random(message + STK_HEADER_BYTES, *bytes - STK_HEADER_BYTES);
			break;
		case FAULT_VERSION:
			memset(message + STK_HEADER_BYTES, 0xff, sizeof(uint16_t));
			break;
		case FAULT_REQUEST:
			h->request += 1000000;
			stk_write_header(message, h);
			break;
		case FAULT_EARLIER:
			h->request--;
			stk_write_header(message, h);
			break;
		case FAULT_KIND:
			h->kind = h->kind == STK_MSG_DONE ? STK_MSG_PONG : STK_MSG_DONE;
			stk_write_header(message, h);
			break;
		case FAULT_LENGTH:
			h->bytes = UINT32_MAX - 7;
			stk_write_header(message, h);
			break;
		case FAULT_SHORT:
			h->bytes -= h->bytes < 3 ? h->bytes : 3;
			*bytes = STK_HEADER_BYTES + h->bytes;
			stk_write_header(message, h);
			break;
		case FAULT_LONG:
			if (h->bytes > STK_BODY_MAX - 8)
				break;
			memset(message + *bytes, 0, 8);
			h->bytes += 8;
			*bytes += 8;
			stk_write_header(message, h);
			break;
		case FAULT_HALF:
		case FAULT_HALF_SEGV:
		case FAULT_HALF_STOP:
			fault_write(fd, message, half);
			if (f == FAULT_HALF_SEGV)
				raise(SIGSEGV);
			if (f == FAULT_HALF_STOP)
				raise(SIGSTOP);
			shutdown(fd, SHUT_RDWR);
			break;
		case FAULT_DRIP:
			for (size_t i = 0; i < *bytes; i++)
				fault_write(fd, message + i, 1);
			*bytes = 0;
			break;
		case FAULT_TRICKLE:
			for (size_t i = 0; i < *bytes && fault_write(fd, message + i, 1); i++)
				nanosleep(&moment, NULL);
			*bytes = 0;
			break;
		case FAULT_OTHER:
			if (stk_read_pong(message + STK_HEADER_BYTES, h->bytes, &pong, NULL) != STK_OK ||
				pong.state == STK_WORK_NONE)
				break;
			pong.request += ++others;
			stk_write_pong(message, h->request, &pong);
			break;
		case FAULT_TWICE:
			fault_write(fd, message, *bytes);
			break;
		case FAULT_EXTRA:
			fault_write(fd, other, stk_write_empty(other, STK_MSG_DONE, h->request + 1));
			break;
		case FAULT_MORE:
			if (*bytes > STK_BODY_MAX)
				break;
			fault_random(message + *bytes, STK_HEADER_BYTES);
			*bytes += STK_HEADER_BYTES;
			break;
		case FAULT_SWALLOW:
			*bytes = 0;
			break;
		default:
			if (f >= FAULT_FAILED_COMPUTATION)
				fault_failed(message, bytes, h->request,
							 (stk_failure) (STK_FAILED_COMPUTATION + f - FAULT_FAILED_COMPUTATION));
			break;
	}
}

void
stk_fault_answer(int fd, uint8_t *message, size_t *bytes, bool control)
{
	rule due[FAULTS_MAX];
	stk_header h;
	int n;

	if (stk_read_header(message, &h, NULL) != STK_OK)
		return;
	atomic_store(&no_memory, false);
	atomic_store(&no_disk, false);
	n = fault_pass(STK_STEP_ANSWER, h.kind, control, false, due);
	for (int i = 0; i < n && *bytes != 0; i++)
		if (!fault_happen(&due[i]))
			fault_message(due[i].fault, fd, message, bytes, &h);
}
