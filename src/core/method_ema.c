/*
 * Training method ema: codewords that follow their rows by moving averages, batch by batch.
 */
#include <string.h>

#include "ema.h"
#include "method.h"

static const stk_option options[] = {STK_OPTION_REFINE,
									 {.name = "decay",
									  .kind = STK_OPTION_REAL,
									  .at = offsetof(stk_train_plan, decay),
									  .most = 1,
									  .below = true},
									 {.name = "restart_after",
									  .kind = STK_OPTION_WHOLE,
									  .at = offsetof(stk_train_plan, restart_after),
									  .most = INT32_MAX}};

static void
defaults(int preset, stk_train_plan *plan)
{
	(void) preset;
	plan->refine = 0;
	plan->decay = 0.99;
	plan->restart_after = 20;
}

static stk_status
check(const stk_train_plan *plan, stk_error *err)
{
	if (plan->resume)
		return stk_fail(err, STK_EINVAL, "moving averages cannot be resumed");
	/* Written so that NaN says no. */
	if (!(plan->decay >= 0 && plan->decay < 1))
		return stk_fail(err, STK_EINVAL, "decay must be at least 0 and less than 1");
	return STK_OK;
}

static bool
joint(const stk_train_plan *plan)
{
	(void) plan;
	return true;
}

static size_t
bytes(const stk_forecast *f)
{
	size_t row = stk_times(f->dim, sizeof(float));
	size_t learning = stk_plus(stk_forecast_assign(f), stk_forecast_batches(f));

	/* Residuals beside the batch, sums beside the codewords. */
	learning = stk_plus(learning, stk_times(f->batch, stk_plus(row, 8)));
	learning =
		stk_plus(learning, stk_times(f->total, stk_plus(stk_times(f->dim, sizeof(double)), 32)));
	return stk_plus(learning, stk_forecast_start(f, f->batch));
}

static stk_status
train(const stk_method_run *run, float *x, size_t n, stk_train_result *result, stk_error *err)
{
	const stk_train_plan *plan = run->plan;
	stk_ema_options opt = {.metric = plan->metric,
						   .levels = plan->levels,
						   .dim = plan->dim,
						   .epochs = plan->epochs,
						   .batch_size = plan->batch_size < n ? (size_t) plan->batch_size : n,
						   .init = plan->init,
						   .seed = plan->seed,
						   .decay = plan->decay,
						   .restart_after = plan->restart_after,
						   .progress = run->progress,
						   .progress_ctx = run->ctx};

	memcpy(opt.sizes, plan->sizes, sizeof(opt.sizes));
	return stk_ema_train(&opt, run->exec, x, n, result->codewords, result->counts, err);
}

/* Its averages are not kept: mini-batch k-means goes on from the rows behind each codeword. */
const stk_method stk_method_ema = {.name = "ema",
								   .options = options,
								   .noptions = sizeof(options) / sizeof(options[0]),
								   .fit = STK_TRAIN_RQKMEANS,
								   .defaults = defaults,
								   .check = check,
								   .joint = joint,
								   .bytes = bytes,
								   .work = stk_plan_row_work,
								   .train = train};
