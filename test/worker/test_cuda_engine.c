/*
 * The engine of CUDA devices on a fake of CUDA: the processor's codes, whatever the calls' sizes
 * and the number of devices; and every call to CUDA failing once, in every way: then it says so,
 * and gives back what it had.
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
#include <pthread.h>

#include <fcntl.h>
#include <unistd.h>

#include "core/rq.h"
#include "engine/plugin.h"
#include "rows.h"

#define LEVELS 3
#define CODES 20
#define DIM 24
/* Many pieces, of 2,730 rows each. */
#define ROWS 100000
#define FEW 40

/* What the fake lets a test do: see test/cuda/fake/fake.h. */
static void (*fake_fail)(const char *call, int code, unsigned long first, unsigned long last);
static unsigned long (*fake_calls)(const char *call);
static long (*fake_live)(void);
static void (*fake_devices)(int devices, size_t megabytes);

static float *x;        /* [ROWS][DIM] */
static float *words[2]; /* [LEVELS * CODES][DIM] of two codebooks */
static uint16_t *right; /* [ROWS][LEVELS] of the first */
static stk_engine *host;
static size_t all; /* rows of a large call: ROWS, or enough for all lanes of three devices */

static stk_codebook
book(int which)
{
	stk_codebook cb = {.metric = STK_L2, .levels = LEVELS, .dim = DIM};

	for (int l = 0; l < LEVELS; l++)
	{
		cb.sizes[l] = CODES;
		cb.codewords[l] = words[which] + (size_t) l * CODES * DIM;
	}
	return cb;
}

static stk_exec
plain(void)
{
	return (stk_exec){.a = stk_malloc, .cpu = &stk_cpu_portable};
}

static stk_status
open_devices(const char *devices, stk_engine **e, stk_error *err)
{
	*err = (stk_error){.row = SIZE_MAX, .level = -1};
	return stk_plugin_open(getenv("SEMTOK_CUDA"), &stk_malloc, host, devices, e, err);
}

static int
set_up(void **state)
{
	uint64_t seed = 1;
	size_t floats = (size_t) (ROWS + 2 * LEVELS * CODES) * DIM;
	stk_exec exec = plain();
	void *library = dlopen(getenv("SEMTOK_CUDA"), RTLD_NOW | RTLD_LOCAL);
	stk_codebook cb;
	stk_rq *rq;

	(void) state;
	if (!library)
		fail_msg("%s", dlerror());
	*(void **) &fake_fail = dlsym(library, "fake_cuda_fail");
	*(void **) &fake_calls = dlsym(library, "fake_cuda_calls");
	*(void **) &fake_live = dlsym(library, "fake_cuda_live");
	*(void **) &fake_devices = dlsym(library, "fake_cuda_devices");
	x = malloc(floats * sizeof(float));
	right = malloc((size_t) ROWS * LEVELS * sizeof(uint16_t));
	for (size_t i = 0; i < floats; i++)
	{
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		x[i] = (float) ((double) (seed >> 40) * 0x1p-23 - 1);
	}
	words[0] = x + (size_t) ROWS * DIM;
	words[1] = words[0] + (size_t) LEVELS * CODES * DIM;
	all = unit_size(ROWS, ROWS, 30000);
	cb = book(0);
	assert_int_equal(stk_engine_cpu_open(&stk_malloc, &host, NULL), STK_OK);
	assert_int_equal(stk_rq_create(&cb, &exec, STK_FILTER_BEST, &rq, NULL), STK_OK);
	assert_int_equal(stk_rq_encode(rq, &exec, x, all, 1, right, NULL, NULL), STK_OK);
	stk_rq_free(rq);
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	host->ops->close(host);
	free(x);
	free(right);
	return 0;
}

/* Load the first codebook and encode n rows; what is wrong with the codes, or the status. */
static stk_status
encode(stk_engine *e, size_t n, stk_error *err)
{
	stk_codebook cb = book(0);
	stk_exec exec = plain();
	stk_resident *r = NULL;
	uint16_t *codes = calloc(n + 1, LEVELS * sizeof(uint16_t));
	stk_status status;

	*err = (stk_error){.row = SIZE_MAX, .level = -1};
	status = e->ops->load(e, &exec, &cb, false, &r, err);
	if (status == STK_OK)
		status = e->ops->encode(e, &exec, r, x, n, 1, codes, err);
	if (status == STK_OK)
		assert_memory_equal(codes, right, n * LEVELS * sizeof(uint16_t));
	if (r)
		e->ops->unload(e, r);
	free(codes);
	return status;
}

static void
codes_are_the_processors(void **state)
{
	const size_t sizes[] = {0, 1, 1000, all};
	static const char *const lists[] = {"all", "0", "2,0", "1,1"};

	(void) state;
	fake_fail(NULL, 0, 0, 0);
	fake_devices(3, 1024);
	for (size_t l = 0; l < sizeof(lists) / sizeof(lists[0]); l += unit_size(1, 1, 2))
	{
		stk_engine *e;
		stk_error err;

		assert_int_equal(open_devices(lists[l], &e, &err), STK_OK);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			assert_int_equal(encode(e, sizes[i], &err), STK_OK);
		e->ops->close(e);
		assert_int_equal(fake_live(), 0);
	}
}

/* Beams go to the device as wide as they fit there, to codes that are not the greedy ones. */
static void
beams(void **state)
{
	stk_codebook cb = book(0);
	stk_exec exec = plain();
	stk_resident *r;
	stk_rq *rq;
	stk_engine *e;
	stk_error err;
	uint16_t *codes = calloc(2 * ROWS, LEVELS * sizeof(uint16_t));
	uint16_t *expected = codes + (size_t) ROWS * LEVELS;

	(void) state;
	fake_fail(NULL, 0, 0, 0);
	fake_devices(2, 1024);
	assert_int_equal(open_devices("all", &e, &err), STK_OK);
	assert_int_equal(stk_rq_create(&cb, &exec, STK_FILTER_BEST, &rq, NULL), STK_OK);
	assert_int_equal(stk_rq_encode(rq, &exec, x, 4 * 2730 + 1, 5, expected, NULL, NULL), STK_OK);
	stk_rq_free(rq);
	assert_int_equal(e->ops->load(e, &exec, &cb, true, &r, &err), STK_OK);
	assert_true(e->ops->takes(e, &cb, 5));
	assert_int_equal(e->ops->encode(e, &exec, r, x, 4 * 2730 + 1, 5, codes, &err), STK_OK);
	assert_memory_equal(codes, expected, (4 * 2730 + 1) * LEVELS * sizeof(uint16_t));
	assert_memory_not_equal(codes, right, (4 * 2730 + 1) * LEVELS * sizeof(uint16_t));
	/* The same lanes serve a greedy call. */
	assert_int_equal(e->ops->encode(e, &exec, r, x, FEW, 1, codes, &err), STK_OK);
	assert_memory_equal(codes, right, FEW * LEVELS * sizeof(uint16_t));
	/* There are 400 prefixes of two codes; a block has room for so many, but not of longer rows. */
	assert_true(e->ops->takes(e, &cb, 4096));
	cb.dim = 2000;
	assert_true(e->ops->takes(e, &cb, 1));
	assert_true(e->ops->takes(e, &cb, 2));
	assert_false(e->ops->takes(e, &cb, 16));
	e->ops->unload(e, r);
	e->ops->close(e);
	assert_int_equal(fake_live(), 0);
	free(codes);
}

/* Rows for a training. */
static stk_status
read_rows(void *ctx, size_t first, size_t count, float *to, stk_error *err)
{
	(void) ctx;
	(void) err;
	memcpy(to, x + first * DIM, count * DIM * sizeof(float));
	return STK_OK;
}

#define TRAINED ((size_t) LEVELS * CODES)

/* Train a codebook on the first rows, refine and measure it; what it is. */
typedef struct trained
{
	float codewords[TRAINED * DIM];
	double counts[TRAINED];
	stk_evaluation rows;
} trained;

static stk_status
train(stk_engine *e, trained *t, stk_error *err)
{
	stk_train_plan plan = {.metric = STK_COSINE,
						   .levels = LEVELS,
						   .sizes = {CODES, CODES, CODES},
						   .dim = DIM,
						   .epochs = 2,
						   .seed = 3,
						   .refine = 1,
						   .beam = 2};
	stk_rows rows = {600, read_rows, NULL};
	stk_train_result result = {.codewords = t->codewords, .counts = t->counts};
	stk_exec exec = plain();
	stk_status status;

	memset(t, 0, sizeof(*t));
	*err = (stk_error){.row = SIZE_MAX, .level = -1};
	status = e->ops->train(e, &exec, &plan, &rows, NULL, NULL, NULL, &result, err);
	t->rows = result.rows;
	return status;
}

/*
 * A refined and measured codebook is the processor's, to the bit, and so it is wherever a call to
 * CUDA fails: the processor takes over.
 */
static void
trainings(void **state)
{
	static const char *const calls[] = {
		"cudaMalloc",        "cudaMallocHost",  "cudaMemcpyAsync", "cudaMemsetAsync",
		"cudaMemcpy2DAsync", "cudaStreamQuery", "launch",          "cudaStreamSynchronize"};
	static const int codes[] = {2, 700};
	trained *expected = malloc(sizeof(*expected)), *t = malloc(sizeof(*t));
	int said = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
	stk_engine *e;
	stk_error err;

	(void) state;
	fake_fail(NULL, 0, 0, 0);
	fake_devices(1, 1024);
	assert_int_equal(train(host, expected, &err), STK_OK);
	/* Each failure is told. */
	dup2(null, STDERR_FILENO);
	for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++)
		for (unsigned long n = 1, met = 1; met; n += unit_size(1, 1, 9))
		{
			long before = fake_live();
			stk_engine_state how;

			fake_fail(NULL, 0, 0, 0);
			assert_int_equal(open_devices("all", &e, &err), STK_OK);
			fake_fail(calls[c], codes[(n + c) % 2], n, n);
			assert_int_equal(train(e, t, &err), STK_OK);
			met = fake_calls(calls[c]) >= n;
			assert_memory_equal(t, expected, sizeof(*t));
			e->ops->state(e, &how);
			/* A device of which nothing failed has computed: launches of five kinds. */
			if (!met)
				assert_true(n > 5 || strcmp(calls[c], "launch") != 0);
			fake_fail(NULL, 0, 0, 0);
			e->ops->close(e);
			if (!met)
				assert_int_equal(fake_live(), before);
		}
	dup2(said, STDERR_FILENO);
	close(said);
	close(null);
	free(expected);
	free(t);
}

/* The first row that fails, in whichever piece and on whichever device. */
static void
rows_at_fault(void **state)
{
	const size_t rows[] = {0, 2729, 2730, all - 1};
	stk_engine *e;
	stk_error err;

	(void) state;
	fake_devices(2, 1024);
	assert_int_equal(open_devices("all", &e, &err), STK_OK);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	{
		float kept = x[rows[i] * DIM], last = x[all * DIM - 1];

		x[rows[i] * DIM] = x[all * DIM - 1] = NAN;
		assert_int_equal(encode(e, all, &err), STK_EINVAL);
		assert_int_equal(err.row, rows[i]);
		assert_string_equal(err.message, "embedding holds NaN or infinity");
		x[rows[i] * DIM] = kept;
		x[all * DIM - 1] = last;
	}
	e->ops->close(e);
	assert_int_equal(fake_live(), 0);
}

static void
what_cannot_be_opened(void **state)
{
	static const struct
	{
		const char *call;
		int code;
		const char *devices, *why;
	} cases[] = {
		{"cudaGetDeviceCount", 35, "all", "the driver is for CUDA 13.0, expected 13.0 or later"},
		{"cudaGetDeviceCount", 100, "all", "there is no CUDA device to use: no CUDA-capable"},
		{"cudaSetDevice", 2, "all", "CUDA device 1: could not use the device: "},
		{"cudaGetDeviceProperties", 999, "0", "CUDA device 0: could not use the device: unknown"},
		{"cudaMemGetInfo", 214, "1", "CUDA device 1: could not use the device: uncorrectable ECC"},
		{"probe", 1, "1,0", "CUDA device 1: its tensor unit adds worse than it may"},
		{"launch", 700, "0", "CUDA device 0: could not probe the tensor unit: an illegal"},
		{NULL, 0, "2", "there is no CUDA device 2, only 2 of them"},
		{NULL, 0, "0,x", "expected numbers of CUDA devices, not \"0,x\""},
		{NULL, 0, "", "expected numbers of CUDA devices, not \"\""}};

	(void) state;
	fake_devices(2, 1024);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		stk_engine *e;
		stk_error err;

		fake_fail(cases[i].call, cases[i].code, 1, -1ul);
		assert_int_equal(open_devices(cases[i].devices, &e, &err), STK_EDEVICE);
		assert_null(e);
		if (!strstr(err.message, cases[i].why))
			fail_msg("\"%s\", not \"%s\"", err.message, cases[i].why);
		assert_int_equal(fake_live(), 0);
	}
	/* Of all of them, one that does not do is left out, and told of. */
	fake_fail("probe", 1, 1, 1);

	stk_engine *e;
	stk_error err;

	assert_int_equal(open_devices("all", &e, &err), STK_OK);
	assert_string_equal(err.message, "CUDA device 0: its tensor unit adds worse than it may");
	assert_string_equal(e->device, "fake device 1, compute capability 9.0");
	assert_int_equal(encode(e, all, &err), STK_OK);
	e->ops->close(e);
	assert_int_equal(fake_live(), 0);
}

/*
 * Each call fails once, or from then on. A lack of memory is over when it is over; anything else
 * ends the device, and nothing more is asked of it.
 */
static void
every_call_fails(void **state)
{
	static const char *const calls[] = {
		"cudaSetDevice", "cudaStreamCreateWithFlags", "cudaMallocHost",
		"cudaMalloc",    "cudaMemcpyAsync",           "cudaMemsetAsync",
		"launch",        "cudaStreamQuery",           "cudaStreamSynchronize"};
	static const int codes[] = {2, 214, 700, 719};

	(void) state;
	fake_devices(1, 1024);
	for (size_t c = 0; c < sizeof(calls) / sizeof(calls[0]); c++)
		for (int forever = 0; forever < 2; forever++)
			for (unsigned long n = 1, met = 1; met; n++)
			{
				int code = codes[(n + c) % 4];
				stk_engine *e;
				stk_engine_state how;
				stk_error err;
				stk_status status;
				long before = fake_live();

				fake_fail(NULL, 0, 0, 0);
				if (open_devices("all", &e, &err) != STK_OK)
					fail_msg("%s", err.message);
				fake_fail(calls[c], code, n, forever ? -1ul : n);
				status = encode(e, FEW, &err);
				met = fake_calls(calls[c]) >= n;
				e->ops->state(e, &how);
				if (!met)
				{
					assert_int_equal(status, STK_OK);
					assert_true(how.usable && !how.failed);
				}
				else if (code == 2 || status == STK_OK)
				{
					/* It was met in letting go, or others made room. */
					assert_true(status == STK_OK || status == STK_EDEVICE);
					assert_false(how.failed);
				}
				else
				{
					assert_int_equal(status, STK_EDEVICE);
					assert_true(how.failed && !how.usable);
					assert_ptr_equal(strstr(err.message, "CUDA device 0: could not "), err.message);
					assert_string_equal(how.failure, err.message);
					fake_fail(NULL, 0, 0, 0);
					assert_int_equal(encode(e, FEW, &err), STK_EDEVICE);
					assert_string_equal(how.failure, err.message);
					for (size_t other = 0; other < sizeof(calls) / sizeof(calls[0]); other++)
						assert_int_equal(fake_calls(calls[other]), 0);
				}
				fake_fail(NULL, 0, 0, 0);
				if (!how.failed && encode(e, FEW, &err) != STK_OK)
					fail_msg("after %s %lu: %s", calls[c], n, err.message);
				e->ops->close(e);
				/* What a failed device had, and a call that failed in letting go, is left there. */
				if (!how.failed && !met)
					assert_int_equal(fake_live(), before);
			}
}

/* A device that hangs is found out, and a call that is cancelled ends while it computes. */
static bool
stop_soon(void *ctx)
{
	return ++*(int *) ctx > 3;
}

static void
what_does_not_end(void **state)
{
	stk_codebook cb = book(0);
	stk_exec exec = plain();
	int asked = 0;
	stk_monitor monitor = {stop_soon, &asked};
	uint16_t codes[FEW * LEVELS];
	stk_engine *e;
	stk_engine_state how;
	stk_resident *r;
	stk_error err;

	(void) state;
	fake_fail(NULL, 0, 0, 0);
	fake_devices(1, 1024);
	assert_int_equal(open_devices("all", &e, &err), STK_OK);
	assert_int_equal(e->ops->load(e, &exec, &cb, false, &r, &err), STK_OK);
	/* Long, but not too long. */
	fake_fail("cudaStreamQuery", 600, 1, 50);
	assert_int_equal(e->ops->encode(e, &exec, r, x, FEW, 1, codes, &err), STK_OK);
	assert_memory_equal(codes, right, sizeof(codes));
	/* Cancelled: what is under way is waited for, and the device is well. */
	fake_fail("cudaStreamQuery", 600, 1, 1000);
	exec.monitor = &monitor;
	assert_int_equal(e->ops->encode(e, &exec, r, x, FEW, 1, codes, &err), STK_ECANCELED);
	e->ops->state(e, &how);
	assert_false(how.failed);
	exec.monitor = NULL;
	fake_fail("cudaStreamQuery", 600, 1, -1ul);
	assert_int_equal(e->ops->encode(e, &exec, r, x, FEW, 1, codes, &err), STK_EDEVICE);
	assert_string_equal(err.message, "CUDA device 0: it has not answered for 1 seconds");
	e->ops->state(e, &how);
	assert_true(how.failed);
	fake_fail(NULL, 0, 0, 0);
	e->ops->unload(e, r);
	e->ops->close(e);
}

/* Codebooks that do not fit together take turns; one that fits nowhere is the processor's. */
static void
codebooks_take_turns(void **state)
{
	enum
	{
		BOOKS = 6,
		WIDE = 2048,
		SIZE = 256,
		SOME = 16
	};
	stk_exec exec = plain();
	float *wide = malloc((size_t) SIZE * WIDE * sizeof(float));
	uint16_t codes[SOME];
	stk_resident *r[BOOKS];
	stk_engine *e;
	stk_engine_state how;
	stk_error err;
	unsigned long made = 0;
	long before;

	(void) state;
	before = fake_live();
	for (size_t i = 0; i < (size_t) SIZE * WIDE; i++)
		wide[i] = x[i];
	fake_fail(NULL, 0, 0, 0);
	/* Half of it is ours: the lanes' 2 MB, and codebooks of some 3 MB, 4 at a time. */
	fake_devices(1, 30);
	assert_int_equal(open_devices("all", &e, &err), STK_OK);
	for (int round = 0; round < 3; round++)
		for (int b = 0; b < BOOKS; b++)
		{
			stk_codebook cb = {.metric = STK_L2, .levels = 1, .dim = WIDE, .sizes = {SIZE}};

			cb.codewords[0] = wide;
			if (round == 0)
				assert_int_equal(e->ops->load(e, &exec, &cb, false, &r[b], &err), STK_OK);
			memset(codes, 0xff, sizeof(codes));
			assert_int_equal(e->ops->encode(e, &exec, r[b], wide, SOME, 1, codes, &err), STK_OK);
			for (int i = 0; i < SOME; i++)
				assert_int_equal(codes[i], i);
			e->ops->state(e, &how);
			assert_true(how.memory > 0 && how.memory <= how.memory_limit);
		}
	/* In turn each is the longest unused when it comes again; the one just used is still there. */
	made = fake_calls("cudaStreamSynchronize");
	assert_int_equal(made, 3 * BOOKS);
	assert_int_equal(e->ops->encode(e, &exec, r[BOOKS - 1], wide, SOME, 1, codes, &err), STK_OK);
	assert_int_equal(fake_calls("cudaStreamSynchronize"), made);
	for (int b = 0; b < BOOKS; b++)
		e->ops->unload(e, r[b]);
	e->ops->close(e);
	assert_int_equal(fake_live(), before);

	fake_devices(1, 8);
	assert_int_equal(open_devices("all", &e, &err), STK_OK);
	assert_int_equal(encode(e, FEW, &err), STK_OK);
	stk_codebook cb = {.metric = STK_L2, .levels = 1, .dim = WIDE, .sizes = {SIZE}};

	cb.codewords[0] = wide;
	assert_int_equal(e->ops->load(e, &exec, &cb, false, &r[0], &err), STK_OK);
	assert_int_equal(e->ops->encode(e, &exec, r[0], wide, SOME, 1, codes, &err), STK_EDEVICE);
	assert_string_equal(err.message,
						"CUDA device 0: no room for a codebook of 3 MB in the 4 MB for them");
	e->ops->state(e, &how);
	assert_false(how.failed);
	e->ops->unload(e, r[0]);
	e->ops->close(e);
	assert_int_equal(fake_live(), before);
	free(wide);
}

/* Threads at once, with codebooks that push each other out. */
typedef struct user
{
	stk_engine *e;
	stk_status status;
} user;

static void *
use(void *arg)
{
	user *u = arg;
	stk_error err;

	for (size_t i = 0; i < unit_size(30, 30, 10) && u->status == STK_OK; i++)
		u->status = encode(u->e, i % 7 == 0 ? unit_size(ROWS / 4, ROWS / 4, 3000) : FEW, &err);
	return NULL;
}

static void
many_threads(void **state)
{
	pthread_t threads[6];
	user users[6];
	stk_engine *e;
	stk_error err;
	long before = fake_live();

	(void) state;
	fake_fail(NULL, 0, 0, 0);
	fake_devices(2, 1024);
	assert_int_equal(open_devices("all", &e, &err), STK_OK);
	for (int i = 0; i < 6; i++)
	{
		users[i] = (user){.e = e};
		assert_int_equal(pthread_create(&threads[i], NULL, use, &users[i]), 0);
	}
	for (int i = 0; i < 6; i++)
	{
		pthread_join(threads[i], NULL);
		assert_int_equal(users[i].status, STK_OK);
	}
	e->ops->close(e);
	assert_int_equal(fake_live(), before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(codes_are_the_processors),
									   cmocka_unit_test(beams),
									   cmocka_unit_test(rows_at_fault),
									   cmocka_unit_test(what_cannot_be_opened),
									   cmocka_unit_test(every_call_fails),
									   cmocka_unit_test(what_does_not_end),
									   cmocka_unit_test(codebooks_take_turns),
									   cmocka_unit_test(many_threads),
									   cmocka_unit_test(trainings)};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
