/*
 * What pack.cu and pack_device.cu share: the scale of a packed codebook, and its margin. pack.cu
 * says where it comes from.
 */
#ifndef STK_PACK_MARGIN_CUH
#define STK_PACK_MARGIN_CUH

#include <math.h>

#include "device.h"

/* Scaled codewords' largest element has this exponent: as much room above as below in binary16. */
#define LARGEST_EXPONENT 5
#define FACTOR 1.015

typedef struct level_bound
{
	double norm;     /* largest |c| e */
	double half;     /* largest h e^2 */
	double centre;   /* |m| e */
	double packed;   /* largest |c^| */
	double radius;   /* largest |c'|, or half the largest distance of two */
	double rounding; /* largest |c' - c^|, or half the largest difference of two */
	double offset;   /* largest |o| */
} level_bound;

static STK_BOTH_SIDES inline float
rounded_up(double v)
{
	return nextafterf((float) v, INFINITY);
}

static STK_BOTH_SIDES inline void
set_margin(stk_device_level *level, const level_bound *b, size_t dim)
{
	double d = (double) (dim + 15);
	double lanes = (double) ((dim + 7) / 8);
	double gamma = (1.5 * d + 4) * 0x1p-23;
	double reference = (lanes + 5) * 0x1p-53;
	double fixed = 0x1p-23 * b->offset + 0x1p-148 +
				   (lanes + 8) * 0x1p-53 * b->centre * (b->norm + b->centre) +
				   reference * (b->centre * b->norm + b->half);

	level->by_norm =
		rounded_up(2 * FACTOR * (b->rounding + gamma * b->packed + reference * b->norm));
	level->by_lost = rounded_up(2 * FACTOR * (b->radius + reference * b->norm));
	level->fixed = rounded_up(2 * FACTOR * fixed);
	/* A NaN among them must not look like a small margin. */
	if (!isfinite(level->by_norm) || !isfinite(level->by_lost) || !isfinite(level->fixed))
		level->fixed = INFINITY;
}

/* The scale that brings numbers up to this one into binary16's middle. */
static STK_BOTH_SIDES inline float
scale_for(double largest)
{
	int exponent;

	if (largest == 0)
		return 1;
	frexp(largest, &exponent);
	exponent = LARGEST_EXPONENT - exponent;
	return (float) ldexp(1.0, exponent < -126 ? -126 : exponent > 126 ? 126 : exponent);
}

#endif
