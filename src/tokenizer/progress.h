/*
 * When to say how far long work is.
 */
#ifndef SEMTOK_PROGRESS_H
#define SEMTOK_PROGRESS_H

#include "datatype/timestamp.h"

/* Has it been a few seconds since *noticed? Then *noticed becomes now. */
extern bool ProgressDue(TimestampTz *noticed);

#endif
