// SPDX-License-Identifier: BSD-2-Clause
#include "hw/base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hw/base/fence.h"
#include "tests/unit/files.h"
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
	uint64_t begin = clock_ns() / LOG_LIMIT_PERIOD_NS;
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
	ck_assert_uint_le(more, clock_ns() / LOG_LIMIT_PERIOD_NS - begin);
}
END_TEST

/* As it is, but for what a terminal would obey. */
START_TEST(text)
{
	char some[] = "a\tb\n\n\x1b[2Jc\x7f\xc2\x9b \xc3\x9b\xc2\xa0\nno newline";
	char *told;

	files_capture();
	log_text(some, strlen(some));
	told = files_captured();
	ck_assert_str_eq(told, "a?b\n\n?[2Jc?\xc2? \xc3\x9b\xc2\xa0\nno newline");
	free(told);
}
END_TEST

/* Nobody reads: it returns, and what it has written ends with a line. */
START_TEST(text_for_nobody)
{
	enum { LINE = 60, LINES = 3000 };
	static char some[LINE * LINES], told[LINE * LINES];
	int ends[2], stderr_fd = dup(STDERR_FILENO);
	ssize_t len;

	memset(some, 'x', sizeof(some));
	for (unsigned i = 1; i <= LINES; i++)
		some[i * LINE - 1] = '\n';
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	log_text(some, sizeof(some));
	dup2(stderr_fd, STDERR_FILENO);
	len = read(ends[0], told, sizeof(told));
	ck_assert_int_ge(len, 4096);
	ck_assert_int_lt(len, (ssize_t)sizeof(some));
	ck_assert_int_eq(len % LINE, 0);
	ck_assert_mem_eq(told, some, (size_t)len);
	close(ends[0]);
	close(ends[1]);
	close(stderr_fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("log");

	unit_tcase(suite, "limit", threads_share_a_budget);
	unit_tcase(suite, "text", text, text_for_nobody);
	return unit_run(suite);
}
