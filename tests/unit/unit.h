/* SPDX-License-Identifier: BSD-2-Clause */
/* The main function of a unit test program: one suite, Check's totals. */
#pragma once

#include <check.h>
#include <stdlib.h>

/* A Check test case called @name with the tests that follow. */
#define unit_tcase(suite, name, ...) unit_tcase_with(suite, name, NULL, NULL, __VA_ARGS__)

/* Likewise; @setup runs before and @teardown after each of them. */
#define unit_tcase_with(suite, name, setup, teardown, ...)                        \
	do {                                                                      \
		const TTest *const unit_tests[] = { __VA_ARGS__ };                \
		TCase *unit_case = tcase_create(name);                            \
		size_t unit_i;                                                    \
		tcase_add_checked_fixture(unit_case, setup, teardown);            \
		tcase_set_timeout(unit_case, 60);                                 \
		for (unit_i = 0; unit_i < sizeof(unit_tests) / sizeof(*unit_tests); \
		     unit_i++)                                                    \
			tcase_add_test(unit_case, unit_tests[unit_i]);            \
		suite_add_tcase(suite, unit_case);                                \
	} while (0)

static inline int unit_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
