#include "engine/crew.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#define URGENCIES (STK_BACKGROUND + 1)

/* A call of a pool's run: it lives on its caller's stack. */
typedef struct run
{
	stk_task task;
	void *arg;
	size_t n;
	size_t next;       /* tasks begun */
	size_t unfinished; /* tasks not yet done */
	struct run *after; /* in the queue */
	pthread_cond_t done;
} run;

/* Runs of one urgency that have tasks to begin, in the order of their turns. */
typedef struct queue
{
	stk_crew *crew;
	stk_pool pool; /* ctx is the queue */
	run *first;
	run *last;
} queue;

/* The lock guards everything but `threads` and what a task does. */
struct stk_crew
{
	int threads;
	pthread_t *members; /* [threads] */
	int started;
	pthread_mutex_t lock;
	pthread_cond_t work; /* a member may have something to do */
	bool ending;
	queue queues[URGENCIES];
	int urgent_in_a_row; /* tasks begun since the last one in the background */
	/* The numbers that tasks run under: who computes holds one. */
	int *numbers; /* [threads] the free ones first */
	int free_numbers;
};

static void
queue_add(queue *q, run *r)
{
	r->after = NULL;
	if (q->last)
		q->last->after = r;
	else
		q->first = r;
	q->last = r;
}

static run *
queue_remove_first(queue *q)
{
	run *r = q->first;

	q->first = r->after;
	if (!q->first)
		q->last = NULL;
	return r;
}

/* The queue whose first run is next; NULL when there is nothing to begin. */
static queue *
next_queue(stk_crew *crew)
{
	queue *urgent = &crew->queues[STK_URGENT];
	queue *background = &crew->queues[STK_BACKGROUND];

	if (!background->first)
		return urgent->first ? urgent : NULL;
	return urgent->first && crew->urgent_in_a_row < STK_CREW_SHARE - 1 ? urgent : background;
}

static bool
is_next(stk_crew *crew, const run *r)
{
	queue *q = next_queue(crew);

	return q && q->first == r;
}

/* Compute the next task of all under this number; there is one. The lock is let go meanwhile. */
static void
compute_next(stk_crew *crew, int number)
{
	queue *q = next_queue(crew);
	run *r = queue_remove_first(q);
	size_t index = r->next++;

	if (q == &crew->queues[STK_BACKGROUND] || !crew->queues[STK_BACKGROUND].first)
		crew->urgent_in_a_row = 0;
	else
		crew->urgent_in_a_row++;
	if (r->next < r->n)
		queue_add(q, r);
	pthread_mutex_unlock(&crew->lock);
	r->task(r->arg, index, number);
	pthread_mutex_lock(&crew->lock);
	if (--r->unfinished == 0)
		pthread_cond_signal(&r->done);
}

static int
take_number(stk_crew *crew)
{
	return crew->numbers[--crew->free_numbers];
}

/* Somebody else may have been waiting for it. */
static void
return_number(stk_crew *crew, int number)
{
	crew->numbers[crew->free_numbers++] = number;
	if (next_queue(crew))
		pthread_cond_signal(&crew->work);
}

static void *
work(void *arg)
{
	stk_crew *crew = arg;

	pthread_mutex_lock(&crew->lock);
	while (!crew->ending)
	{
		if (crew->free_numbers > 0 && next_queue(crew))
		{
			int number = take_number(crew);

			while (next_queue(crew))
				compute_next(crew, number);
			return_number(crew, number);
		}
		else
			pthread_cond_wait(&crew->work, &crew->lock);
	}
	pthread_mutex_unlock(&crew->lock);
	return NULL;
}

/* Wake members for a run that was just added, of which its caller computes some itself or none. */
static void
wake_members(stk_crew *crew, size_t n, bool caller_computes)
{
	size_t wanted = n < (size_t) crew->free_numbers ? n : (size_t) crew->free_numbers;

	for (size_t i = caller_computes ? 1 : 0; i < wanted; i++)
		pthread_cond_signal(&crew->work);
}

static void
run_tasks(void *ctx, stk_task task, void *arg, size_t n)
{
	queue *q = ctx;
	stk_crew *crew = q->crew;
	run r = {.task = task, .arg = arg, .n = n, .unfinished = n};
	bool computes;

	if (n == 0)
		return;
	pthread_cond_init(&r.done, NULL);
	pthread_mutex_lock(&crew->lock);
	queue_add(q, &r);
	computes = crew->free_numbers > 0 && is_next(crew, &r);
	wake_members(crew, n, computes);
	if (computes)
	{
		int number = take_number(crew);

		while (is_next(crew, &r))
			compute_next(crew, number);
		return_number(crew, number);
	}
	while (r.unfinished > 0)
		pthread_cond_wait(&r.done, &crew->lock);
	pthread_mutex_unlock(&crew->lock);
	pthread_cond_destroy(&r.done);
}

stk_status
stk_crew_start(int threads, stk_crew **out)
{
	stk_crew *crew = calloc(1, sizeof(*crew));
	sigset_t all, old;

	*out = NULL;
	if (!crew)
		return STK_ENOMEM;
	crew->threads = crew->free_numbers = threads;
	crew->members = calloc((size_t) threads, sizeof(pthread_t));
	crew->numbers = calloc((size_t) threads, sizeof(int));
	pthread_mutex_init(&crew->lock, NULL);
	pthread_cond_init(&crew->work, NULL);
	for (int i = 0; i < URGENCIES; i++)
	{
		crew->queues[i].crew = crew;
		crew->queues[i].pool = (stk_pool){threads, run_tasks, &crew->queues[i]};
	}
	if (crew->members && crew->numbers)
	{
		for (int i = 0; i < threads; i++)
			crew->numbers[i] = threads - 1 - i;
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		while (crew->started < threads &&
			   pthread_create(&crew->members[crew->started], NULL, work, crew) == 0)
			crew->started++;
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	if (crew->started < threads)
	{
		stk_crew_stop(crew);
		return STK_ENOMEM;
	}
	*out = crew;
	return STK_OK;
}

void
stk_crew_stop(stk_crew *crew)
{
	if (!crew)
		return;
	pthread_mutex_lock(&crew->lock);
	crew->ending = true;
	pthread_cond_broadcast(&crew->work);
	pthread_mutex_unlock(&crew->lock);
	for (int i = 0; i < crew->started; i++)
		pthread_join(crew->members[i], NULL);
	pthread_cond_destroy(&crew->work);
	pthread_mutex_destroy(&crew->lock);
	free(crew->members);
	free(crew->numbers);
	free(crew);
}

int
stk_crew_threads(const stk_crew *crew)
{
	return crew->threads;
}

const stk_pool *
stk_crew_pool(const stk_crew *crew, stk_urgency urgency)
{
	return &crew->queues[urgency].pool;
}
