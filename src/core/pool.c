#include "pool.h"

#include "fpenv.h"

typedef struct wrapped
{
	stk_task task;
	void *arg;
} wrapped;

static void
run_in_fpenv(void *arg, size_t index, int thread)
{
	const wrapped *w = arg;
	stk_fpenv env = stk_fpenv_enter();

	w->task(w->arg, index, thread);
	stk_fpenv_leave(env);
}

void
stk_run(const stk_pool *pool, stk_task task, void *arg, size_t n)
{
	wrapped w = {task, arg};

	if (pool)
		pool->run(pool->ctx, run_in_fpenv, &w, n);
	else
	{
		for (size_t i = 0; i < n; i++)
			run_in_fpenv(&w, i, 0);
	}
}
