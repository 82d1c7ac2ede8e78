/*
 * Opening engines that are libraries: what is not there, or does not fit, is said and left alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/plugin.h"

static void
test_path(void **state)
{
	char path[4096];
	const char *name;

	(void) state;
	assert_true(stk_plugin_path("engine.so", path, sizeof(path)));
	name = strrchr(path, '/');
	assert_non_null(name);
	assert_string_equal(name, "/engine.so");
	assert_int_equal(path[0], '/');
	/* No room: for the name, for the folder. */
	assert_false(stk_plugin_path("engine.so", path, (size_t) (name - path) + 5));
	assert_false(stk_plugin_path("engine.so", path, 3));
}

static void
test_misfits(void **state)
{
	static const struct
	{
		const char *path, *message;
	} misfits[] = {{"/nowhere/semtok_cuda.so", "semtok_cuda.so: cannot open"},
				   {"/proc/self/exe", ""},
				   {"libm.so.6", "libm.so.6: it is no engine of semtok"}};
	stk_engine *host;

	(void) state;
	assert_int_equal(stk_engine_cpu_open(&stk_malloc, &host, NULL), STK_OK);
	for (size_t i = 0; i < sizeof(misfits) / sizeof(misfits[0]); i++)
	{
		stk_error err = {.level = -1};
		stk_engine *engine = host;

		assert_int_equal(stk_plugin_open(misfits[i].path, &stk_malloc, host, "all", &engine, &err),
						 STK_EIO);
		assert_null(engine);
		assert_non_null(strstr(err.message, misfits[i].message));
	}
	host->ops->close(host);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_path), cmocka_unit_test(test_misfits)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
