#include "engine/threads.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct worker
{
	stk_threads_pool *pool;
	int number;
	pthread_t thread;
} worker;

struct stk_threads_pool
{
	stk_pool pool;
	worker *workers; /* [pool.threads]; the first is the caller */
	int started;     /* workers whose thread runs, counting the caller */

	pthread_mutex_t lock;
	pthread_cond_t work; /* a new round, or the end */
	pthread_cond_t done; /* nobody is busy any more */
	unsigned long round;
	bool ending;
	int busy;

	/* The round's tasks. */
	stk_task task;
	void *arg;
	size_t n;
	atomic_size_t next;
};

static void
take_tasks(stk_threads_pool *t, int thread)
{
	for (;;)
	{
		size_t index = atomic_fetch_add(&t->next, 1);

		if (index >= t->n)
			break;
		t->task(t->arg, index, thread);
	}
}

static void *
work(void *arg)
{
	worker *w = arg;
	stk_threads_pool *t = w->pool;
	unsigned long seen = 0;

	pthread_mutex_lock(&t->lock);
	for (;;)
	{
		while (t->round == seen && !t->ending)
			pthread_cond_wait(&t->work, &t->lock);
		if (t->ending)
			break;
		seen = t->round;
		pthread_mutex_unlock(&t->lock);
		take_tasks(t, w->number);
		pthread_mutex_lock(&t->lock);
		if (--t->busy == 0)
			pthread_cond_signal(&t->done);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static void
run(void *ctx, stk_task task, void *arg, size_t n)
{
	stk_threads_pool *t = ctx;

	pthread_mutex_lock(&t->lock);
	t->task = task;
	t->arg = arg;
	t->n = n;
	atomic_store(&t->next, 0);
	t->busy = t->started - 1;
	t->round++;
	pthread_cond_broadcast(&t->work);
	pthread_mutex_unlock(&t->lock);
	take_tasks(t, 0);
	pthread_mutex_lock(&t->lock);
	while (t->busy > 0)
		pthread_cond_wait(&t->done, &t->lock);
	pthread_mutex_unlock(&t->lock);
}

stk_status
stk_threads_start(int threads, stk_threads_pool **out)
{
	stk_threads_pool *t = calloc(1, sizeof(*t));
	sigset_t all, old;

	*out = NULL;
	if (!t)
		return STK_ENOMEM;
	t->workers = calloc((size_t) threads, sizeof(worker));
	if (!t->workers)
	{
		free(t);
		return STK_ENOMEM;
	}
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->work, NULL);
	pthread_cond_init(&t->done, NULL);
	t->pool = (stk_pool){threads, run, t};
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (t->started = 1; t->started < threads; t->started++)
	{
		worker *w = &t->workers[t->started];

		w->pool = t;
		w->number = t->started;
		if (pthread_create(&w->thread, NULL, work, w) != 0)
			break;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (t->started < threads)
	{
		stk_threads_stop(t);
		return STK_ENOMEM;
	}
	*out = t;
	return STK_OK;
}

void
stk_threads_stop(stk_threads_pool *t)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->ending = true;
	pthread_cond_broadcast(&t->work);
	pthread_mutex_unlock(&t->lock);
	for (int i = 1; i < t->started; i++)
		pthread_join(t->workers[i].thread, NULL);
	pthread_cond_destroy(&t->done);
	pthread_cond_destroy(&t->work);
	pthread_mutex_destroy(&t->lock);
	free(t->workers);
	free(t);
}

const stk_pool *
stk_threads_as_pool(const stk_threads_pool *t)
{
	return &t->pool;
}
