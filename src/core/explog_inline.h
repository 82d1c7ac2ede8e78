/*
 * stk_exp and stk_log themselves, and the shares that softmaxes add up, for kernels too: one
 * source, the same bits. Elsewhere explog.h's are called.
 */
#ifndef STK_EXPLOG_INLINE_H
#define STK_EXPLOG_INLINE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "both_sides.h"

/* Softmaxes add exp(z - max), at most 1 a term, in units of 2^-46: 2^18 terms cannot overflow. */
#define STK_FIXED_ONE 0x1p46

static STK_BOTH_SIDES inline double
stk_double_of_bits(uint64_t bits)
{
	double x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

static STK_BOTH_SIDES inline uint64_t
stk_bits_of_double(double x)
{
	uint64_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits;
}

/* 2^k for -1022 <= k <= 1023 */
static STK_BOTH_SIDES inline double
stk_power_of_two(int k)
{
	return stk_double_of_bits((uint64_t) (k + 1023) << 52);
}

/*
 * exp(x) = 2^k exp(r), k = round(x / ln 2), |r| <= ln 2 / 2.
 *
 * ln 2 is split so that k * STK_LN2_HI is exact (41 + 11 bits) and so is x - k * STK_LN2_HI; what
 * is lost when the low part is subtracted is kept in `c`. exp(r) - 1 - r is a Taylor polynomial
 * whose remainder is below 2^-57 and which is below 2^-3.6, so that only the last addition rounds
 * noticeably. The second rounding of a subnormal result still leaves the error below 1 ulp.
 */
#define STK_LN2_HI 0x1.62e42fefa4p-1
#define STK_LN2_LO (-0x1.8432a1b0e2634p-43)
#define STK_INV_LN2 0x1.71547652b82fep+0
#define STK_ROUND 0x1.8p52 /* adding it leaves a rounded integer */

/* (exp(r) - 1 - r) / r^2, for a number or a vector */
#define STK_EXP_SERIES(r)                                                                          \
	(((((((((((0x1.6124613a86d09p-33 * (r) + 0x1.1eed8eff8d898p-29) * (r) +                        \
			  0x1.ae64567f544e4p-26) *                                                             \
				 (r) +                                                                             \
			 0x1.27e4fb7789f5cp-22) *                                                              \
				(r) +                                                                              \
			0x1.71de3a556c734p-19) *                                                               \
			   (r) +                                                                               \
		   0x1.a01a01a01a01ap-16) *                                                                \
			  (r) +                                                                                \
		  0x1.a01a01a01a01ap-13) *                                                                 \
			 (r) +                                                                                 \
		 0x1.6c16c16c16c17p-10) *                                                                  \
			(r) +                                                                                  \
		0x1.1111111111111p-7) *                                                                    \
		   (r) +                                                                                   \
	   0x1.5555555555555p-5) *                                                                     \
		  (r) +                                                                                    \
	  0x1.5555555555555p-3) *                                                                      \
		 (r) +                                                                                     \
	 0.5)

static STK_BOTH_SIDES inline double
stk_exp_inline(double x)
{
	if (!(x <= 0x1.62e42fefa39efp+9)) /* the largest x with a finite exp; also NaN */
		return x > 0 ? INFINITY : x;
	if (x < -746.0)
		return 0.0;

	double n = x * STK_INV_LN2 + STK_ROUND - STK_ROUND;
	int k = (int) n;
	double hi = x - n * STK_LN2_HI;
	double lo = n * STK_LN2_LO;
	double r = hi - lo;
	double c = (hi - r) - lo;
	double p = STK_EXP_SERIES(r);
	double s = 1.0 + r;
	double y = s + (((1.0 - s) + r) + (c + c * r + r * r * p));

	/* Two factors: 2^k itself may not be a normal number. */
	if (k > 1023)
		return y * 2.0 * stk_power_of_two(k - 1);
	if (k < -1021)
		return y * stk_power_of_two(k + 64) * 0x1p-64;
	return y * stk_power_of_two(k);
}

/*
 * log(x) = k ln 2 - log(inv) + log(1 + r) with x = 2^k z, r = z * inv - 1, |r| <= 2^-5.
 *
 * k * STK_LN2_HI + log_hi is exact, its sum with r is kept in two parts, and log(1 + r) - r is a
 * Taylor polynomial below 2^-10.9 with a remainder below 2^-63 r. Rounding r costs at most a
 * quarter of an ulp, in the parts next to 1; the last addition half of one.
 */
static STK_BOTH_SIDES inline double
stk_log_inline(double x)
{
	/*
	 * For each 32nd of the significands from 0.6875 to 1.375: a short (9 bits) approximation of the
	 * reciprocal of its middle, and minus its logarithm as a multiple of 2^-42 and the rest. The
	 * two parts around 1 have reciprocal 1, so that log keeps its relative accuracy there.
	 */
	static const double log_table[32][3] = {
		{0x1.7p+0, -0x1.739d7f6bbdp-2, -0x1.a7389314feb5p-52},
		{0x1.68p+0, -0x1.5d1bdbf581p-2, 0x1.8d6bdc9c7c238p-44},
		{0x1.6p+0, -0x1.4618bc21c6p-2, 0x1.3d82f484c84ccp-46},
		{0x1.59p+0, -0x1.31871c9544p-2, -0x1.84fab94cecfd9p-46},
		{0x1.52p+0, -0x1.1c898c169ap-2, 0x1.81410e5c62affp-44},
		{0x1.4bp+0, -0x1.071b85fcd6p-2, 0x1.bcb8ba3e01a11p-44},
		{0x1.44p+0, -0x1.e27076e2bp-3, 0x1.a342c2af0003cp-44},
		{0x1.3ep+0, -0x1.bc286742d8p-3, -0x1.9ac53f39d121cp-44},
		{0x1.38p+0, -0x1.9525a9cf46p-3, 0x1.297137d9f158fp-44},
		{0x1.32p+0, -0x1.6d60fe719ep-3, 0x1.bc6e557134767p-44},
		{0x1.2dp+0, -0x1.4ba36f39a6p-3, 0x1.4354bb3f219e5p-44},
		{0x1.27p+0, -0x1.2266f190a6p-3, 0x1.4d20ab840e7f6p-45},
		{0x1.22p+0, -0x1.fec9131dcp-4, 0x1.54555d1ae6607p-44},
		{0x1.1dp+0, -0x1.b78c82bb1p-4, 0x1.25ef7bc3987e7p-44},
		{0x1.18p+0, -0x1.6f0d28ae58p-4, 0x1.4b4641b664613p-44},
		{0x1.13p+0, -0x1.253f62f0ap-4, -0x1.416f8fb69a701p-44},
		{0x1.0fp+0, -0x1.d276b8adbp-5, -0x1.6a423c78a64bp-46},
		{0x1.0ap+0, -0x1.39e87b9fe8p-5, -0x1.eafd480ad9015p-44},
		{0x1.06p+0, -0x1.7b91b07d6p-6, 0x1.3b955b602ace4p-44},
		{0x1p+0, 0.0, 0.0},
		{0x1p+0, 0.0, 0.0},
		{0x1.eap-1, 0x1.67c94f2d48p-5, 0x1.dac20827cca0cp-44},
		{0x1.dap-1, 0x1.3bdf5a7d2p-4, -0x1.19bd0ad125895p-44},
		{0x1.cep-1, 0x1.a4e7640b1cp-4, -0x1.e42b6b94407c8p-47},
		{0x1.cp-1, 0x1.1178e8227ep-3, 0x1.1ef78ce2d07f2p-45},
		{0x1.b4p-1, 0x1.4913d8333cp-3, -0x1.53e43558124c4p-44},
		{0x1.aap-1, 0x1.7898d85444p-3, 0x1.8e67be3dbaf3fp-44},
		{0x1.9ep-1, 0x1.b31d8575bcp-3, 0x1.c794e562a63cbp-44},
		{0x1.94p-1, 0x1.e530effe72p-3, -0x1.fdbdbb13f7c18p-44},
		{0x1.8ap-1, 0x1.0c42d67616p-2, 0x1.7188b163ceae9p-45},
		{0x1.82p-1, 0x1.214456d0ecp-2, -0x1.caf0428b728a3p-44},
		{0x1.78p-1, 0x1.3c25277333p-2, 0x1.83b54b606bd5cp-46},
	};
	const double ln2_hi = 0x1.62e42fefa38p-1;
	const double ln2_lo = 0x1.ef35793c7673p-45;
	const uint64_t low = 0x3fe6000000000000; /* 0.6875 */
	int k = 0;

	if (!(x > 0))
		return x == 0 ? -INFINITY : NAN;
	if (x == INFINITY)
		return x;
	if (x < 0x1p-1022)
	{
		x *= 0x1p54;
		k = -54;
	}

	uint64_t bits = stk_bits_of_double(x);
	uint64_t above = bits - low;
	int exponent = (int) ((int64_t) above >> 52);
	int i = (int) (above >> 47) & 31;
	double z = stk_double_of_bits(bits - ((uint64_t) exponent << 52));

	k += exponent;

	double r = fma(z, log_table[i][0], -1.0);
	double w = k * ln2_hi + log_table[i][1];
	double hi = w + r;
	double lo = (w - hi) + r + (k * ln2_lo + log_table[i][2]);
	double p = -1.0 / 12;

	p = p * r + 1.0 / 11;
	p = p * r - 1.0 / 10;
	p = p * r + 1.0 / 9;
	p = p * r - 1.0 / 8;
	p = p * r + 1.0 / 7;
	p = p * r - 1.0 / 6;
	p = p * r + 1.0 / 5;
	p = p * r - 1.0 / 4;
	p = p * r + 1.0 / 3;
	p = p * r - 1.0 / 2;
	return hi + (lo + r * r * p);
}

/*
 * exp(-c), 0 <= c, as a share: what a term adds. The bits of stk_exp without its branches, so that
 * several are computed side by side; what is beyond 700, and its share 0, counts as that.
 */
static STK_BOTH_SIDES inline uint64_t
stk_share(double c)
{
	double x = c <= 700.0 ? -c : 0.0;
	double shifted = x * STK_INV_LN2 + STK_ROUND;
	double n = shifted - STK_ROUND;
	double hi = x - n * STK_LN2_HI;
	double lo = n * STK_LN2_LO;
	double r = hi - lo;
	double e = (hi - r) - lo;
	double p = STK_EXP_SERIES(r);
	double s = 1.0 + r;
	double y = s + (((1.0 - s) + r) + (e + e * r + r * r * p));
	uint64_t share;

	/* y is from 0.7 to 1.5, and 2^n a normal number: n is added to its exponent. */
	y = stk_double_of_bits(stk_bits_of_double(y) + (stk_bits_of_double(shifted) << 52));
	share = (uint64_t) (y * STK_FIXED_ONE + 0.5);
	return c <= 700.0 ? share : 0;
}

/* The logarithm of a sum of shares. */
static STK_BOTH_SIDES inline double
stk_log_of_shares(uint64_t sum)
{
	return stk_log_inline((double) sum * (1 / STK_FIXED_ONE));
}

#endif
