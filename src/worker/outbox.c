#include "worker/outbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct stk_outbox
{
	pthread_mutex_t lock;
	pthread_cond_t read; /* reports were read, or a launch was cancelled */
	stk_letter *first;
	stk_letter **last;
	int fd;
	uint64_t patience_ms;
};

stk_status
stk_outbox_create(uint64_t patience_ms, stk_outbox **out)
{
	stk_outbox *o = calloc(1, sizeof(*o));
	pthread_condattr_t attr;

	if (!o)
		return STK_ENOMEM;
	o->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (o->fd < 0)
	{
		free(o);
		return STK_ENOMEM;
	}
	o->patience_ms = patience_ms;
	o->last = &o->first;
	pthread_mutex_init(&o->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&o->read, &attr);
	pthread_condattr_destroy(&attr);
	*out = o;
	return STK_OK;
}

int
stk_outbox_fd(const stk_outbox *o)
{
	return o->fd;
}

/* With the lock held. */
static void
post(stk_outbox *o, stk_letter *letter)
{
	letter->next = NULL;
	*o->last = letter;
	o->last = &letter->next;
	/* It never blocks: the counter is far from its end. */
	if (eventfd_write(o->fd, 1) != 0)
		return;
}

/* Wait until fewer reports are unread; false when the launch is to stop. With the lock held. */
static bool
wait_for_reader(stk_outbox *o, stk_launch *l)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t) (o->patience_ms / 1000);
	until.tv_nsec += (long) (o->patience_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000)
	{
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	while (l->unread >= STK_OUTBOX_UNREAD && !atomic_load(&l->cancelled))
	{
		if (pthread_cond_timedwait(&o->read, &o->lock, &until) == ETIMEDOUT)
		{
			l->unheard = true;
			atomic_store(&l->cancelled, true);
		}
	}
	return !atomic_load(&l->cancelled);
}

void
stk_outbox_report(stk_outbox *o, stk_launch *l, const stk_train_report *r)
{
	uint8_t message[STK_HEADER_BYTES + STK_BODY_MAX];
	size_t bytes = stk_write_progress(message, l->jobs->message.header.request, r);
	stk_letter *letter = malloc(sizeof(*letter) + bytes);

	/* A report less is no harm to the result, but a log that lacks one would be. */
	if (!letter)
	{
		atomic_store(&l->cancelled, true);
		l->unheard = true;
		return;
	}
	letter->launch = l;
	letter->bytes = bytes;
	memcpy(letter->message, message, bytes);
	pthread_mutex_lock(&o->lock);
	if (wait_for_reader(o, l))
	{
		l->unread++;
		post(o, letter);
		letter = NULL;
	}
	pthread_mutex_unlock(&o->lock);
	free(letter);
}

void
stk_outbox_ended(stk_outbox *o, stk_launch *l)
{
	stk_letter *letter = l->last;

	letter->launch = l;
	letter->bytes = 0;
	pthread_mutex_lock(&o->lock);
	post(o, letter);
	pthread_mutex_unlock(&o->lock);
}

stk_letter *
stk_outbox_take(stk_outbox *o)
{
	eventfd_t count;
	stk_letter *letters;

	pthread_mutex_lock(&o->lock);
	letters = o->first;
	o->first = NULL;
	o->last = &o->first;
	/* Nothing to read is no error here. */
	(void) !eventfd_read(o->fd, &count);
	pthread_mutex_unlock(&o->lock);
	return letters;
}

void
stk_outbox_read(stk_outbox *o, stk_launch *l, unsigned reports)
{
	pthread_mutex_lock(&o->lock);
	l->unread -= reports;
	pthread_cond_broadcast(&o->read);
	pthread_mutex_unlock(&o->lock);
}

void
stk_outbox_cancel(stk_outbox *o, stk_launch *l)
{
	pthread_mutex_lock(&o->lock);
	atomic_store(&l->cancelled, true);
	pthread_cond_broadcast(&o->read);
	pthread_mutex_unlock(&o->lock);
}
