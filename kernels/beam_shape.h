/*
 * How encode_beam.cu divides its work, and which beams fit a block's shared memory: nothing of
 * CUDA, so that the engine knows what it may ask for.
 */
#ifndef STK_BEAM_SHAPE_H
#define STK_BEAM_SHAPE_H

#include "device.h"

STK_BEGIN_C

/* Threads of a block; residuals that a thread scores together, as many as a group has threads. */
#define STK_BEAM_THREADS 256
#define STK_BEAM_TILE 8
/* Rows of a block at most. */
#define STK_BEAM_ROWS 8

/* A block's rows, and where in its shared memory what lies: offsets in bytes. */
typedef struct stk_beam_shape
{
	int rows;        /* 8, 4, 2 or 1 */
	uint32_t width;  /* prefixes kept of a row */
	uint32_t padded; /* residuals of a block: rows * width, up to whole tiles */
	uint32_t chunk;  /* codewords scored between two selections */
	size_t scores;   /* [padded][chunk] double; residuals [padded][dim] double lie before */
	size_t keys;     /* [rows][width] double: the kept prefixes' */
	size_t best_key; /* [2][rows][width] 64-bit numbers that order as keys do */
	size_t best_s;   /* [2][rows][width] likewise */
	size_t places;   /* [2][rows][width] 32-bit: parent * size + code */
	size_t counts;   /* [rows][256] 32-bit */
	size_t codes;    /* [2][rows][width][levels] 16-bit */
	size_t bytes;
} stk_beam_shape;

/*
 * Choose for n rows and a beam of this width, > 1, and blocks of `shared` bytes at most. False: no
 * row fits, or so many take so long that the device would seem to hang.
 */
extern bool stk_beam_shape_choose(const uint32_t *sizes, int levels, int dim, int beam, size_t n,
								  size_t shared, stk_beam_shape *out);

/*
 * Shared memory that a block may have on devices of this compute capability, if their binary64
 * units are worth using; 0: they are not, and the processor is faster.
 */
extern size_t stk_beam_shared(int major, int minor);

STK_END_C

#endif
