// SPDX-License-Identifier: BSD-2-Clause
#include "devices/io_poll.h"

#include "tests/unit/unit.h"

#define LONGEST 32000

/* Each sleep that was short makes it grow, up to the longest and no further. */
START_TEST(grows)
{
	struct io_poll poll = { 0 };
	uint64_t before;

	for (unsigned i = 0; i < 100 && poll.ns < LONGEST; i++) {
		before = poll.ns;
		io_poll_slept(&poll, LONGEST, LONGEST);
		ck_assert_uint_gt(poll.ns, before);
	}
	for (unsigned i = 0; i < 100; i++) {
		io_poll_slept(&poll, i, LONGEST);
		ck_assert_uint_eq(poll.ns, LONGEST);
	}
}
END_TEST

/* A few long sleeps, and nothing is spun. */
START_TEST(falls_to_nothing)
{
	struct io_poll poll = { LONGEST };
	uint64_t before;
	unsigned sleeps = 0;

	while (poll.ns) {
		before = poll.ns;
		io_poll_slept(&poll, LONGEST + 1, LONGEST);
		ck_assert_uint_lt(poll.ns, before);
		sleeps++;
	}
	ck_assert_uint_lt(sleeps, 10);
	for (unsigned i = 0; i < 100; i++) {
		io_poll_slept(&poll, UINT64_MAX, LONGEST);
		ck_assert_uint_eq(poll.ns, 0);
	}
}
END_TEST

/* The limit may become smaller, or too small to begin with, or nothing. */
START_TEST(stays_within_the_longest)
{
	for (uint64_t longest = 0; longest < 2 * LONGEST; longest += 499)
		for (uint64_t waited = 0; waited < 2 * LONGEST; waited += 997) {
			struct io_poll poll = { LONGEST };

			for (unsigned i = 0; i < 5; i++) {
				io_poll_slept(&poll, waited, longest);
				ck_assert_uint_le(poll.ns, longest);
			}
		}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("io_poll");

	unit_tcase(suite, "policy", grows, falls_to_nothing, stays_within_the_longest);
	return unit_run(suite);
}
