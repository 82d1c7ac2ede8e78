#include "decode.h"

#include <math.h>
#include <string.h>

#include "explog.h"
#include "fpenv.h"

/* 32^100 is far from binary64's ends. */
#define MAX_PENALTY 100

void
stk_decode_defaults(stk_decode_options *options)
{
	memset(options, 0, sizeof(*options));
	options->beam_size = 50;
	options->top_p = 1;
}

stk_status
stk_decode_check(const stk_decode_options *o, stk_error *err)
{
	if (o->norm < STK_NORM_FULL || o->norm > STK_NORM_MASKED)
		return stk_fail(err, STK_EINVAL, "expected norm full, none or masked");
	if (o->beam_size < 1 || o->beam_size > STK_MAX_BEAM)
		return stk_fail(err, STK_EINVAL, "expected a beam of 1 to %d prefixes, not %zu",
						STK_MAX_BEAM, o->beam_size);
	if (!(o->temperature >= 0 && o->temperature < INFINITY))
		return stk_fail(err, STK_EINVAL, "temperature must be finite and not negative");
	if (o->temperature > 0 && o->temperature < STK_MIN_TEMPERATURE)
		return stk_fail(err, STK_EINVAL, "temperature must be 0 or at least %g",
						STK_MIN_TEMPERATURE);
	if (o->sampler != STK_SAMPLER_GUMBEL && o->sampler != STK_SAMPLER_RECTOKENS)
		return stk_fail(err, STK_EINVAL, "expected sampler gumbel or rectokens");
	if (!(o->top_p > 0 && o->top_p <= 1))
		return stk_fail(err, STK_EINVAL, "top_p must be above 0 and at most 1");
	if (!(fabs(o->length_penalty) <= MAX_PENALTY))
		return stk_fail(err, STK_EINVAL, "length_penalty must be between -%d and %d", MAX_PENALTY,
						MAX_PENALTY);
	if (o->exact && o->temperature > 0)
		return stk_fail(err, STK_EINVAL, "an exact search draws nothing: expected temperature 0");
	if (o->length_penalty != 0 && o->temperature > 0 && o->sampler == STK_SAMPLER_GUMBEL)
		return stk_fail(err, STK_EINVAL,
						"whole ids are ranked as they are drawn: expected length_penalty 0");
	if (o->per_prefix[0] != 0)
		return stk_fail(err, STK_EINVAL, "expected limits below prefixes of 1 to %d codes",
						STK_MAX_LEVELS);
	return STK_OK;
}

double
stk_length_weight(int levels, double penalty)
{
	stk_fpenv env = stk_fpenv_enter();
	double weight = stk_exp(penalty * stk_log((double) levels));

	stk_fpenv_leave(env);
	return weight;
}
