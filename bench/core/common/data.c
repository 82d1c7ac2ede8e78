#include "data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define CENTRES 1000
#define PROJECTED 128

/* Where each data set is, and its shape for when it is not there. */
typedef struct source
{
	const char *name;
	const char *file; /* below data/; NULL: made up by intent */
	size_t n;
	size_t dim;
	enum
	{
		AS_IS,
		UNIT,    /* rows have norm 1 */
		PROJECT, /* to PROJECTED dimensions */
		NORMAL   /* independent standard normal numbers */
	} kind;
} source;

static const source sources[] = {
	{"beauty", "beauty/minilm384.fvecs", 12101, 384, UNIT},
	{"sasrec32", "beauty/sasrec32.fvecs", 12101, 32, AS_IS},
	{"sift5k", "ann/sift5k_base.fvecs", 5000, 128, AS_IS},
	{"glove50", "ann/glove50_5050.fvecs", 5050, 50, AS_IS},
	{"wikilda8", "ann/wikilda8_10k.fvecs", 10000, 8, AS_IS},
	{"mnist", "ann/mnist_train.bvecs.xz", 60000, 784, AS_IS},
	{"mnist128", "ann/mnist_train.bvecs.xz", 50000, 784, PROJECT},
	{"clustered", NULL, 50000, 128, AS_IS},
	{"normal", NULL, 50000, 128, NORMAL},
};

/* splitmix64 */
static uint64_t
next_bits(uint64_t *state)
{
	uint64_t z = (*state += 0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
	return z ^ (z >> 31);
}

/* In (0, 1). */
static double
next_uniform(uint64_t *state)
{
	return ((double) (next_bits(state) >> 12) + 0.5) * 0x1p-52;
}

void
bench_fill_normal(float *x, size_t n, uint64_t seed)
{
	uint64_t state = seed;

	/* Box and Muller: two at a time. */
	for (size_t i = 0; i < n; i += 2)
	{
		double radius = sqrt(-2 * log(next_uniform(&state)));
		double angle = 2 * M_PI * next_uniform(&state);

		x[i] = (float) (radius * cos(angle));
		if (i + 1 < n)
			x[i + 1] = (float) (radius * sin(angle));
	}
}

void
bench_fill_clustered(float *x, size_t n, size_t dim, uint64_t seed)
{
	float *centres = bench_alloc(CENTRES * dim, sizeof(float));
	uint64_t state = seed;

	bench_fill_normal(centres, CENTRES * dim, seed + 1);
	bench_fill_normal(x, n * dim, seed + 2);
	for (size_t i = 0; i < n; i++)
	{
		const float *centre = centres + next_bits(&state) % CENTRES * dim;

		for (size_t j = 0; j < dim; j++)
			x[i * dim + j] = centre[j] + 0.5f * x[i * dim + j];
	}
	free(centres);
}

/*
 * Up to n rows of an .fvecs or .bvecs file, or of one that xz packed: each row an int32 dimension,
 * then so many floats or bytes, little-endian. False when it is not there or of another shape.
 */
static bool
read_vectors(const char *path, float *x, size_t *n, size_t dim)
{
	bool packed = strlen(path) > 3 && strcmp(path + strlen(path) - 3, ".xz") == 0;
	bool bytes = strstr(path, ".bvecs") != NULL;
	size_t width = bytes ? 1 : sizeof(float);
	uint8_t *row = bench_alloc(dim, width);
	char command[1200];
	size_t got = 0;
	int32_t head;
	FILE *file;

	snprintf(command, sizeof(command), "xz -dc -- '%s' 2>/dev/null", path);
	file = packed ? popen(command, "r") : fopen(path, "rb");
	while (file && got < *n && fread(&head, sizeof(head), 1, file) == 1 && (size_t) head == dim &&
		   fread(row, width, dim, file) == dim)
	{
		if (bytes)
		{
			for (size_t i = 0; i < dim; i++)
				x[got * dim + i] = row[i];
		}
		else
			memcpy(x + got * dim, row, dim * sizeof(float));
		got++;
	}
	if (file && packed)
		pclose(file);
	else if (file)
		fclose(file);
	free(row);
	if (got == 0)
		return false;
	*n = got;
	return true;
}

static void
normalise(float *x, size_t n, size_t dim)
{
	for (size_t i = 0; i < n; i++)
	{
		double sum = 0;

		for (size_t j = 0; j < dim; j++)
			sum += (double) x[i * dim + j] * (double) x[i * dim + j];
		for (size_t j = 0; j < dim; j++)
			x[i * dim + j] = (float) ((double) x[i * dim + j] / sqrt(sum));
	}
}

/* An orthonormal basis of PROJECTED directions [dim][PROJECTED], by Gram and Schmidt. */
static float *
make_basis(size_t dim)
{
	float *directions = bench_alloc(PROJECTED * dim, sizeof(float));
	float *basis = bench_alloc(PROJECTED * dim, sizeof(float));

	bench_fill_normal(directions, PROJECTED * dim, 128);
	for (size_t p = 0; p < PROJECTED; p++)
	{
		float *v = directions + p * dim;

		for (size_t q = 0; q < p; q++)
		{
			const float *u = directions + q * dim;
			double dot = 0;

			for (size_t i = 0; i < dim; i++)
				dot += (double) u[i] * (double) v[i];
			for (size_t i = 0; i < dim; i++)
				v[i] -= (float) (dot * (double) u[i]);
		}
		normalise(v, 1, dim);
		for (size_t i = 0; i < dim; i++)
			basis[i * PROJECTED + p] = v[i];
	}
	free(directions);
	return basis;
}

/* Replace rows by their coordinates along PROJECTED fixed directions. */
static void
project(bench_rows *rows)
{
	float *basis = make_basis(rows->dim);
	float *to = bench_alloc(rows->n * PROJECTED, sizeof(float));

	memset(to, 0, rows->n * PROJECTED * sizeof(float));
	for (size_t r = 0; r < rows->n; r++)
	{
		for (size_t i = 0; i < rows->dim; i++)
		{
			float value = rows->x[r * rows->dim + i];

			/* Most of MNIST's pixels. */
			if (value == 0)
				continue;
			for (size_t p = 0; p < PROJECTED; p++)
				to[r * PROJECTED + p] += value * basis[i * PROJECTED + p];
		}
	}
	free(basis);
	free(rows->x);
	rows->x = to;
	rows->dim = PROJECTED;
}

static const source *
find_source(const char *name)
{
	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
	{
		if (strcmp(sources[i].name, name) == 0)
			return &sources[i];
	}
	fprintf(stderr, "no data set %s\n", name);
	exit(1);
}

bench_rows
bench_rows_load(const char *name, size_t max)
{
	const source *s = find_source(name);
	const char *shared = getenv("SEMTOK_SHARED");
	bench_rows rows = {.n = s->n < max ? s->n : max, .dim = s->dim};
	char path[1024];

	rows.x = bench_alloc(rows.n * rows.dim, sizeof(float));
	snprintf(path, sizeof(path), "%s/data/%s", shared ? shared : "../shared", s->file);
	rows.real = s->file && read_vectors(path, rows.x, &rows.n, rows.dim);
	if (!rows.real && s->kind == NORMAL)
		bench_fill_normal(rows.x, rows.n * rows.dim, 1);
	else if (!rows.real)
		bench_fill_clustered(rows.x, rows.n, rows.dim, 1);
	if (!rows.real && s->kind == UNIT)
		normalise(rows.x, rows.n, rows.dim);
	if (s->kind == PROJECT)
		project(&rows);
	snprintf(rows.name, sizeof(rows.name), "%s%s", name, s->file && !rows.real ? " (made up)" : "");
	return rows;
}

void
bench_rows_free(bench_rows *rows)
{
	free(rows->x);
}

float *
bench_copy(const float *x, size_t n)
{
	float *copy = bench_alloc(n, sizeof(float));

	memcpy(copy, x, n * sizeof(float));
	return copy;
}
