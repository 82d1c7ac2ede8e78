#include "worker/device.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/rqvae.h"
#include "engine/plugin.h"
#include "worker/log.h"

stk_engine *
stk_device_find(stk_engine *cores, const char *devices, char *why, size_t size)
{
	stk_error err = {.level = -1};
	stk_engine *device = NULL;
	char path[PATH_MAX];

	if (strcmp(devices, "none") == 0)
		snprintf(why, size, "semtok.cuda_devices is none");
	else if (!stk_plugin_path("semtok_cuda.so", path, sizeof(path)) || access(path, F_OK) != 0)
		snprintf(why, size, "semtok_cuda.so is not installed");
	else if (stk_plugin_open(path, &stk_malloc, cores, devices, &device, &err) == STK_OK)
	{
		snprintf(why, size, "%.*s", (int) size - 1, err.message);
		if (why[0])
			stk_log_line("computing without one of the devices: %s", err.message);
	}
	else
	{
		if (!err.message[0])
			snprintf(err.message, sizeof(err.message), "out of memory");
		snprintf(why, size, "%.*s", (int) size - 1, err.message);
		stk_log_line("computing without CUDA devices: %s", err.message);
	}
	return device;
}

void
stk_device_open(stk_server *s)
{
	s->shop.device = stk_device_find(s->shop.cores, s->settings.cuda_devices, s->no_device,
									 sizeof(s->no_device));
	if (s->shop.device)
		stk_log_line("computing on %s", s->shop.device->device);
}

bool
stk_device_usable(const stk_server *s, char *why, size_t size)
{
	stk_engine_state state = {.usable = false};

	if (s->shop.device)
		s->shop.device->ops->state(s->shop.device, &state);
	if (why && size > 0)
		snprintf(why, size, "%.*s", (int) size - 1,
				 state.usable     ? ""
				 : s->shop.device ? state.failure
								  : s->no_device);
	return state.usable;
}

stk_engine *
stk_device_for_encode(const stk_server *s, const stk_codebook *cb, const stk_encode *m)
{
	stk_engine *device = s->shop.device;
	stk_work work = stk_work_of_encoding(cb, (double) m->n, m->beam);

	if (!device || m->device == STK_DEVICE_CPU || !device->ops->takes(device, cb, m->beam) ||
		!stk_device_usable(s, NULL, 0))
		return s->shop.cores;
	if (m->device == STK_DEVICE_CUDA)
		return device;
	return stk_speeds_choose_device(&s->speeds, &work) ? device : s->shop.cores;
}

stk_engine *
stk_device_for_search(const stk_server *s, const stk_search_message *m, double multiply_adds)
{
	stk_engine *device = s->shop.device;
	stk_work work = {
		.rows = m->n, .bytes = (double) m->terms.bytes, .multiply_adds = multiply_adds};
	stk_search_batch batch = {.n = m->n,
							  .levels = m->levels,
							  .tokenizer = m->tokenizer,
							  .norm = m->norm,
							  .beam_size = m->beam_size,
							  .k = m->k,
							  .width = m->width};

	memcpy(batch.sizes, m->sizes, sizeof(batch.sizes));
	if (!device || m->device == STK_DEVICE_CPU || !device->ops->search ||
		(device->ops->takes_search && !device->ops->takes_search(device, &batch)) ||
		!stk_device_usable(s, NULL, 0))
		return s->shop.cores;
	if (m->device == STK_DEVICE_CUDA)
		return device;
	return stk_speeds_choose_device(&s->speeds, &work) ? device : s->shop.cores;
}

stk_engine *
stk_device_for_train(const stk_server *s, const stk_train_message *m)
{
	const stk_train_plan *plan = &m->plan;
	stk_work work = {.bytes = (double) m->n * plan->dim * sizeof(float)};

	if (!s->shop.device || m->device == STK_DEVICE_CPU || !stk_device_usable(s, NULL, 0))
		return s->shop.cores;
	if (m->device == STK_DEVICE_CUDA)
		return s->shop.device;
	if (plan->method == STK_TRAIN_RQVAE)
	{
		stk_rqvae_shape shape;

		/* Forward, and back to what weights and rows are to change by. */
		stk_rqvae_shape_of(plan, &shape);
		work.multiply_adds = 3 * (double) shape.network * (double) m->n * plan->epochs;
	}
	else
	{
		for (int l = 0; l < plan->levels; l++)
			work.multiply_adds += plan->sizes[l];
		work.multiply_adds *= (double) m->n * plan->dim * plan->epochs;
	}
	return stk_speeds_choose_device(&s->speeds, &work) ? s->shop.device : s->shop.cores;
}

/* Once, however often the same is met. */
static void
tell_reason(stk_server *s, const char *reason)
{
	for (unsigned i = 0; i < STK_TOLD; i++)
	{
		if (strcmp(s->fallback[i], reason) == 0)
			return;
	}
	stk_log_line("%s; the processor computes instead", reason);
	snprintf(s->fallback[s->told++ % STK_TOLD], sizeof(s->fallback[0]), "%s", reason);
}

void
stk_device_report(stk_server *s, const stk_launch *l)
{
	stk_engine_state state;

	if (l->fallbacks > 0)
	{
		s->fallbacks += l->fallbacks;
		tell_reason(s, l->fallback);
		snprintf(s->last_error, sizeof(s->last_error), "%.*s", (int) sizeof(s->last_error) - 1,
				 l->fallback);
	}
	if (!s->shop.device || s->device_failed_ns > 0)
		return;
	s->shop.device->ops->state(s->shop.device, &state);
	if (!state.failed)
		return;
	s->device_failed_ns = stk_now_ns();
	snprintf(s->last_error, sizeof(s->last_error), "%.*s", (int) sizeof(s->last_error) - 1,
			 state.failure);
	stk_log_line("a device has failed, and is left alone until this worker begins anew: %s",
				 state.failure);
}

bool
stk_device_begins_anew(const stk_server *s)
{
	uint64_t rest = (uint64_t) s->settings.device_rest * 1000000000;

	if (s->running > 0 || stk_now_ns() - s->device_failed_ns < rest)
		return false;
	for (int c = 0; c < STK_CLASSES; c++)
		if (s->queues[c].jobs > 0)
			return false;
	stk_log_line("ending, so that a new worker can use the device that failed");
	return true;
}
