/*
 * When to say how far long work is.
 */
#include "postgres.h"

#include "tokenizer/progress.h"
#include "utils/timestamp.h"

/* Between two NOTICEs, in milliseconds. */
#define PROGRESS_INTERVAL 5000

bool
ProgressDue(TimestampTz *noticed)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(*noticed, now, PROGRESS_INTERVAL))
		return false;
	*noticed = now;
	return true;
}
