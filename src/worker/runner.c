#include "worker/runner.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "worker/outbox.h"

/*
 * Two launches of a class at a time keep the threads busy while one of them reads or writes its
 * file. Trainings are kept apart by memory rather than by number.
 */
static const stk_class classes[] = {
	STK_CLASS_SMALL, STK_CLASS_SMALL, STK_CLASS_LOAD,  STK_CLASS_LOAD,  STK_CLASS_BULK,
	STK_CLASS_BULK,  STK_CLASS_TRAIN, STK_CLASS_TRAIN, STK_CLASS_TRAIN, STK_CLASS_TRAIN};

#define RUNNERS (sizeof(classes) / sizeof(classes[0]))

typedef struct runner
{
	stk_runners *all;
	pthread_cond_t begin;
	stk_launch *launch;  /* to begin; under the lock */
	stk_launch *running; /* the loop's */
} runner;

struct stk_runners
{
	const stk_shop *shop;
	pthread_mutex_t lock;
	runner runners[RUNNERS];
};

struct stk_team
{
	stk_crew *crew;
	unsigned launches; /* that use it */
	bool retired;
};

static void *
work(void *arg)
{
	runner *me = arg;
	stk_runners *r = me->all;

	for (;;)
	{
		stk_launch *l;

		pthread_mutex_lock(&r->lock);
		while (!me->launch)
			pthread_cond_wait(&me->begin, &r->lock);
		l = me->launch;
		me->launch = NULL;
		pthread_mutex_unlock(&r->lock);
		stk_launch_run(r->shop, l);
		stk_outbox_ended(r->shop->outbox, l);
	}
	return NULL;
}

stk_status
stk_runners_start(const stk_shop *shop, stk_runners **out)
{
	stk_runners *r = calloc(1, sizeof(*r));
	sigset_t all, old;
	bool ok = r != NULL;

	if (!r)
		return STK_ENOMEM;
	r->shop = shop;
	pthread_mutex_init(&r->lock, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (size_t i = 0; i < RUNNERS && ok; i++)
	{
		pthread_t thread;

		r->runners[i].all = r;
		pthread_cond_init(&r->runners[i].begin, NULL);
		ok = pthread_create(&thread, NULL, work, &r->runners[i]) == 0;
		if (ok)
			pthread_detach(thread);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	*out = r;
	return ok ? STK_OK : STK_ENOMEM;
}

stk_status
stk_team_start(int threads, stk_team **out)
{
	stk_team *team = calloc(1, sizeof(*team));
	stk_status status;

	if (!team)
		return STK_ENOMEM;
	status = stk_crew_start(threads, &team->crew);
	if (status != STK_OK)
	{
		free(team);
		return status;
	}
	*out = team;
	return STK_OK;
}

/* Free it when it is no longer wanted. Its threads are idle, so that they end at once. */
static void
let_go(stk_team *team)
{
	if (!team->retired || team->launches > 0)
		return;
	stk_crew_stop(team->crew);
	free(team);
}

void
stk_team_retire(stk_team *team)
{
	team->retired = true;
	let_go(team);
}

int
stk_team_threads(const stk_team *team)
{
	return stk_crew_threads(team->crew);
}

const stk_pool *
stk_team_pool(const stk_team *team, stk_urgency urgency)
{
	return stk_crew_pool(team->crew, urgency);
}

/* A free one of this class; NULL = none. */
static const runner *
find_free(const stk_runners *r, stk_class class)
{
	for (size_t i = 0; i < RUNNERS; i++)
		if (classes[i] == class && !r->runners[i].running)
			return &r->runners[i];
	return NULL;
}

bool
stk_runners_free(const stk_runners *r, stk_class class)
{
	return find_free(r, class) != NULL;
}

void
stk_runners_begin(stk_runners *r, stk_team *team, stk_launch *l)
{
	size_t i = (size_t) (find_free(r, l->class) - r->runners);

	l->team = team;
	l->pool = stk_team_pool(team, l->class == STK_CLASS_TRAIN ? STK_BACKGROUND : STK_URGENT);
	team->launches++;
	r->runners[i].running = l;
	pthread_mutex_lock(&r->lock);
	r->runners[i].launch = l;
	pthread_cond_signal(&r->runners[i].begin);
	pthread_mutex_unlock(&r->lock);
}

bool
stk_runners_stuck(const stk_runners *r, uint64_t now_ns, uint64_t patience_ns)
{
	for (size_t i = 0; i < RUNNERS; i++)
	{
		const stk_launch *l = r->runners[i].running;

		if (l && l->cancelled_ns > 0 && now_ns - l->cancelled_ns > patience_ns)
			return true;
	}
	return false;
}

void
stk_runners_ended(stk_runners *r, stk_launch *l)
{
	for (size_t i = 0; i < RUNNERS; i++)
		if (r->runners[i].running == l)
			r->runners[i].running = NULL;
	l->team->launches--;
	let_go(l->team);
}
