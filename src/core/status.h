/*
 * Status codes of core. Core functions return one of these and never print, exit or jump;
 * where a caller needs more than the code, the function fills an stk_error.
 */
#ifndef STK_STATUS_H
#define STK_STATUS_H

#include <stddef.h>
#include <stdint.h>

typedef enum stk_status
{
	STK_OK = 0,
	STK_ENOMEM,    /* the caller's allocator returned NULL */
	STK_EINVAL,    /* an argument or input text is not valid */
	STK_ERANGE,    /* a result left binary32's range, or a size limit was passed */
	STK_ECANCELED, /* the caller's check callback asked to stop */
	STK_ECORRUPT,  /* stored bytes contradict themselves */
	STK_ERETRY,    /* the trie changed under the cursor: search again from the root */
	STK_EIO,       /* the caller's file could not be read or written */
	STK_EDEVICE    /* the device that was to compute it cannot; the processor can */
} stk_status;

/* What went wrong, for the caller to put into its own words. */
typedef struct stk_error
{
	char message[160]; /* lower case, no full stop; empty when the code says it all */
	size_t row;        /* row of the input the error is about, 0-based */
	int level;         /* level, 0-based; -1 where no level is meant */
} stk_error;

/* Fill *err (which may be NULL) like printf and return status. */
extern stk_status stk_fail(stk_error *err, stk_status status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
