/*
 * The arguments that the decoding verbs share, read and checked.
 */
#ifndef SEMTOK_DECODE_OPTIONS_H
#define SEMTOK_DECODE_OPTIONS_H

#include "postgres.h"

#include "fmgr.h"

#include "core/decode.h"
#include "core/semset.h"

/*
 * Where a verb has its arguments: their numbers. 0 is a verb's items, so it says here that the
 * verb has no such argument.
 */
typedef struct DecodeArgs
{
	int k;
	int beam_size;
	int temperature;
	int seed;
	int top_k;
	int top_p;
	int norm;
	int length_penalty;
	int exact;
	int within;
	int exclude;
	int max_per_prefix;
	int sampler;
	int candidates;
} DecodeArgs;

typedef struct DecodeOptions
{
	stk_decode_options core;
	int k;                    /* results wanted; 0 where the verb does not say */
	bool norm_given;          /* core.norm comes from an argument */
	bool seed_given;          /* else core.seed is a random one where something is drawn */
	const stk_semset *within; /* the detoasted arguments, or NULL; palloc'd views */
	const stk_semset *exclude;
} DecodeOptions;

/*
 * Read them in the current memory context. Arguments that a verb lacks have their usual defaults;
 * nulls are refused where a value is needed (22004), and everything that cannot be is 22023 and
 * says what was expected. Without an argument norm, core.norm is left at full for the caller to
 * set.
 */
extern void DecodeOptionsRead(FunctionCallInfo fcinfo, const DecodeArgs *args,
							  DecodeOptions *options);

#endif
