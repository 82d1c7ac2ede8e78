/*
 * Training method rqkmeans: Lloyd's iterations, or mini-batches where the plan has a batch_size.
 */
#include <string.h>

#include "method.h"
#include "rqkmeans.h"

static const char *const empty_words[] = {
	[STK_EMPTY_KEEP] = "keep", [STK_EMPTY_SPLIT] = "split", [STK_EMPTY_FARTHEST] = "farthest"};

static const stk_option options[] = {STK_OPTION_REFINE,
									 {.name = "balance",
									  .kind = STK_OPTION_REAL,
									  .at = offsetof(stk_train_plan, balance),
									  .least = 1,
									  .most = STK_MAX_CODES,
									  .all_rows = true},
									 {.name = "empty",
									  .kind = STK_OPTION_WORD,
									  .at = offsetof(stk_train_plan, empty),
									  .words = empty_words,
									  .nwords = STK_EMPTY_FARTHEST + 1,
									  .all_rows = true}};

static void
defaults(int preset, stk_train_plan *plan)
{
	(void) preset;
	plan->refine = 0;
	plan->balance = 0;
	plan->empty = STK_EMPTY_KEEP;
}

static stk_status
check(const stk_train_plan *plan, stk_error *err)
{
	if (plan->resume && plan->batch_size == 0)
		return stk_fail(err, STK_EINVAL, "resuming needs mini-batches");
	if (plan->batch_size > 0 && (plan->balance > 0 || plan->empty != STK_EMPTY_KEEP))
		return stk_fail(err, STK_EINVAL,
						"mini-batches take neither a balance nor a policy for empty codewords");
	return STK_OK;
}

static bool
joint(const stk_train_plan *plan)
{
	return plan->batch_size > 0;
}

/* What Lloyd's iterations add: bounds for rows, the centroids that moved, policies. */
static size_t
lloyd_bytes(const stk_forecast *f)
{
	size_t bytes =
		stk_plus(stk_forecast_pack(f, f->largest), stk_times(f->largest, f->dim * sizeof(float)));

	bytes = stk_plus(bytes, stk_times(4, stk_forecast_tasks(f)));
	/* All rows may have to move on. */
	if (f->plan->balance > 0)
		bytes = stk_plus(bytes, stk_times(f->n, 32 + 300));
	if (f->plan->empty == STK_EMPTY_FARTHEST)
		bytes = stk_plus(bytes, stk_times(f->n, 32));
	return bytes;
}

static size_t
bytes(const stk_forecast *f)
{
	size_t start = stk_forecast_start(f, f->batch);
	size_t learning = stk_forecast_assign(f);

	if (joint(f->plan))
		return stk_plus(learning, stk_plus(stk_forecast_batches(f), start));
	return stk_plus(learning, stk_larger(start, lloyd_bytes(f)));
}

static stk_status
train(const stk_method_run *run, float *x, size_t n, stk_train_result *result, stk_error *err)
{
	const stk_train_plan *plan = run->plan;
	stk_rqkmeans_options opt = {.metric = plan->metric,
								.levels = plan->levels,
								.dim = plan->dim,
								.epochs = plan->epochs,
								.batch_size = plan->batch_size < n ? (size_t) plan->batch_size : n,
								.init = plan->init,
								.seed = plan->seed,
								.empty = plan->empty,
								.balance = plan->balance,
								.resume = plan->resume,
								.look_every = run->look_every,
								.progress = run->progress,
								.progress_ctx = run->ctx};

	memcpy(opt.sizes, plan->sizes, sizeof(opt.sizes));
	return stk_rqkmeans_train(&opt, run->exec, x, n, result->codewords, result->counts, err);
}

const stk_method stk_method_rqkmeans = {.name = "rqkmeans",
										.options = options,
										.noptions = sizeof(options) / sizeof(options[0]),
										.fit = STK_TRAIN_RQKMEANS,
										.defaults = defaults,
										.check = check,
										.joint = joint,
										.bytes = bytes,
										.work = stk_plan_row_work,
										.train = train};
