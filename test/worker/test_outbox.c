/* outbox: reports wait for their reader, and not for good. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "worker/outbox.h"

/* A launch that reports from a thread of its own. */
typedef struct talker
{
	stk_outbox *outbox;
	stk_job job;
	stk_launch launch;
	int reports;
	atomic_int said;
	pthread_t thread;
} talker;

static void *
talk(void *arg)
{
	talker *t = arg;
	stk_train_report r = {.level = 0};

	for (int i = 0; i < t->reports && !atomic_load(&t->launch.cancelled); i++)
	{
		r.epoch = i + 1;
		stk_outbox_report(t->outbox, &t->launch, &r);
		atomic_fetch_add(&t->said, 1);
	}
	stk_outbox_ended(t->outbox, &t->launch);
	return NULL;
}

/* They live as long as the program, so nobody frees them; volatile, so that they are kept here. */
static stk_outbox *volatile outboxes[3];

static void
begin(talker *t, stk_outbox *outbox, int reports)
{
	memset(t, 0, sizeof(*t));
	t->outbox = outbox;
	t->reports = reports;
	t->job.message.header.request = 5;
	t->launch.jobs = &t->job;
	t->launch.last = malloc(sizeof(stk_letter));
	assert_int_equal(pthread_create(&t->thread, NULL, talk, t), 0);
}

/* Take all letters until the launch has ended, letting it go on after each; how many reports. */
static int
hear(talker *t)
{
	int heard = 0;

	for (;;)
	{
		struct pollfd p = {.fd = stk_outbox_fd(t->outbox), .events = POLLIN};
		stk_letter *next;
		bool ended = false;

		assert_true(poll(&p, 1, 120000) > 0);
		for (stk_letter *letter = stk_outbox_take(t->outbox); letter; letter = next)
		{
			stk_header h;

			next = letter->next;
			assert_false(ended);
			assert_ptr_equal(letter->launch, &t->launch);
			ended = letter->bytes == 0;
			if (!ended)
			{
				assert_int_equal(stk_read_header(letter->message, &h, NULL), STK_OK);
				assert_int_equal(h.kind, STK_MSG_PROGRESS);
				assert_int_equal(h.request, 5);
				heard++;
				stk_outbox_read(t->outbox, &t->launch, 1);
			}
			free(letter);
		}
		if (ended)
			break;
	}
	pthread_join(t->thread, NULL);
	return heard;
}

static void
every_report_is_heard(void **state)
{
	stk_outbox *outbox;
	talker t;

	(void) state;
	assert_int_equal(stk_outbox_create(120000, &outbox), STK_OK);
	outboxes[0] = outbox;
	begin(&t, outbox, 5000);
	/* It gets as far as this, and no farther, until somebody reads. */
	while (atomic_load(&t.said) < STK_OUTBOX_UNREAD)
		sched_yield();
	for (int i = 0; i < 1000; i++)
		sched_yield();
	assert_int_equal(atomic_load(&t.said), STK_OUTBOX_UNREAD);
	assert_int_equal(hear(&t), 5000);
	assert_false(t.launch.unheard);
	assert_int_equal(t.launch.unread, 0);
}

static void
nobody_hears(void **state)
{
	stk_outbox *outbox;
	talker t;

	(void) state;
	assert_int_equal(stk_outbox_create(50, &outbox), STK_OK);
	outboxes[1] = outbox;
	begin(&t, outbox, 5000);
	pthread_join(t.thread, NULL);
	assert_true(t.launch.unheard);
	assert_true(atomic_load(&t.launch.cancelled));

	stk_letter *letter = stk_outbox_take(outbox);
	int letters = 0;

	while (letter)
	{
		stk_letter *next = letter->next;

		letters++;
		free(letter);
		letter = next;
	}
	assert_int_equal(letters, STK_OUTBOX_UNREAD + 1);
}

/* One that waits for its reader goes when it is cancelled. */
static void
cancelled_while_waiting(void **state)
{
	stk_outbox *outbox;
	talker t;

	(void) state;
	assert_int_equal(stk_outbox_create(120000, &outbox), STK_OK);
	outboxes[2] = outbox;
	begin(&t, outbox, 5000);
	while (atomic_load(&t.said) < STK_OUTBOX_UNREAD)
		sched_yield();
	stk_outbox_cancel(outbox, &t.launch);
	assert_int_equal(hear(&t), STK_OUTBOX_UNREAD);
	assert_false(t.launch.unheard);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_report_is_heard),
		cmocka_unit_test(nobody_hears),
		cmocka_unit_test(cancelled_while_waiting),
	};

	return cmocka_run_group_tests_name("outbox", tests, NULL, NULL);
}
