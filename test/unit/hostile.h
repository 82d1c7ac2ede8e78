/*
 * Rows and codewords made to mislead a filter: ties, near-ties, numbers that overflow, underflow,
 * cancel or drown, and what is lost on the way to bfloat16.
 */
#ifndef UNIT_HOSTILE_H
#define UNIT_HOSTILE_H

#include <float.h>

#include "rows.h"

typedef struct hostile_set
{
	size_t dim, n;
	uint32_t size;
	bool inner_product;
	float *c; /* [size][dim] */
	float *x; /* [n][dim] */
} hostile_set;

typedef struct hostile_kind
{
	const char *name;
	void (*make)(hostile_set *s, uint64_t *seed);
} hostile_kind;

static inline size_t
below(size_t n, uint64_t *seed)
{
	return next_bits(seed) % n;
}

static inline float
in_range(double v)
{
	return v > FLT_MAX ? FLT_MAX : v < -FLT_MAX ? -FLT_MAX : (float) v;
}

/* v times a power of two between the two, whatever becomes of it but infinity. */
static inline float
scaled(float v, int low, int high, uint64_t *seed)
{
	return in_range(ldexp(v, low + (int) below((size_t) (high - low) + 1, seed)));
}

static inline float
one_step(float v, uint64_t *seed)
{
	float moved = nextafterf(v, next_bits(seed) & 1 ? INFINITY : -INFINITY);

	return isfinite(moved) ? moved : v;
}

static inline void
make_random(hostile_set *s, uint64_t *seed)
{
	fill(s->c, s->size * s->dim, 1, seed);
	fill(s->x, s->n * s->dim, 1, seed);
}

/* Small whole numbers: scores that are exactly equal. */
static inline void
make_whole(hostile_set *s, uint64_t *seed)
{
	for (size_t i = 0; i < s->size * s->dim; i++)
		s->c[i] = (float) below(5, seed) - 2;
	for (size_t i = 0; i < s->n * s->dim; i++)
		s->x[i] = (float) below(5, seed) - 2;
}

/* Copies of one codeword, one unit in the last place away here and there; rows around it. */
static inline void
make_near_copies(hostile_set *s, uint64_t *seed)
{
	fill(s->c, s->dim, 1, seed);
	for (size_t k = 1; k < s->size; k++)
	{
		float *c = s->c + k * s->dim;
		size_t at = below(s->dim, seed);

		memcpy(c, s->c, s->dim * sizeof(float));
		if (k % 3)
			c[at] = one_step(c[at], seed);
	}
	fill(s->x, s->n * s->dim, 2, seed);
	for (size_t i = 0; i < s->n; i += 4)
		memcpy(s->x + i * s->dim, s->c + below(s->size, seed) * s->dim, s->dim * sizeof(float));
}

/* Half of the codewords occur twice; rows are codewords. */
static inline void
make_duplicates(hostile_set *s, uint64_t *seed)
{
	fill(s->c, s->size * s->dim, 1, seed);
	for (size_t k = s->size / 2; k < s->size; k++)
		memcpy(s->c + k * s->dim, s->c + below(s->size, seed) * s->dim, s->dim * sizeof(float));
	for (size_t i = 0; i < s->n; i++)
		memcpy(s->x + i * s->dim, s->c + below(s->size, seed) * s->dim, s->dim * sizeof(float));
}

/* Norms that overflow binary32. */
static inline void
make_huge(hostile_set *s, uint64_t *seed)
{
	make_random(s, seed);
	for (size_t i = 0; i < s->size * s->dim; i++)
		s->c[i] = scaled(s->c[i], 60, 128, seed);
	for (size_t i = 0; i < s->n * s->dim; i++)
		s->x[i] = scaled(s->x[i], 60, 128, seed);
}

/* Numbers close to the largest, between ordinary ones: NaN and infinity on the way. */
static inline void
make_overflowing(hostile_set *s, uint64_t *seed)
{
	make_random(s, seed);
	for (size_t i = 0; i < s->size * s->dim; i++)
		s->c[i] = below(4, seed) ? s->c[i] : s->c[i] < 0 ? -3e38f : 3e38f;
	for (size_t i = 0; i < s->n * s->dim; i++)
		s->x[i] = below(4, seed) ? s->x[i] : s->x[i] < 0 ? -3e38f : 3e38f;
}

/* Denormal numbers. */
static inline void
make_tiny(hostile_set *s, uint64_t *seed)
{
	make_random(s, seed);
	for (size_t i = 0; i < s->size * s->dim; i++)
		s->c[i] = scaled(s->c[i], -149, -120, seed);
	for (size_t i = 0; i < s->n * s->dim; i++)
		s->x[i] = scaled(s->x[i], -149, -120, seed);
}

/* Products around the smallest numbers: flushed by some units, denormal in others. */
static inline void
make_underflowing(hostile_set *s, uint64_t *seed)
{
	make_random(s, seed);
	for (size_t i = 0; i < s->n; i++)
	{
		int power = -(int) below(80, seed);

		for (size_t j = 0; j < s->dim; j++)
			s->x[i * s->dim + j] = ldexpf(s->x[i * s->dim + j], power);
	}
	for (size_t i = 0; i < s->size * s->dim; i++)
		s->c[i] = scaled(s->c[i], -75, -65, seed);
}

/* Denormal rows against large codewords: what a unit that flushes its input loses whole. */
static inline void
make_flushed(hostile_set *s, uint64_t *seed)
{
	make_random(s, seed);
	for (size_t i = 0; i < s->size * s->dim; i++)
		s->c[i] = scaled(s->c[i], 20, 40, seed);
	for (size_t i = 0; i < s->n * s->dim; i++)
		s->x[i] = scaled(s->x[i], -140, -120, seed);
}

/* Each vector has a size of its own, from the smallest number to the largest. */
static inline void
make_all_sizes(hostile_set *s, uint64_t *seed)
{
	make_random(s, seed);
	for (size_t k = 0; k < s->size; k++)
	{
		int power = (int) below(270, seed) - 140;

		for (size_t j = 0; j < s->dim; j++)
			s->c[k * s->dim + j] = scaled(s->c[k * s->dim + j], power, power, seed);
	}
	for (size_t i = 0; i < s->n; i++)
	{
		int power = (int) below(270, seed) - 140;

		for (size_t j = 0; j < s->dim; j++)
			s->x[i * s->dim + j] = scaled(s->x[i * s->dim + j], power, power, seed);
	}
}

/* Codewords of exactly equal norm, by signs; rows of all sizes: the half norm drowns the rest. */
static inline void
make_signs(hostile_set *s, uint64_t *seed)
{
	fill(s->c, s->dim, 1, seed);
	for (size_t i = s->dim; i < s->size * s->dim; i++)
		s->c[i] = next_bits(seed) & 1 ? s->c[i % s->dim] : -s->c[i % s->dim];
	fill(s->x, s->n * s->dim, 1, seed);
	for (size_t i = 0; i < s->n; i++)
	{
		int power = 30 - (int) below(60, seed);

		for (size_t j = 0; j < s->dim; j++)
			s->x[i * s->dim + j] = ldexpf(s->x[i * s->dim + j], power);
	}
}

/* The same by swapping neighbours, with rows small enough for the half norm to matter. */
static inline void
make_swaps(hostile_set *s, uint64_t *seed)
{
	fill(s->c, s->dim, 0.5f, seed);
	for (size_t k = 1; k < s->size; k++)
	{
		float *c = s->c + k * s->dim;

		memcpy(c, s->c, s->dim * sizeof(float));
		for (size_t j = 0; j + 1 < s->dim; j += 2)
		{
			if (next_bits(seed) & 1)
			{
				float first = c[j];

				c[j] = c[j + 1];
				c[j + 1] = first;
			}
		}
	}
	fill(s->x, s->n * s->dim, 0x1p-14f, seed);
}

/* All of it far from the origin, close together. */
static inline void
make_far_away(hostile_set *s, uint64_t *seed)
{
	int power = (int) below(24, seed);

	make_random(s, seed);
	for (size_t i = 0; i < s->size * s->dim; i++)
		s->c[i] = 3 + ldexpf(s->c[i], -power);
	for (size_t i = 0; i < s->n * s->dim; i++)
		s->x[i] = 3 + ldexpf(s->x[i], -power);
}

/* Large products that cancel; what tells the codewords apart is small. */
static inline void
make_cancelling(hostile_set *s, uint64_t *seed)
{
	make_random(s, seed);
	for (size_t k = 0; k < s->size; k++)
	{
		s->c[k * s->dim] = 1000;
		s->c[k * s->dim + s->dim / 2] = 1000;
	}
	for (size_t i = 0; i < s->n; i++)
	{
		float large = scaled(1, 0, 40, seed);

		s->x[i * s->dim] = large;
		if (s->dim > 1)
			s->x[i * s->dim + s->dim / 2] = -large;
	}
}

/* Rows half way between two codewords, or nearly. */
static inline void
make_midpoints(hostile_set *s, uint64_t *seed)
{
	fill(s->c, s->size * s->dim, 1, seed);
	for (size_t i = 0; i < s->n; i++)
	{
		const float *a = s->c + below(s->size, seed) * s->dim;
		const float *b = s->c + below(s->size, seed) * s->dim;
		float *x = s->x + i * s->dim;
		size_t at = below(s->dim, seed);

		for (size_t j = 0; j < s->dim; j++)
			x[j] = 0.5f * (a[j] + b[j]);
		x[at] = one_step(x[at], seed);
	}
}

/* Zeros of both signs. */
static inline void
make_zeros(hostile_set *s, uint64_t *seed)
{
	static const float of[] = {0, -0.0f, 0, -0.0f, 1, -1, 0x1p-149f, -0x1p-149f};

	for (size_t i = 0; i < s->size * s->dim; i++)
		s->c[i] = of[below(8, seed)];
	for (size_t i = 0; i < s->n * s->dim; i++)
		s->x[i] = of[below(i / s->dim % 2 ? 2 : 8, seed)];
}

/* The same in bfloat16 but for a few bits behind, often exactly half way. */
static inline void
make_halfway(hostile_set *s, uint64_t *seed)
{
	for (size_t i = 0; i < s->size * s->dim; i++)
	{
		float base = 1 + (float) (i % s->dim % 8) / 8;

		s->c[i] = base + 0x1p-8f + (float) ((int) below(3, seed) - 1) * 0x1p-20f;
	}
	for (size_t i = 0; i < s->n * s->dim; i++)
		s->x[i] = (next_bits(seed) & 1 ? 1 : -1) *
				  (1 + 0x1p-8f + (float) ((int) below(3, seed) - 1) * 0x1p-21f);
}

/* Any finite numbers. */
static inline void
make_any_bits(hostile_set *s, uint64_t *seed)
{
	for (size_t i = 0; i < (s->size + s->n) * s->dim; i++)
	{
		float *to = i < s->size * s->dim ? s->c + i : s->x + (i - s->size * s->dim);
		uint32_t bits;

		do
			bits = (uint32_t) next_bits(seed);
		while ((bits & 0x7f800000) == 0x7f800000);
		memcpy(to, &bits, sizeof(bits));
	}
}

static const hostile_kind hostile_kinds[] = {
	{"random", make_random},
	{"whole numbers", make_whole},
	{"near copies", make_near_copies},
	{"duplicates", make_duplicates},
	{"huge", make_huge},
	{"overflowing", make_overflowing},
	{"tiny", make_tiny},
	{"underflowing", make_underflowing},
	{"flushed", make_flushed},
	{"all sizes", make_all_sizes},
	{"equal norms by signs", make_signs},
	{"equal norms by swaps", make_swaps},
	{"far away", make_far_away},
	{"cancelling", make_cancelling},
	{"midpoints", make_midpoints},
	{"zeros", make_zeros},
	{"half way in bfloat16", make_halfway},
	{"any bits", make_any_bits},
};

#define HOSTILE_KINDS (sizeof(hostile_kinds) / sizeof(hostile_kinds[0]))

#endif
