/*
 * semtokd answers every kind of request as core would, and every error by the right failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "driver.h"

/* Encoding with no codebook there, with one, and in every size of answer. */
static void
it_encodes(void **state)
{
	daemon_process d;
	book b;

	(void) state;
	start(&d, false);
	book_make(&b, 3, 64, 32, 1);
	for (int beam = 1; beam <= 3; beam += 2)
	{
		static const uint32_t sizes[] = {1, 7, 500, 30000};

		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		{
			encoding e;

			encoding_make(&e, &b, sizes[i], beam, i);
			send_encode(&d.zero, &e);
			if (beam == 1 && i == 0)
			{
				expect(&d.zero, STK_MSG_MISSING, e.request);
				load(&d.zero, &b);
				send_encode(&d.zero, &e);
			}
			expect_codes(&d.zero, &e);
			encoding_free(&e);
		}
	}
	book_free(&b);
	stop(&d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(it_encodes)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
