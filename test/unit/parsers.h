/*
 * Calling the parsers of ids.
 */
#ifndef TEST_PARSERS_H
#define TEST_PARSERS_H

#include <stdlib.h>
#include <string.h>

#include "core/semid.h"

typedef stk_status (*id_parser)(const char *text, size_t len, stk_semid *id, stk_error *err);

/* Parse a text; an error without a message, or a message without an error, fails the test. */
static inline stk_status
parse_with(id_parser parser, const char *text, stk_semid *id)
{
	/* A copy without a terminating NUL, so that reading past the end shows. */
	size_t len = strlen(text);
	char *copy = malloc(len ? len : 1);
	stk_error err = {.message = ""};
	stk_status status;

	memcpy(copy, text, len);
	status = parser(copy, len, id, &err);
	assert_int_equal(status == STK_OK, err.message[0] == '\0');
	free(copy);
	return status;
}

#endif
