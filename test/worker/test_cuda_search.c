/*
 * Searches by the engine of CUDA devices on a fake of CUDA: what the cores find, in pieces, on
 * several devices; and every call to CUDA failing once, in every way: then it says so, and gives
 * back what it had.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <math.h>

#include "catalog.h"
#include "core/explog.h"
#include "engine/plugin.h"

#define QUERIES 1500
#define CODES 12

/* What the fake lets a test do: see test/cuda/fake/fake.h. */
static void (*fake_fail)(const char *call, int code, unsigned long first, unsigned long last);
static unsigned long (*fake_calls)(const char *call);
static long (*fake_live)(void);
static void (*fake_devices)(int devices, size_t megabytes);

static stk_engine *host;
static catalog ids;
static uint8_t *stored;
static size_t stored_bytes;
static float *logits; /* [QUERIES][3 * CODES] */
static double *costs; /* of them, norm full */

/* What came back of a batch. */
typedef struct answers
{
	uint32_t *found;
	double *cost;
	uint8_t *lengths;
	uint16_t *codes;
	uint8_t *dropped;
} answers;

static stk_exec
plain(void)
{
	return (stk_exec){.a = stk_malloc, .cpu = &stk_cpu_portable};
}

static int
set_up(void **state)
{
	void *library = dlopen(getenv("SEMTOK_CUDA"), RTLD_NOW | RTLD_LOCAL);
	prng r = {20261122};
	stk_error err;

	(void) state;
	if (!library)
		fail_msg("%s", dlerror());
	*(void **) &fake_fail = dlsym(library, "fake_cuda_fail");
	*(void **) &fake_calls = dlsym(library, "fake_cuda_calls");
	*(void **) &fake_live = dlsym(library, "fake_cuda_live");
	*(void **) &fake_devices = dlsym(library, "fake_cuda_devices");
	/* Two tokenizers; ids of two to four levels. */
	catalog_random(&ids, &r, 800, 2, 2, 4, CODES, false);
	assert_int_equal(stk_semset_build(ids.pointers, ids.lens, ids.n, 0, &stk_malloc, NULL, &stored,
									  &stored_bytes, &err),
					 STK_OK);
	logits = malloc(sizeof(float) * QUERIES * 3 * CODES);
	costs = malloc(sizeof(double) * QUERIES * 3 * CODES);
	for (size_t i = 0; i < QUERIES * 3 * CODES; i++)
		logits[i] = (float) (int) (prng_uniform(&r) * 8);
	for (size_t i = 0; i < QUERIES * 3; i++)
		assert_int_equal(stk_softmax_costs(logits + i * CODES, CODES, costs + i * CODES), STK_OK);
	assert_int_equal(stk_engine_cpu_open(&stk_malloc, &host, NULL), STK_OK);
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	host->ops->close(host);
	catalog_free(&ids);
	free(stored);
	free(logits);
	free(costs);
	return 0;
}

static stk_search_batch
batch(size_t n, int levels, uint32_t tokenizer, stk_norm norm, answers *a)
{
	stk_search_batch b = {.n = n,
						  .levels = levels,
						  .tokenizer = tokenizer,
						  .norm = norm,
						  .cost = costs,
						  .logits = logits,
						  .beam_size = 7,
						  .k = 20,
						  .width = 4};

	for (int l = 0; l < levels; l++)
		b.sizes[l] = CODES;
	a->found = b.found = calloc(n, sizeof(uint32_t));
	a->cost = b.costs = calloc(n * b.k, sizeof(double));
	a->lengths = b.lengths = calloc(n * b.k, 1);
	a->codes = b.codes = calloc(n * b.k * (size_t) b.width, sizeof(uint16_t));
	a->dropped = b.dropped = calloc(n, 1);
	return b;
}

static void
answers_free(answers *a)
{
	free(a->found);
	free(a->cost);
	free(a->lengths);
	free(a->codes);
	free(a->dropped);
}

static stk_status
search(stk_engine *e, const stk_search_batch *b, stk_error *err)
{
	stk_exec exec = plain();
	stk_resident_trie *t = NULL;
	stk_status status;

	*err = (stk_error){.row = SIZE_MAX, .level = -1};
	status = e->ops->trie_load(e, &exec, stored, stored_bytes, &t, err);
	if (status == STK_OK)
		status = e->ops->search(e, &exec, t, b, err);
	if (t)
		e->ops->trie_unload(e, t);
	return status;
}

static stk_engine *
open_devices(const char *devices)
{
	stk_engine *e;
	stk_error err;

	assert_int_equal(stk_plugin_open(getenv("SEMTOK_CUDA"), &stk_malloc, host, devices, &e, &err),
					 STK_OK);
	return e;
}

/* The same as the cores find. Returns how many ids. */
static size_t
check(stk_engine *e, size_t n, int levels, uint32_t tokenizer, stk_norm norm)
{
	answers x, y;
	stk_search_batch mine = batch(n, levels, tokenizer, norm, &x);
	stk_search_batch right = batch(n, levels, tokenizer, norm, &y);
	size_t ids_found = 0;
	stk_error err;

	assert_true(e->ops->takes_search(e, &mine));
	assert_int_equal(search(e, &mine, &err), STK_OK);
	assert_int_equal(search(host, &right, &err), STK_OK);
	assert_memory_equal(x.found, y.found, n * sizeof(uint32_t));
	assert_memory_equal(x.cost, y.cost, n * mine.k * sizeof(double));
	assert_memory_equal(x.lengths, y.lengths, n * mine.k);
	assert_memory_equal(x.codes, y.codes, n * mine.k * (size_t) mine.width * sizeof(uint16_t));
	for (size_t i = 0; i < n; i++)
	{
		ids_found += x.found[i];
		assert_true(x.dropped[i] <= y.dropped[i]);
	}
	answers_free(&x);
	answers_free(&y);
	return ids_found;
}

static void
finds_what_the_cores_find(void **state)
{
	const size_t sizes[] = {1, 3, QUERIES};
	static const char *const lists[] = {"all", "2,0"};

	(void) state;
	fake_fail(NULL, 0, 0, 0);
	fake_devices(3, 1024);
	for (size_t l = 0; l < 2; l++)
	{
		stk_engine *e = open_devices(lists[l]);

		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			for (int norm = 0; norm < 3; norm++)
			{
				/* Ids end where queries do, and go on below. */
				assert_true(check(e, sizes[i], 3, 1, (stk_norm) norm) > 0);
				assert_true(check(e, sizes[i], 1, 2, (stk_norm) norm) > 0);
				assert_int_equal(check(e, sizes[i], 3, 9, (stk_norm) norm), 0);
			}
		e->ops->close(e);
		assert_int_equal(fake_live(), 0);
	}
}

/* What is too large is left to the cores. */
static void
refuses(void **state)
{
	stk_engine *e;
	stk_error err;
	answers a;
	stk_search_batch b = batch(1, 2, 1, STK_NORM_FULL, &a);

	(void) state;
	fake_fail(NULL, 0, 0, 0);
	fake_devices(1, 1024);
	e = open_devices("all");
	assert_true(e->ops->takes_search(e, &b));
	b.beam_size = 100000;
	assert_false(e->ops->takes_search(e, &b));
	assert_int_equal(search(e, &b, &err), STK_EDEVICE);
	b.beam_size = 7;
	b.sizes[1] = STK_MAX_CODES;
	assert_false(e->ops->takes_search(e, &b));
	b.sizes[1] = CODES;
	b.width = 3;
	assert_int_equal(search(e, &b, &err), STK_EINVAL);
	e->ops->close(e);
	answers_free(&a);
}

/* Each call fails once, by a lack of memory or for good. */
static void
failures(void **state)
{
	static const char *const calls[] = {
		"cudaMalloc",      "cudaMallocHost",        "cudaMemcpyAsync",
		"cudaStreamQuery", "cudaStreamSynchronize", "launch"};

	(void) state;
	fake_devices(1, 1024);
	for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++)
		for (int code = 2; code <= 700; code += 698)
			for (unsigned long nth = 1;; nth++)
			{
				answers a;
				stk_search_batch b = batch(QUERIES, 2, 1, STK_NORM_FULL, &a);
				stk_engine *e;
				stk_error err;
				stk_status status;
				unsigned long before;
				long alive = fake_live(); /* what failed devices keep */

				fake_fail(NULL, 0, 0, 0);
				e = open_devices("all");
				before = fake_calls(calls[c]);
				fake_fail(calls[c], code, before + nth, before + nth);
				status = search(e, &b, &err);
				fake_fail(NULL, 0, 0, 0);
				if (status != STK_OK)
				{
					stk_engine_state how;

					assert_int_equal(status, STK_EDEVICE);
					assert_true(strlen(err.message) > 0);
					e->ops->state(e, &how);
					assert_int_equal(how.failed, code != 2);
					/* Short of memory it goes on, later. */
					if (code == 2)
						assert_int_equal(search(e, &b, &err), STK_OK);
				}
				e->ops->close(e);
				if (code == 2)
					assert_int_equal(fake_live(), alive);
				answers_free(&a);
				if (status == STK_OK)
				{
					assert_true(nth > 1);
					break;
				}
			}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(finds_what_the_cores_find),
									   cmocka_unit_test(refuses), cmocka_unit_test(failures)};

	return cmocka_run_group_tests_name("cuda_search", tests, set_up, tear_down);
}
