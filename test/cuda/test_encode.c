/*
 * Encoding on a device against core's stk_rq_encode: the same codes and the same errors.
 *
 *   make cuda-test here; test/cuda/bin/test_encode [RUNS] where there is a device
 *
 * RUNS of each full-size problem, 20; 0: small problems only, for compute-sanitizer; -1: few of them,
 * for its slower tools.
 *
 * Prints what was compared, how much was wrong, and how much the filter left to the reference.
 */
#include "device.h"
#include "engine/plugin.h"

static unsigned long wrong_in_all;
/* Problems whose levels could be scored from the row alone. */
static size_t joint_problems;

static void
say(const char *what, size_t compared, unsigned long wrong, const char *more)
{
	printf("%-6s %-44s %12zu compared %8lu wrong%s\n", wrong ? "FAILED" : "ok", what, compared,
		   wrong, more);
	fflush(stdout);
	wrong_in_all += wrong;
}

/*
 * What rounds to binary16 without loss, so that only the unit's own sums mislead: codewords are one
 * another with neighbours swapped, in pairs of opposite sign, about zero; scores differ by less
 * than the last place of their sums.
 */
static void
make_binary16(hostile_set *s, uint64_t *seed)
{
	for (size_t i = 0; i < s->dim; i++)
		s->c[i] = 1 + (float) below(3, seed) / 1024;
	for (size_t k = 1; k < s->size; k++)
	{
		const float *from = k % 2 ? s->c + (k - 1) * s->dim : s->c;
		float *c = s->c + k * s->dim;

		for (size_t i = 0; i < s->dim; i++)
			c[i] = k % 2 ? -from[i] : from[i];
		for (size_t i = 0; i + 1 < s->dim && k % 2 == 0; i += 2)
		{
			if (next_bits(seed) & 1)
			{
				c[i] = from[i + 1];
				c[i + 1] = from[i];
			}
		}
	}
	for (size_t i = 0; i < s->n * s->dim; i++)
		s->x[i] = 1 + (float) below(3, seed) / 1024;
}

static const hostile_kind binary16 = {"binary16 numbers", make_binary16};

/*
 * Numbers without loss in binary16, too, whose sums the unit truncates to one side: each codeword
 * has one chunk of 16s among numbers v = 2^-9 + 3 2^-19. With the 16s first, the sum's last place is
 * 2^-13 from there on, and each step of 16 elements loses three quarters of it; with the 16s last
 * nothing is lost. Codewords 0 and 1, of opposite signs, begin with theirs: the unit makes the least
 * of their scores, by more than the scores differ, though they are the best or as good as any.
 * Codewords' centre is zero, and rows are so long that offsets' errors do not count.
 */
static void
make_one_sided(hostile_set *s, uint64_t *seed)
{
	size_t chunks = s->dim / STK_CHUNK;

	for (size_t k = 0; k < s->size; k++)
	{
		size_t large = k < 2 ? 0 : chunks - 1;

		for (size_t i = 0; i < s->dim; i++)
		{
			float v = i / STK_CHUNK == large ? 16 : 0x1p-9f + 3 * 0x1p-19f;

			/* Where many steps lose, others are a little worse than the first. */
			if (i == 0 && k >= 2 && s->dim >= 256)
				v -= 0x1p-13f;
			s->c[k * s->dim + i] = k % 2 ? -v : v;
		}
	}
	for (size_t r = 0; r < s->n; r++)
	{
		float v = (float) (64 << below(4, seed));

		for (size_t i = 0; i < s->dim; i++)
			s->x[r * s->dim + i] = r % 2 ? -v : v;
	}
}

/* How far two answers differ: codes, or 1 where one is an error and the other not the same. */
static unsigned long
differences(stk_status status, const stk_error *err, const uint16_t *codes, stk_status expected,
			const stk_error *expected_err, const uint16_t *expected_codes, size_t n)
{
	unsigned long wrong = 0;

	if (status != expected)
		return 1;
	if (status != STK_OK)
		return err->row != expected_err->row || err->level != expected_err->level ||
			   strcmp(err->message, expected_err->message) != 0;
	for (size_t i = 0; i < n; i++)
		wrong += codes[i] != expected_codes[i];
	return wrong;
}

/* One problem by every kernel; returns differences, and adds to what was compared. */
static unsigned long
compare(const stk_codebook *cb, const float *x, size_t n, stk_filter filter, size_t *compared,
		stk_encode_stats *stats)
{
	static const int kernels[] = {STK_HOPPER, 128,        64,         32,         FEW(32, 1),
								  FEW(32, 2), FEW(32, 4), FEW(32, 8), FEW(16, 1), FEW(16, 2),
								  FEW(16, 4), FEW(16, 8), FEW(16, 0), PLAIN,      CHOSEN};
	size_t ncodes = n * (size_t) cb->levels;
	uint16_t *expected = malloc((ncodes + 1) * sizeof(uint16_t));
	uint16_t *codes = malloc((ncodes + 1) * sizeof(uint16_t));
	stk_error expected_err = {.level = -1};
	stk_status answer = core_encode(cb, filter, x, n, expected, &expected_err);
	stk_device_codebook *d = device_codebook(cb);
	stk_encode_call call = device_call(d, x, n);
	unsigned long wrong = 0;

	joint_problems += d->njoints > 1 && n > 0;
	for (size_t k = 0; k < sizeof(kernels) / sizeof(kernels[0]); k++)
	{
		stk_error err = {.level = -1};
		stk_encode_stats some;
		stk_status status = device_encode(&call, kernels[k], codes, &some, &err);
		unsigned long here =
			differences(status, &err, codes, answer, &expected_err, expected, ncodes);

		if (here)
			printf("       kernel %d: metric %d, %zu rows, dim %d, %d levels, size %u: %lu wrong; "
				   "\"%s\" row %zu level %d, expected \"%s\" row %zu level %d\n",
				   kernels[k], (int) cb->metric, n, cb->dim, cb->levels, cb->sizes[0], here,
				   err.message, err.row, err.level, expected_err.message, expected_err.row,
				   expected_err.level);
		wrong += here;
		if (stats && kernels[k] == STK_HOPPER)
		{
			stats->undecided += some.undecided;
			stats->reference += some.reference;
		}
	}
	*compared += ncodes;
	device_call_free(&call);
	stk_device_codebook_free(d);
	free(expected);
	free(codes);
	return wrong;
}

static const int ragged_dims[] = {1,  2,  3,  7,  8,   9,   15,  16,  17,  31,  33,
								  63, 64, 65, 96, 127, 128, 129, 192, 255, 256, 300};
/* Of rows that Hopper's kernel for long rows takes. */
static const int long_dims[] = {257, 260, 300, 320, 384, 520, 768};
static const uint32_t ragged_sizes[] = {1, 2, 3, 5, 31, 32, 33, 63, 64, 65, 127, 128, 129, 257};
static const size_t ragged_rows[] = {0, 1, 2, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200};

#define PICK(of, seed) ((of)[below(sizeof(of) / sizeof((of)[0]), seed)])

/* SMALL: for compute-sanitizer; LONG: several levels of long rows alone. */
typedef enum kind_shapes
{
	ALL,
	SMALL,
	LONG
} kind_shapes;

/* Problems of one kind. */
static void
test_kind(const hostile_kind *kind, kind_shapes shapes, int problems, uint64_t *seed)
{
	size_t compared = 0;
	unsigned long wrong = 0;
	stk_encode_stats stats = {0};
	char what[64], more[96];

	for (int p = 0; p < problems; p++)
	{
		stk_codebook cb = {.metric = (stk_metric) below(3, seed),
						   .levels = (shapes == LONG ? 2 : 1) + (int) below(4, seed),
						   .dim = shapes == SMALL  ? 1 + (int) below(130, seed)
								  : shapes == LONG ? PICK(long_dims, seed)
												   : PICK(ragged_dims, seed)};
		size_t n = shapes == SMALL ? below(100, seed) : PICK(ragged_rows, seed);
		float *x = malloc((n + 1) * (size_t) cb.dim * sizeof(float));
		float *codewords[5];

		for (int l = 0; l < cb.levels; l++)
		{
			hostile_set s = {.dim = (size_t) cb.dim,
							 .n = l == 0 ? n : 1,
							 .size = shapes == SMALL ? 1 + (uint32_t) below(300, seed)
													 : PICK(ragged_sizes, seed),
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
		wrong += compare(&cb, x, n, STK_FILTER_NONE, &compared, &stats);
		for (int l = 0; l < cb.levels; l++)
			free(codewords[l]);
		free(x);
	}
	snprintf(more, sizeof(more), ", undecided %5.1f %%, reference %5.1f %%",
			 100.0 * (double) stats.undecided / (double) (compared + 1),
			 100.0 * (double) stats.reference / (double) (compared + 1));
	snprintf(what, sizeof(what), "%s%s", kind->name, shapes == LONG ? ", long rows" : "");
	say(what, compared, wrong, more);
}

/* Rows that cannot be encoded, among others: the first is named as core names it. */
static void
test_errors(int problems, uint64_t *seed)
{
	size_t compared = 0;
	unsigned long wrong = 0;

	for (int p = 0; p < problems; p++)
	{
		size_t n = 1 + below(400, seed);
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
		wrong += compare(&cb, x, n, STK_FILTER_NONE, &compared, NULL);
		free(x);
		free(c);
	}
	say("rows that fail", compared, wrong, "");
}

/*
 * Long rows that round to binary16 without loss: nothing but the sums' own error is left of the
 * margin, and it grows with the dimension.
 */
static void
test_sums(uint64_t *seed)
{
	static const size_t dims[] = {128, 256, 512, 768, 1024, 1536, 2048};

	for (size_t i = 0; i < sizeof(dims) / sizeof(dims[0]); i++)
	{
		/* Few enough that all may be candidates: a crowded list would be the reference's. */
		hostile_set s = {.dim = dims[i], .n = 1000, .size = 12};
		stk_codebook cb = {.metric = STK_L2, .levels = 1, .dim = (int) dims[i]};
		size_t compared = 0;
		stk_encode_stats stats = {0};
		char what[64], more[96];
		unsigned long wrong;

		s.x = malloc(s.n * s.dim * sizeof(float));
		s.c = malloc(s.size * s.dim * sizeof(float));
		make_one_sided(&s, seed);
		cb.sizes[0] = s.size;
		cb.codewords[0] = s.c;
		wrong = compare(&cb, s.x, s.n, STK_FILTER_NONE, &compared, &stats);
		snprintf(what, sizeof(what), "dim %zu, one-sided sums", dims[i]);
		snprintf(more, sizeof(more), ", undecided %5.1f %%, reference %5.1f %%",
				 100.0 * (double) stats.undecided / (double) compared,
				 100.0 * (double) stats.reference / (double) compared);
		say(what, compared, wrong, more);
		free(s.x);
		free(s.c);
	}
}

/* Shapes at the limits. */
static void
test_shapes(uint64_t *seed)
{
	static const struct
	{
		int dim, levels;
		uint32_t size;
		size_t n;
	} shapes[] = {{16, 1, 65536, 300},  {100, 2, 20000, 200}, {64, 2, 4096, 1000},
				  {768, 3, 256, 500},   {1024, 2, 129, 300},  {1536, 2, 300, 200},
				  {2048, 1, 200, 100},  {2560, 2, 100, 70},   {2561, 2, 100, 70},
				  {4096, 2, 64, 40},    {16000, 2, 40, 20},   {24, 32, 64, 500},
				  {256, 2, 512, 30000}, {64, 1, 4096, 70000}, {100, 3, 300, 60000},
				  {384, 2, 256, 40000}, {768, 1, 300, 35001}, {128, 3, 256, 100001}};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
	{
		size_t values = shapes[i].n * (size_t) shapes[i].dim;
		float *x = malloc(values * sizeof(float));
		size_t compared = 0;
		stk_encode_stats stats = {0};
		char what[64], more[96];
		stk_codebook cb = {.metric = STK_L2, .levels = shapes[i].levels, .dim = shapes[i].dim};
		float *c = malloc((size_t) cb.levels * shapes[i].size * (size_t) cb.dim * sizeof(float));
		unsigned long wrong;

		fill(x, values, 1, seed);
		fill(c, (size_t) cb.levels * shapes[i].size * (size_t) cb.dim, 1, seed);
		for (int l = 0; l < cb.levels; l++)
		{
			cb.sizes[l] = shapes[i].size;
			cb.codewords[l] = c + (size_t) l * shapes[i].size * (size_t) cb.dim;
		}
		wrong = compare(&cb, x, shapes[i].n, STK_FILTER_NONE, &compared, &stats);
		snprintf(what, sizeof(what), "dim %d, %d x %u codes", cb.dim, cb.levels, shapes[i].size);
		snprintf(more, sizeof(more), ", undecided %5.1f %%, reference %5.1f %%",
				 100.0 * (double) stats.undecided / (double) compared,
				 100.0 * (double) stats.reference / (double) compared);
		say(what, compared, wrong, more);
		free(x);
		free(c);
	}
}

/* Full-size runs again and again: each against core's answer. */
static void
repeat(const char *name, const stk_codebook *cb, const float *x, size_t n, int runs)
{
	static const int kernels[] = {STK_HOPPER, 128, 64, 32, FEW(32, 2), FEW(16, 8), PLAIN};
	size_t ncodes = n * (size_t) cb->levels;
	uint16_t *expected = malloc(ncodes * sizeof(uint16_t));
	uint16_t *codes = malloc(ncodes * sizeof(uint16_t));
	stk_error err = {.level = -1};
	stk_device_codebook *d = device_codebook(cb);
	stk_encode_call call = device_call(d, x, n);

	must(core_encode(cb, STK_FILTER_BEST, x, n, expected, &err) == STK_OK, name, err.message);
	for (size_t k = 0; k < sizeof(kernels) / sizeof(kernels[0]); k++)
	{
		unsigned long wrong = 0;
		stk_encode_stats stats = {0};
		int times = kernels[k] == PLAIN ? 1 : runs;
		char what[96], more[96];

		for (int i = 0; i < times; i++)
		{
			must(device_encode(&call, kernels[k], codes, &stats, &err) == STK_OK, name,
				 err.message);
			wrong += differences(STK_OK, NULL, codes, STK_OK, NULL, expected, ncodes);
		}
		snprintf(what, sizeof(what), "%s, %s %d, %d runs", name,
				 kernels[k] == PLAIN        ? "plain"
				 : kernels[k] == STK_HOPPER ? "hopper"
											: "tile",
				 kernels[k], times);
		snprintf(more, sizeof(more), ", undecided %.3f %%, reference %.3f %%",
				 100.0 * (double) stats.undecided / (double) ncodes,
				 100.0 * (double) stats.reference / (double) ncodes);
		say(what, ncodes * (size_t) times, wrong, more);
	}
	device_call_free(&call);
	stk_device_codebook_free(d);
	free(expected);
	free(codes);
}

/*
 * Few rows, of which a call takes microseconds: each shape many times, by every way to share them.
 * Rows lie near codewords' midpoints here and there, so that the reference has something to choose.
 */
static void
test_few(int runs, uint64_t *seed)
{
	static const int kernels[] = {FEW(32, 1), FEW(32, 2), FEW(32, 4), FEW(32, 8), FEW(16, 1),
								  FEW(16, 2), FEW(16, 4), FEW(16, 8), CHOSEN};
	static const size_t rows[] = {1, 15, 16, 17, 31, 32, 33, 64, 100, 1000, 1024, 4097};
	static const int dims[] = {64, 100, 128, 256, 768};
	static const uint32_t sizes[] = {64, 200, 256, 512, 3000};
	size_t compared = 0;
	unsigned long wrong = 0;
	stk_encode_stats all = {0};
	char more[96];

	for (int p = 0; p < 60; p++)
	{
		stk_codebook cb = {.metric = (stk_metric) (p % 3),
						   .levels = 1 + (int) below(4, seed),
						   .dim = PICK(dims, seed)};
		size_t dim = (size_t) cb.dim;
		size_t n = rows[(size_t) p % (sizeof(rows) / sizeof(rows[0]))];
		uint32_t size = PICK(sizes, seed);
		size_t ncodes = n * (size_t) cb.levels;
		float *x = malloc(n * dim * sizeof(float));
		float *c = malloc((size_t) cb.levels * size * dim * sizeof(float));
		uint16_t *expected = malloc(ncodes * sizeof(uint16_t));
		uint16_t *codes = malloc(ncodes * sizeof(uint16_t));
		stk_error err = {.level = -1};
		stk_device_codebook *d;
		stk_encode_call call;

		fill(x, n * dim, 1, seed);
		fill(c, (size_t) cb.levels * size * dim, 1, seed);
		for (size_t r = 0; r < n; r += 3)
		{
			const float *a = c + below(size, seed) * dim, *b = c + below(size, seed) * dim;

			for (size_t i = 0; i < dim; i++)
				x[r * dim + i] = 0.5f * (a[i] + b[i]);
		}
		for (int l = 0; l < cb.levels; l++)
		{
			cb.sizes[l] = size;
			cb.codewords[l] = c + (size_t) l * size * dim;
		}
		must(core_encode(&cb, STK_FILTER_BEST, x, n, expected, &err) == STK_OK, "core",
			 err.message);
		d = device_codebook(&cb);
		call = device_call(d, x, n);
		for (int i = 0; i < runs * (int) (sizeof(kernels) / sizeof(kernels[0])); i++)
		{
			stk_encode_stats stats;

			must(device_encode(&call, kernels[i / runs], codes, &stats, &err) == STK_OK, "encode",
				 err.message);
			wrong += differences(STK_OK, NULL, codes, STK_OK, NULL, expected, ncodes);
			compared += ncodes;
			all.undecided += stats.undecided;
			all.reference += stats.reference;
		}
		device_call_free(&call);
		stk_device_codebook_free(d);
		free(x);
		free(c);
		free(expected);
		free(codes);
	}
	snprintf(more, sizeof(more), ", undecided %.3f %%, reference %.3f %%",
			 100.0 * (double) all.undecided / (double) compared,
			 100.0 * (double) all.reference / (double) compared);
	say("few rows, all ways, again and again", compared, wrong, more);
}

/* Uniform, normal-like, and clustered rows with ties and near ties. */
static void
fill_rows(int kind, float *x, size_t n, size_t dim, uint64_t *seed)
{
	fill(x, n * dim, 1, seed);
	if (kind == 1)
		for (size_t i = 0; i < n * dim; i++)
			x[i] += next_float(seed) + next_float(seed) + next_float(seed);
	for (size_t r = 64; r < n && kind == 2; r++)
	{
		const float *a = x + below(64, seed) * dim;
		const float *b = x + below(64, seed) * dim;
		float *row = x + r * dim;
		size_t at = below(dim, seed);

		for (size_t i = 0; i < dim; i++)
			row[i] = 0.5f * (a[i] + b[i]) + (r % 3 ? 0.02f * row[i] : 0);
		if (r % 2)
			row[at] = one_step(row[at], seed);
	}
}

static void
test_full_size(size_t n, size_t dim, const char *shape, int runs, uint64_t *seed)
{
	static const char *const kinds[] = {"uniform", "normal", "near ties"};
	float *x = malloc(n * dim * sizeof(float));

	for (int kind = 0; kind < 3; kind++)
	{
		for (int levels = 1; levels <= 3; levels += 2)
		{
			char name[64];
			stk_codebook cb;

			fill_rows(kind, x, n, dim, seed);
			cb = sampled_codebook(x, n, (int) dim, levels, 256, STK_L2);
			/* Each codeword of the first level four times, and rows half way between two. */
			for (size_t k = 0; k < 256 && kind == 2; k++)
				memcpy((float *) (uintptr_t) cb.codewords[0] + k * dim, x + k % 64 * dim,
					   dim * sizeof(float));
			snprintf(name, sizeof(name), "%s, %d x 256, %s", shape, levels, kinds[kind]);
			repeat(name, &cb, x, n, runs);
			free((void *) (uintptr_t) cb.codewords[0]);
		}
	}
	free(x);
}

/* More than 2^31 numbers in one call. */
static void
test_many_numbers(uint64_t *seed)
{
	size_t n = 8500000, dim = 256;
	float *x = malloc(n * dim * sizeof(float));
	stk_codebook cb;

	must(x != NULL, "rows of 2^31 numbers", "out of memory");
	fill(x, 50000 * dim, 1, seed);
	for (size_t r = 50000; r < n; r += 50000)
		for (size_t i = 0; i < 50000 * dim; i++)
			x[r * dim + i] = x[i] + (float) (r / 50000) * 0x1p-10f;
	cb = sampled_codebook(x, n, (int) dim, 2, 100, STK_COSINE);
	repeat("8.5M x 256 = 2.2e9 numbers, 2 x 100, cosine", &cb, x, n, 1);
	free((void *) (uintptr_t) cb.codewords[0]);
	free(x);
}

static void
test_real(const char *file, int runs)
{
	size_t n, dim;
	float *x = shared_rows(file, 1000000, &n, &dim);
	stk_codebook cb;

	if (!x)
	{
		printf("       %s is not here\n", file);
		return;
	}
	for (int metric = 0; metric < 3; metric++)
	{
		char name[96];

		cb = sampled_codebook(x, n, (int) dim, 3, 256, (stk_metric) metric);
		snprintf(name, sizeof(name), "%s, %zu x %zu, %s", file, n, dim,
				 stk_metric_name((stk_metric) metric));
		repeat(name, &cb, x, n, runs);
		free((void *) (uintptr_t) cb.codewords[0]);
	}
	free(x);
}

/* The engine as semtokd opens it: codes and errors of calls of all sizes, from ordinary memory. */
static void
test_engine(uint64_t *seed)
{
	static const size_t sizes[] = {0, 1, 1000, 99999, 700001};
	size_t most = 700001, dim = 96, compared = 0;
	float *x = malloc(most * dim * sizeof(float));
	uint16_t *expected = malloc(most * 3 * sizeof(uint16_t));
	uint16_t *codes = malloc(most * 3 * sizeof(uint16_t));
	unsigned long wrong = 0;
	stk_engine *host, *engine;
	stk_resident *resident;
	stk_error err = {.level = -1}, expected_err = {.level = -1};
	char path[4096];

	must(stk_plugin_path("semtok_cuda.so", path, sizeof(path)), "path", "");
	must(stk_engine_cpu_open(&stk_malloc, &host, &err) == STK_OK, "engine cpu", err.message);
	must(stk_plugin_open(path, &stk_malloc, host, "all", &engine, &err) == STK_OK, path,
		 err.message);
	printf("       engine %s: %s\n", engine->ops->name, engine->device);
	fill(x, most * dim, 1, seed);
	for (int metric = 0; metric < 3; metric++)
	{
		stk_codebook cb = sampled_codebook(x, most, (int) dim, 3, 200, (stk_metric) metric);

		must(engine->ops->load(engine, plain_exec(), &cb, false, &resident, &err) == STK_OK, "load",
			 err.message);
		for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++)
		{
			size_t n = sizes[i / 2];
			size_t bad = n ? below(n, seed) * dim : 0;
			float kept = x[bad];
			stk_status status, answer;

			/* Once as they are, once with a row that fails. */
			if (i % 2)
				x[bad] = NAN;
			memset(codes, 0xff, n * 3 * sizeof(uint16_t));
			answer = core_encode(&cb, STK_FILTER_BEST, x, n, expected, &expected_err);
			status = engine->ops->encode(engine, plain_exec(), resident, x, n, 1, codes, &err);
			wrong += differences(status, &err, codes, answer, &expected_err, expected, n * 3);
			compared += n * 3;
			x[bad] = kept;
		}
		engine->ops->unload(engine, resident);
		free((void *) (uintptr_t) cb.codewords[0]);
	}
	engine->ops->close(engine);
	host->ops->close(host);
	say("the engine, host-resident", compared, wrong, "");
	free(x);
	free(expected);
	free(codes);
}

int
main(int argc, char **argv)
{
	int runs = argc > 1 ? atoi(argv[1]) : 20;
	uint64_t seed = 20261121;
	struct cudaDeviceProp device;
	stk_error err = {.level = -1};
	bool holds;

	MUST_CUDA(cudaGetDeviceProperties(&device, 0));
	printf("device: %s, compute capability %d.%d\n", device.name, device.major, device.minor);
	must(stk_probe_tensor(0, &holds, &err) == STK_OK, "probe", err.message);
	say("arithmetic of the tensor unit", 1, !holds, "");
	for (size_t i = 0; i < HOSTILE_KINDS; i += runs < 0 ? 5 : 1)
		test_kind(&hostile_kinds[i], runs < 0 ? SMALL : ALL,
				  runs < 0    ? 1
				  : runs == 0 ? 2
				  : runs < 20 ? 10
							  : 60,
				  &seed);
	if (runs >= 0)
	{
		test_kind(&binary16, ALL, runs == 0 ? 2 : 60, &seed);
		joint_problems = 0;
		for (size_t i = 0; i < HOSTILE_KINDS; i++)
			test_kind(&hostile_kinds[i], LONG, runs == 0 ? 1 : runs < 20 ? 5 : 30, &seed);
		say("long rows whose levels are scored from the row", joint_problems, joint_problems == 0,
			"");
		test_errors(runs == 0 ? 6 : 120, &seed);
	}
	if (runs <= 0)
	{
		printf("%s: %lu wrong in all\n", wrong_in_all ? "FAILED" : "all is well", wrong_in_all);
		return wrong_in_all ? 1 : 0;
	}
	test_sums(&seed);
	test_shapes(&seed);
	test_few(runs, &seed);
	test_engine(&seed);
	test_real("beauty/minilm384.fvecs", runs);
	if (runs > 1)
	{
		test_full_size(1000000, 128, "1M x 128", runs, &seed);
		test_full_size(65536, 768, "65,536 x 768", runs, &seed);
		test_many_numbers(&seed);
	}
	printf("%s: %lu wrong in all\n", wrong_in_all ? "FAILED" : "all is well", wrong_in_all);
	return wrong_in_all ? 1 : 0;
}
