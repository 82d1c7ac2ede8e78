#include "worker/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "worker/device.h"
#include "worker/faults.h"
#include "worker/listener.h"
#include "worker/log.h"
#include "worker/schedule.h"
#include "worker/session.h"

#define MAX_EVENTS 64
/* Memory for what the loop computes itself. */
#define LOOP_BYTES ((uint64_t) 256 << 10)
/* Clients at most, however many descriptors there may be. */
#define MAX_SESSIONS 8192
/* Descriptors of the program's own. */
#define OWN_DESCRIPTORS 32
/* How long a training waits for a client that does not read its reports, ms. */
#define REPORT_PATIENCE_MS 60000
/* Until accepting is tried again when descriptors are short, ms. */
#define ACCEPT_AGAIN_MS 100
/*
 * A computation that was cancelled looks at its monitor within some 100 ms. One that goes on will
 * never give its runner back, and clients would wait for good: then the program ends, to be started
 * again. Looked at once a second.
 */
#define STUCK_NS ((uint64_t) 5000000000)
#define STUCK_LOOK_MS 1000
#define EXIT_STUCK 3

/* Written to by a signal that says stop. */
static int stop_fd = -1;

uint64_t
stk_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static void
on_stop(int signal_number)
{
	int saved = errno;

	(void) signal_number;
	(void) !eventfd_write(stop_fd, 1);
	errno = saved;
}

static stk_status
catch_signals(void)
{
	struct sigaction stop = {.sa_handler = on_stop};
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (stop_fd < 0)
		return STK_ENOMEM;
	sigemptyset(&stop.sa_mask);
	sigemptyset(&ignore.sa_mask);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGPIPE, &ignore, NULL);
	return STK_OK;
}

/* Wait for what can be read from fd; ptr names it. */
static bool
watch(stk_server *s, int fd, void *ptr)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = ptr};

	return fd >= 0 && epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* As many descriptors as we may have; each client may need some for its files. */
static unsigned
session_limit(void)
{
	struct rlimit limit;
	rlim_t sessions;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 1;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur <= OWN_DESCRIPTORS)
		return 1;
	sessions = (limit.rlim_cur - OWN_DESCRIPTORS) / 3;
	return sessions < MAX_SESSIONS ? (unsigned) sessions + 1 : MAX_SESSIONS;
}

/* Everything that computing needs. */
static stk_status
open_shop(stk_server *s, stk_error *err)
{
	stk_shop *shop = &s->shop;
	stk_status status = stk_budget_create(s->settings.memory, &shop->budget);

	if (status == STK_OK)
		status = stk_cache_create(shop->budget, &shop->cache);
	if (status == STK_OK)
		status = stk_cpu_choose(STK_SIMD_AUTO, &shop->cpu, err);
	if (status == STK_OK)
		status = stk_engine_cpu_open(&stk_malloc, &shop->cores, err);
	if (status == STK_OK)
		stk_device_open(s);
	if (status == STK_OK)
		status = stk_outbox_create(REPORT_PATIENCE_MS, &shop->outbox);
	if (status == STK_OK)
		status = stk_runners_start(shop, &s->runners);
	if (status == STK_OK)
		status = stk_team_start((int) s->settings.threads, &s->team);
	if (status == STK_OK)
		status = stk_speeds_measure(shop, stk_team_pool(s->team, STK_URGENT), &s->speeds);
	if (status == STK_OK && !stk_purse_open(&s->purse, shop->budget, LOOP_BYTES))
		status = STK_ENOMEM;
	return status;
}

static stk_status
start(stk_server *s, stk_error *err)
{
	stk_status status = catch_signals();

	if (status == STK_OK)
		status = open_shop(s, err);
	if (status != STK_OK)
		return status;
	s->max_sessions = session_limit();
	s->listener = -1;
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (s->epoll < 0 || !watch(s, s->timer, &s->timer) || !watch(s, stop_fd, &stop_fd) ||
		!watch(s, stk_outbox_fd(s->shop.outbox), &s->shop.outbox))
		return stk_fail(err, STK_EIO, "could not wait for events: %s", strerror(errno));
	if (s->settings.listen_path)
		status = stk_listener_open(s->settings.listen_path, &s->listener, err);
	if (status == STK_OK && s->listener >= 0 && !watch(s, s->listener, &s->listener))
		status = stk_fail(err, STK_EIO, "could not wait for clients: %s", strerror(errno));
	if (status == STK_OK && !stk_session_open(s, STDIN_FILENO, true))
		status = stk_fail(err, STK_EIO, "could not wait for descriptor 0: %s", strerror(errno));
	return status;
}

/* Hear the listener, or leave clients waiting there. */
static void
listen_again(stk_server *s, bool hear)
{
	struct epoll_event event = {.events = hear ? EPOLLIN : 0, .data.ptr = &s->listener};

	s->deaf = !hear;
	if (epoll_ctl(s->epoll, EPOLL_CTL_MOD, s->listener, &event) != 0)
		stk_log_line("could not wait for clients: %s", strerror(errno));
}

/* Take in one client. One too many is turned away at once rather than left waiting. */
static void
accept_client(stk_server *s)
{
	int fd = stk_listener_accept(s->listener);

	if (fd >= 0 && s->nsessions > s->max_sessions)
	{
		stk_log_line("turning a client away: there are %u", s->nsessions);
		close(fd);
	}
	else if (fd >= 0)
	{
		STK_FAULT(STK_STEP_ACCEPT, 0, false);
		s->short_of_files = false;
		(void) stk_session_open(s, fd, false);
	}
	else if (errno != EAGAIN && errno != EWOULDBLOCK)
	{
		/* Once, however long it takes. */
		if (!s->short_of_files)
			stk_log_line("could not accept a client: %s", strerror(errno));
		s->short_of_files = true;
		listen_again(s, false);
	}
}

static void
serve_session(stk_server *s, stk_session *session, uint32_t events)
{
	if ((events & (EPOLLERR | EPOLLHUP)) ||
		((events & EPOLLRDHUP) && !(session->interest & EPOLLIN)))
		stk_session_end(s, session);
	if ((events & EPOLLOUT) && !session->ended)
		stk_session_write(s, session);
	if ((events & EPOLLIN) && (session->interest & EPOLLIN) && !session->ended)
		stk_session_read(s, session);
}

static void
serve(stk_server *s, const struct epoll_event *event)
{
	uint64_t expired;

	if (event->data.ptr == &stop_fd)
		s->ending = true;
	else if (event->data.ptr == &s->timer)
		(void) !read(s->timer, &expired, sizeof(expired));
	else if (event->data.ptr == &s->shop.outbox)
		stk_schedule_collect(s);
	else if (event->data.ptr == &s->listener)
		accept_client(s);
	else
		serve_session(s, event->data.ptr, event->events);
}

/* Look at the sessions about which something has changed. */
static void
settle(stk_server *s)
{
	while (s->touched)
	{
		stk_session *session = s->touched;

		s->touched = session->touched_next;
		stk_session_settle(s, session);
	}
}

/* Until something is to be looked at without an event, ms. */
static int
time_to_wait(const stk_server *s)
{
	if (s->deaf)
		return ACCEPT_AGAIN_MS;
	return s->cancelled > 0 || s->device_failed_ns > 0 ? STUCK_LOOK_MS : -1;
}

int
stk_loop_run(const stk_settings *settings)
{
	stk_server *s = calloc(1, sizeof(*s));
	stk_error err = {.message = "out of memory", .row = SIZE_MAX, .level = -1};

	if (!s)
		return 1;
	s->settings = *settings;
	if (start(s, &err) != STK_OK)
	{
		stk_log_line("could not start: %s", err.message);
		return 1;
	}
	while (!s->ending)
	{
		struct epoll_event events[MAX_EVENTS];
		int n = epoll_wait(s->epoll, events, MAX_EVENTS, time_to_wait(s));

		if (n < 0 && errno != EINTR)
		{
			stk_log_line("could not wait for events: %s", strerror(errno));
			return 1;
		}
		if (s->deaf)
			listen_again(s, true);
		for (int i = 0; i < n; i++)
			serve(s, &events[i]);
		/* Each may leave something to the other: a request that waited becomes a job. */
		stk_schedule(s);
		while (s->touched)
		{
			settle(s);
			stk_schedule(s);
		}
		if (s->cancelled > 0 && stk_runners_stuck(s->runners, stk_now_ns(), STUCK_NS))
		{
			stk_log_line("a computation does not end although it was cancelled: ending");
			return EXIT_STUCK;
		}
		if (s->device_failed_ns > 0 && stk_device_begins_anew(s))
			return STK_EXIT_DEVICE;
	}
	return 0;
}
