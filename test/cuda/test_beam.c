/*
 * Encoding with a beam on a device against core's stk_rq_encode: the same codes, the same errors.
 *
 *   make cuda-test here; test/cuda/bin/test_beam [PROBLEMS] where there is a device
 *
 * PROBLEMS of each kind, 60; 0: few and small ones, for compute-sanitizer; -1: fewer, for its slower
 * tools.
 */
#include "beam_shape.h"
#include "device.h"
#include "engine/plugin.h"

static unsigned long wrong_in_all;

static void
say(const char *what, size_t compared, unsigned long wrong, const char *more)
{
	printf("%-6s %-44s %12zu compared %8lu wrong%s\n", wrong ? "FAILED" : "ok", what, compared,
		   wrong, more);
	fflush(stdout);
	wrong_in_all += wrong;
}

/* Does a block of this device have room for the beam? */
static bool
device_takes(const stk_codebook *cb, int beam, size_t n)
{
	stk_beam_shape shape;
	int shared;

	MUST_CUDA(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
	return stk_beam_shape_choose(cb->sizes, cb->levels, cb->dim, beam, n, (size_t) shared - 1024,
								 &shape);
}

/* One problem, twice on the device; returns differences, and adds to what was compared. */
static unsigned long
compare(const stk_codebook *cb, stk_filter filter, const float *x, size_t n, int beam,
		size_t *compared)
{
	size_t ncodes = n * (size_t) cb->levels;
	uint16_t *expected = malloc((ncodes + 1) * sizeof(uint16_t));
	uint16_t *codes = malloc((ncodes + 1) * sizeof(uint16_t));
	stk_error expected_err = {.level = -1};
	stk_status answer = core_encode_beam(cb, filter, x, n, beam, expected, &expected_err);
	stk_device_codebook *d = device_codebook(cb);
	stk_encode_call call = device_call(d, x, n);
	unsigned long wrong = 0;

	call.beam = beam;
	for (int run = 0; run < 2; run++)
	{
		stk_error err = {.level = -1};
		stk_status status = device_encode(&call, CHOSEN, codes, NULL, &err);
		unsigned long here = 0;

		if (status != answer)
			here = 1;
		else if (status != STK_OK)
			here = err.row != expected_err.row || err.level != expected_err.level ||
				   strcmp(err.message, expected_err.message) != 0;
		else
			for (size_t i = 0; i < ncodes; i++)
				here += codes[i] != expected[i];
		if (here)
			printf("       beam %d, metric %d, %zu rows, dim %d, %d levels, size %u: %lu wrong; "
				   "\"%s\" row %zu level %d, expected \"%s\" row %zu level %d\n",
				   beam, (int) cb->metric, n, cb->dim, cb->levels, cb->sizes[0], here, err.message,
				   err.row, err.level, expected_err.message, expected_err.row, expected_err.level);
		wrong += here;
	}
	*compared += 2 * ncodes;
	device_call_free(&call);
	stk_device_codebook_free(d);
	free(expected);
	free(codes);
	return wrong;
}

static const int ragged_dims[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 128, 129, 300};
static const uint32_t ragged_sizes[] = {1, 2, 3, 5, 15, 16, 17, 31, 33, 64, 65, 128, 129, 257};
static const size_t ragged_rows[] = {0, 1, 2, 7, 8, 9, 33};
static const int widths[] = {2, 3, 5, 16, 64, 300};

#define PICK(of, seed) ((of)[below(sizeof(of) / sizeof((of)[0]), seed)])

/* Problems of one kind, of all shapes; every second with many rows of few numbers. */
static void
test_kind(const hostile_kind *kind, int problems, bool few, uint64_t *seed)
{
	size_t compared = 0;
	unsigned long wrong = 0;
	int left = 0;
	char more[96];

	for (int p = 0; p < problems; p++)
	{
		stk_codebook cb = {.metric = (stk_metric) below(3, seed),
						   .levels = 1 + (int) below(8, seed),
						   .dim = PICK(ragged_dims, seed)};
		bool many = p % 4 == 3 && !few;
		int beam = few ? 2 + (int) below(5, seed) : PICK(widths, seed);
		size_t n = PICK(ragged_rows, seed);
		float *x;
		float *codewords[8];

		if (many)
		{
			cb.dim = 1 + (int) below(12, seed);
			cb.levels = 2;
			n = 2200 + below(20, seed);
			beam = 2 + (int) below(6, seed);
		}
		x = malloc((n + 1) * (size_t) cb.dim * sizeof(float));
		for (int l = 0; l < cb.levels; l++)
		{
			hostile_set s = {.dim = (size_t) cb.dim,
							 .n = l == 0 ? n : 1,
							 .size =
								 few ? 1 + (uint32_t) below(20, seed) : PICK(ragged_sizes, seed),
							 .inner_product = cb.metric == STK_IP};
			float *unused = malloc(s.dim * sizeof(float));

			codewords[l] = malloc(s.size * s.dim * sizeof(float));
			s.c = codewords[l];
			s.x = l == 0 ? x : unused;
			kind->make(&s, seed);
			cb.sizes[l] = s.size;
			cb.codewords[l] = s.c;
			free(unused);
		}
		if (device_takes(&cb, beam, n))
			wrong += compare(&cb, STK_FILTER_NONE, x, n, beam, &compared);
		else
			left++;
		for (int l = 0; l < cb.levels; l++)
			free(codewords[l]);
		free(x);
	}
	snprintf(more, sizeof(more), ", %d of %d shapes left to the processor", left, problems);
	say(kind->name, compared, wrong, more);
}

/* Rows that cannot be encoded, among others: the first is named as core names it. */
static void
test_errors(int problems, uint64_t *seed)
{
	size_t compared = 0;
	unsigned long wrong = 0;

	for (int p = 0; p < problems; p++)
	{
		size_t n = 1 + below(100, seed);
		int dim = PICK(ragged_dims, seed);
		float *x = malloc(n * (size_t) dim * sizeof(float));
		float *c = malloc(3 * 40 * (size_t) dim * sizeof(float));
		stk_codebook cb = {.metric = (stk_metric) (p % 3), .levels = 3, .dim = dim};

		fill(x, n * (size_t) dim, 1, seed);
		fill(c, 3 * 40 * (size_t) dim, 1, seed);
		for (int l = 0; l < 3; l++)
		{
			cb.sizes[l] = 40;
			cb.codewords[l] = c + (size_t) l * 40 * (size_t) dim;
		}
		/* The inner product takes far codewords: residuals that leave the range. */
		if (p % 2)
			for (size_t i = 0; i < 3 * 40 * (size_t) dim; i += 1 + below(7, seed))
				c[i] = c[i] < 0 ? -3e38f : 3e38f;
		for (size_t bad = below(4, seed); bad > 0; bad--)
		{
			size_t row = below(n, seed);
			size_t at = row * (size_t) dim + below((size_t) dim, seed);

			switch (below(5, seed))
			{
				case 0:
					x[at] = NAN;
					break;
				case 1:
					x[at] = INFINITY;
					break;
				case 2:
					x[at] = -INFINITY;
					break;
				case 3:
					memset(x + row * (size_t) dim, 0, (size_t) dim * sizeof(float));
					break;
				default:
					for (int i = 0; i < dim; i++)
						x[row * (size_t) dim + (size_t) i] = 3e38f;
			}
		}
		wrong += compare(&cb, STK_FILTER_NONE, x, n, 2 + (int) below(8, seed), &compared);
		free(x);
		free(c);
	}
	say("rows that fail", compared, wrong, "");
}

/* Codebooks like trained ones, many rows, against core's fast way. */
static void
test_sampled(uint64_t *seed)
{
	static const struct
	{
		int dim, levels, beam;
		uint32_t size;
		size_t n;
	} shapes[] = {{128, 3, 5, 256, 20000}, {128, 3, 16, 256, 20000}, {384, 3, 5, 256, 20000},
				  {384, 3, 16, 256, 5000}, {128, 3, 64, 256, 3000},  {96, 4, 8, 1000, 3000},
				  {64, 8, 10, 64, 5000},   {1024, 2, 10, 100, 500},  {32, 32, 4, 16, 2000},
				  {4, 3, 1000, 256, 100},  {16, 2, 3, 3000, 100}};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
	{
		size_t dim = (size_t) shapes[i].dim;
		float *x = malloc(shapes[i].n * dim * sizeof(float));
		size_t compared = 0;
		unsigned long wrong = 0;
		char what[64];

		fill(x, shapes[i].n * dim, 1, seed);
		snprintf(what, sizeof(what), "dim %d, %d x %u codes, beam %d", shapes[i].dim,
				 shapes[i].levels, shapes[i].size, shapes[i].beam);
		for (int metric = 0; metric < 3; metric++)
		{
			stk_codebook cb = sampled_codebook(x, shapes[i].n, shapes[i].dim, shapes[i].levels,
											   shapes[i].size, (stk_metric) metric);

			must(device_takes(&cb, shapes[i].beam, shapes[i].n), what, "not taken");
			wrong += compare(&cb, STK_FILTER_BEST, x, shapes[i].n, shapes[i].beam, &compared);
			free((void *) (uintptr_t) cb.codewords[0]);
		}
		say(what, compared, wrong, "");
		free(x);
	}
}

int
main(int argc, char **argv)
{
	int problems = argc > 1 ? atoi(argv[1]) : 60;
	uint64_t seed = 20261121;
	struct cudaDeviceProp device;

	MUST_CUDA(cudaGetDeviceProperties(&device, 0));
	printf("device: %s, compute capability %d.%d\n", device.name, device.major, device.minor);
	for (size_t i = 0; i < HOSTILE_KINDS; i += problems < 0 ? 5 : 1)
		test_kind(&hostile_kinds[i],
				  problems < 0    ? 1
				  : problems == 0 ? 2
								  : problems,
				  problems <= 0, &seed);
	if (problems >= 0)
		test_errors(problems == 0 ? 4 : 120, &seed);
	if (problems > 0)
		test_sampled(&seed);
	printf("%s: %lu wrong in all\n", wrong_in_all ? "FAILED" : "all is well", wrong_in_all);
	return wrong_in_all ? 1 : 0;
}
