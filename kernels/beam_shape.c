#include "beam_shape.h"

/* Blocks of so much come two to a multiprocessor, where it has 228 kB. */
#define TWO_BLOCKS ((size_t) 112 << 10)
/* Codewords between two selections: no fewer; no more. */
#define LEAST_CHUNK 16
#define USEFUL_CHUNK 64
#define LARGEST_CHUNK 256
/* Products of a call: a slow device's work of a few seconds. */
#define MOST_WORK 4e12
/* What choosing takes for each candidate, in products. */
#define CHOOSING 200
/* Blocks that keep the largest device busy. */
#define BUSY_BLOCKS 264

static void
lay_out(stk_beam_shape *s, int levels, int dim)
{
	size_t kept = (size_t) s->rows * s->width;
	size_t at = 0;

	s->padded = (uint32_t) ((kept + STK_BEAM_TILE - 1) / STK_BEAM_TILE * STK_BEAM_TILE);
	at += s->padded * (size_t) dim * sizeof(double);
	s->scores = at;
	at += (size_t) s->padded * s->chunk * sizeof(double);
	s->keys = at;
	at += kept * sizeof(double);
	s->best_key = at;
	at += 2 * kept * sizeof(uint64_t);
	s->best_s = at;
	at += 2 * kept * sizeof(uint64_t);
	s->places = at;
	at += 2 * kept * sizeof(uint32_t);
	s->counts = at;
	at += (size_t) s->rows * 256 * sizeof(uint32_t);
	s->codes = at;
	at += 2 * kept * (size_t) levels * sizeof(uint16_t);
	s->bytes = at;
}

/* As many rows, and then codewords, as fit. */
static bool
fit(stk_beam_shape *s, int levels, int dim, size_t n, size_t shared, uint32_t least)
{
	s->chunk = least;
	for (s->rows = STK_BEAM_ROWS; s->rows > 0; s->rows /= 2)
	{
		if (s->rows > 1 && n / (size_t) s->rows < BUSY_BLOCKS)
			continue;
		lay_out(s, levels, dim);
		if (s->bytes <= shared)
			break;
	}
	if (s->rows == 0)
		return false;
	while (s->chunk < LARGEST_CHUNK && s->bytes <= shared)
	{
		s->chunk *= 2;
		lay_out(s, levels, dim);
	}
	if (s->bytes > shared)
		s->chunk /= 2;
	lay_out(s, levels, dim);
	return true;
}

bool
stk_beam_shape_choose(const uint32_t *sizes, int levels, int dim, int beam, size_t n, size_t shared,
					  stk_beam_shape *out)
{
	size_t prefixes = 1;
	uint32_t largest = 0;
	double children = 0;

	/* Core's width: no more than there are prefixes of the levels that hand a residual on. */
	for (int l = 0; l + 1 < levels && prefixes < (size_t) beam; l++)
		prefixes *= sizes[l];
	for (int l = 0; l < levels; l++)
	{
		largest = sizes[l] > largest ? sizes[l] : largest;
		children += sizes[l];
	}
	out->width = (uint32_t) (prefixes < (size_t) beam ? prefixes : (size_t) beam);
	/* A candidate's place is a number of 32 bits. */
	if ((uint64_t) out->width * largest > UINT32_MAX ||
		(double) n * out->width * children * (dim + CHOOSING) > MOST_WORK)
		return false;
	return fit(out, levels, dim, n, shared < TWO_BLOCKS ? shared : TWO_BLOCKS, USEFUL_CHUNK) ||
		   fit(out, levels, dim, n, shared, LEAST_CHUNK);
}

size_t
stk_beam_shared(int major, int minor)
{
	/* 163 and 227 kB, less what the kernel declares beside. */
	if (major == 8 && minor == 0)
		return (size_t) 162 << 10;
	if ((major == 9 || major == 10) && minor == 0)
		return (size_t) 226 << 10;
	return 0;
}
