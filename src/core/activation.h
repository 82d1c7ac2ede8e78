/*
 * Activations of a network's hidden layers: exact, by +, -, *, / and stk_exp (explog.h) in
 * binary64, rounded once to binary32, so that every machine gets the same bits.
 */
#ifndef STK_ACTIVATION_H
#define STK_ACTIVATION_H

#include <stddef.h>

#include "status.h"

typedef enum stk_activation
{
	STK_RELU = 0, /* x where x > 0, else +0 */
	STK_GELU = 1, /* x (1 + erf(x / sqrt 2)) / 2: the exact form, PyTorch's default */
	STK_SILU = 2  /* x / (1 + exp(-x)) */
} stk_activation;

#define STK_ACTIVATIONS 3

/* "relu", "gelu", "silu"; STK_EINVAL for another name. */
extern stk_status stk_activation_parse(const char *name, stk_activation *activation);
extern const char *stk_activation_name(stk_activation activation);

/* The complementary error function, relative error below 1e-15 where it is a normal number. */
extern double stk_erfc(double x);

/* x [n] in place, finite. */
extern void stk_activate(stk_activation activation, float *x, size_t n);

#endif
