/*
 * How fast the engines compute here, measured for some milliseconds at start: by this the work of
 * semtok.device = auto goes to the cores or to the device.
 */
#ifndef STK_SPEED_H
#define STK_SPEED_H

#include "worker/launch.h"

/* Work to be done. */
typedef struct stk_work
{
	double rows;
	double bytes;         /* of the rows */
	double multiply_adds; /* of them with every codeword, once */
	double children;      /* of a beam: codewords scored for each kept prefix; greedily 0 */
	double dim;           /* numbers of a row */
} stk_work;

/*
 * What work takes, in seconds: fixed + bytes * per_byte + multiply-adds * per_multiply_add. With a beam
 * the cores need beam_multiply_add for each of these, and per_child for each child, whose dot products
 * they have from tables. The device multiplies: per_number for each of a child's numbers, in rows of
 * more than STK_BEAM_DIM of them per_wide more for each that there is beyond, and at least `latency` for
 * those of one row.
 */
typedef struct stk_speed
{
	double fixed;
	double per_byte;
	double per_multiply_add;
	double beam_multiply_add;
	double per_child;
	double per_number;
	double per_wide;
	double latency;
} stk_speed;

/* Longer rows leave a block of the device room for fewer of them. */
#define STK_BEAM_DIM 384

typedef struct stk_speeds
{
	double rate;     /* multiply-adds a second of one thread of the cores */
	stk_speed cores; /* all threads together */
	stk_speed device;
} stk_speeds;

/* Measure the cores, with this pool, and the device where there is one. STK_ENOMEM. */
extern stk_status stk_speeds_measure(const stk_shop *shop, const stk_pool *pool,
									 stk_speeds *speeds);

/* The work of encoding n rows. */
extern stk_work stk_work_of_encoding(const stk_codebook *cb, double n, int beam);

/* Is this sooner done on the device? */
extern bool stk_speeds_choose_device(const stk_speeds *s, const stk_work *work);

/*
 * The multiply-adds of rows of so many numbers from which the device is the sooner; INFINITY: none.
 */
extern double stk_speeds_threshold(const stk_speeds *s, double multiply_adds_a_byte);

#endif
