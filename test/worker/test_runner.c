/*
 * runner, launch: who comes first on the threads that compute, and memory that is there beforehand.
 */
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
#include "worker/runner.h"

/* An engine whose trainings learn nothing: they look how much of the budget is taken. */
typedef struct looking_engine
{
	stk_engine engine; /* first */
	stk_budget *budget;
	uint64_t taken; /* when the training began */
	int trainings;
} looking_engine;

static stk_status
look(stk_engine *engine, const stk_exec *exec, const stk_train_plan *plan, const stk_rows *rows,
	 const stk_rows *heldout, void (*report)(void *ctx, const stk_train_report *r),
	 void *report_ctx, stk_train_result *result, stk_error *err)
{
	looking_engine *e = (looking_engine *) engine;
	size_t codewords = 0;

	(void) exec, (void) rows, (void) heldout, (void) report, (void) report_ctx, (void) err;
	e->taken = stk_budget_used(e->budget);
	e->trainings++;
	for (int l = 0; l < plan->levels; l++)
		codewords += plan->sizes[l];
	memset(result->codewords, 0, codewords * (size_t) plan->dim * sizeof(float));
	memset(result->counts, 0, codewords * sizeof(double));
	return STK_OK;
}

static const stk_engine_ops looking_ops = {.name = "looking", .train = look};

static void
training_of(stk_job *job)
{
	*job = (stk_job){.message.file = -1, .class = STK_CLASS_TRAIN};
	job->message.header.kind = STK_MSG_TRAIN;
	job->train = (stk_train_message){.plan = {.method = STK_TRAIN_RQKMEANS,
											  .levels = 2,
											  .sizes = {16, 16},
											  .dim = 12,
											  .epochs = 1,
											  .beam = 1},
									 .n = 5000};
}

/* A training has all that it will take before it begins, or does not begin. */
static void
trainings_have_their_memory(void **state)
{
	looking_engine e = {.engine = {.ops = &looking_ops}};
	stk_shop shop = {.cores = &e.engine};
	stk_job job;
	uint64_t takes;

	(void) state;
	training_of(&job);
	takes = stk_launch_train_bytes(&job, 1);
	assert_true(takes > 2 * stk_train_result_bytes(&job.train.plan));
	for (int enough = 0; enough < 2; enough++)
	{
		stk_launch l = {.class = STK_CLASS_TRAIN, .engine = &e.engine, .jobs = &job, .njobs = 1};

		assert_int_equal(stk_budget_create(takes - 1 + (uint64_t) enough, &e.budget), STK_OK);
		shop.budget = e.budget;
		stk_launch_run(&shop, &l);
		assert_int_equal(l.no_room, !enough);
		assert_int_equal(e.trainings, enough);
		assert_int_equal(stk_budget_used(e.budget), 0);
		stk_budget_free(e.budget);
	}
	assert_true(e.taken >= takes);
	assert_int_equal(job.answer, STK_MSG_TRAINED);
	free(job.result);
	free(job.evaluations);
}

/* Tasks in the order in which they begin. */
typedef struct record
{
	atomic_size_t begun;
	_Atomic char who[100000];
	atomic_bool enough;
} record;

typedef struct computation
{
	record *r;
	const stk_pool *pool;
	pthread_t thread;
	char who;
} computation;

static void
task(void *arg, size_t index, int thread)
{
	const computation *c = arg;
	size_t at = atomic_fetch_add(&c->r->begun, 1);
	volatile uint64_t bits = index;

	(void) thread;
	for (int i = 0; i < 2000; i++)
		bits = bits * 3 + 1;
	if (at < sizeof(c->r->who))
		c->r->who[at] = c->who;
	else
		atomic_store(&c->r->enough, true);
}

static void *
compute_without_end(void *arg)
{
	computation *c = arg;

	while (!atomic_load(&c->r->enough))
		stk_run(c->pool, task, c, 1000);
	return NULL;
}

/* They live as long as the program; volatile, so that they are kept here. */
static stk_runners *volatile the_runners;
static stk_outbox *volatile the_outbox;

/*
 * The threads that a launch of this class is given. There is no memory for it, so it ends at once.
 */
static const stk_pool *
pool_of(stk_runners *r, stk_outbox *outbox, stk_team *team, stk_class class)
{
	stk_job job;
	stk_launch l = {.class = class, .jobs = &job, .njobs = 1, .rows = 1};
	stk_letter *last = calloc(1, sizeof(*last));
	stk_letter *letter;
	struct pollfd p = {.fd = stk_outbox_fd(outbox), .events = POLLIN};

	training_of(&job);
	if (class != STK_CLASS_TRAIN)
		job.encode = (stk_encode){.dim = 12, .levels = 2, .n = 1};
	l.last = last;
	stk_runners_begin(r, team, &l);
	assert_int_equal(poll(&p, 1, 120000), 1);
	letter = stk_outbox_take(outbox);
	assert_ptr_equal(letter, last);
	assert_true(l.no_room);
	stk_runners_ended(r, &l);
	free(letter);
	return l.pool;
}

/*
 * Beside a training that goes on and on, all others have the threads to themselves, but for its
 * share: whatever class they are of.
 */
static void
trainings_stand_back(void **state)
{
	static const stk_class others[] = {STK_CLASS_SMALL, STK_CLASS_BULK};
	static stk_shop shop;
	enum
	{
		TASKS = 320
	};
	stk_outbox *outbox;
	stk_runners *runners;
	stk_team *team;
	record *r = malloc(sizeof(*r));

	(void) state;
	assert_int_equal(stk_budget_create(1, &shop.budget), STK_OK);
	assert_int_equal(stk_outbox_create(60000, &outbox), STK_OK);
	shop.outbox = the_outbox = outbox;
	assert_int_equal(stk_runners_start(&shop, &runners), STK_OK);
	the_runners = runners;
	assert_int_equal(stk_team_start(1, &team), STK_OK);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
	{
		computation training = {r, pool_of(runners, outbox, team, STK_CLASS_TRAIN), .who = 't'};
		computation other = {r, pool_of(runners, outbox, team, others[i]), .who = 'o'};
		size_t first = 0, last, trained = 0;

		memset(r, 0, sizeof(*r));
		assert_int_equal(pthread_create(&training.thread, NULL, compute_without_end, &training), 0);
		while (atomic_load(&r->begun) < 1000)
			sched_yield();
		stk_run(other.pool, task, &other, TASKS);
		last = atomic_load(&r->begun);
		last = last < sizeof(r->who) ? last : sizeof(r->who);
		atomic_store(&r->enough, true);
		pthread_join(training.thread, NULL);
		while (first < last && r->who[first] != 'o')
			first++;
		while (last > first && r->who[last - 1] != 'o')
			last--;
		for (size_t at = first; at < last; at++)
			trained += r->who[at] == 't';
		assert_true(trained <= 2 + TASKS / (STK_CREW_SHARE - 1));
	}
	stk_team_retire(team);
	free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(trainings_have_their_memory),
									   cmocka_unit_test(trainings_stand_back)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
