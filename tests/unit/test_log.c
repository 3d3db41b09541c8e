// SPDX-License-Identifier: BSD-2-Clause
#include "hw/base/log.h"

#include <pthread.h>
#include <sched.h>

#include "hw/base/fence.h"
#include "tests/unit/unit.h"

#define THREADS 2
#define ROUNDS 5000

static struct log_limit limit[ROUNDS];
static unsigned allowed[ROUNDS]; /* atomic */
static unsigned arrived;         /* atomic: threads in all rounds */

static void *ask(void *opaque)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		/* No barrier of the library's lets them go as close together. */
		__atomic_fetch_add(&arrived, 1, __ATOMIC_RELAXED);
		while (load_relaxed(&arrived) < (round + 1) * THREADS)
			sched_yield();
		for (unsigned i = 0; i < LOG_LIMIT_BURST; i++)
			if (log_allowed(&limit[round]))
				__atomic_fetch_add(&allowed[round], 1, __ATOMIC_RELAXED);
	}
	return opaque;
}

/* Threads that meet in a new period share its lines. */
START_TEST(threads_share_a_budget)
{
	pthread_t id[THREADS];
	unsigned more = 0;

	for (unsigned i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&id[i], NULL, ask, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(id[i], NULL);
	for (unsigned round = 0; round < ROUNDS; round++) {
		ck_assert_uint_ge(allowed[round], LOG_LIMIT_BURST);
		more += allowed[round] > LOG_LIMIT_BURST;
	}
	/* A round in which the clock's period ended has had two. */
	ck_assert_uint_le(more, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log");

	unit_tcase(suite, "limit", threads_share_a_budget);
	return unit_run(suite);
}
