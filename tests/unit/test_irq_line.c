// SPDX-License-Identifier: BSD-2-Clause
#include "hw/irq_line.h"

#include "hw/base/fence.h"
#include "tests/unit/fakes.h"
#include "tests/unit/unit.h"

#define SOURCES 4

static struct fake_lines lines;
static struct irq_source source[SOURCES];
static bool wish[SOURCES]; /* what each source asserts; atomic */

static bool asserted(void *opaque)
{
	return load_relaxed((bool *)opaque);
}

static void setup(void)
{
	unsigned i;

	fake_lines_init(&lines);
	for (i = 0; i < SOURCES; i++) {
		wish[i] = false;
		irq_source_init(&source[i], &lines.line[3], asserted, &wish[i]);
	}
}

static void teardown(void)
{
	fake_lines_destroy(&lines);
}

static void set(unsigned i, bool level)
{
	store_relaxed(&wish[i], level);
	irq_source_update(&source[i]);
}

START_TEST(one_source)
{
	irq_source_update(&source[0]);
	ck_assert_uint_eq(lines.changes, 0);
	set(0, true);
	ck_assert(lines.level[3]);
	irq_source_update(&source[0]);
	ck_assert_uint_eq(lines.changes, 1);
	set(0, false);
	ck_assert(!lines.level[3]);
	irq_source_update(&source[0]);
	ck_assert_uint_eq(lines.changes, 2);
}
END_TEST

START_TEST(shared)
{
	set(0, true);
	set(1, true);
	set(2, true);
	ck_assert_uint_eq(lines.changes, 1);
	set(0, false);
	set(2, false);
	ck_assert(lines.level[3]);
	set(0, true);
	set(1, false);
	ck_assert(lines.level[3]);
	ck_assert_uint_eq(lines.changes, 1);
	set(0, false);
	ck_assert(!lines.level[3]);
	ck_assert_uint_eq(lines.changes, 2);
}
END_TEST

/* Nothing is asked until the source is updated. */
START_TEST(asked_on_update)
{
	wish[0] = wish[1] = true;
	ck_assert(!lines.level[3]);
	irq_source_update(&source[2]);
	ck_assert(!lines.level[3]);
	irq_source_update(&source[1]);
	ck_assert(lines.level[3]);
	wish[1] = false;
	ck_assert(lines.level[3]);
	irq_source_update(&source[1]);
	ck_assert(!lines.level[3]);
}
END_TEST

/* Every sequence of 10^5 changes ends in the OR of all sources. */
START_TEST(against_model)
{
	uint32_t seed = 1;
	unsigned step;

	for (step = 0; step < 100000; step++) {
		set(fake_random(&seed) % SOURCES, fake_random(&seed) % 2);
		ck_assert(lines.level[3] == (wish[0] || wish[1] || wish[2] || wish[3]));
	}
}
END_TEST

/*
 * Threads that share lines and even sources: when all have updated what they
 * changed, the line is where the sources say.
 */
static void *change(void *opaque)
{
	uint32_t seed = (uint32_t)(uintptr_t)opaque;
	unsigned step;

	for (step = 0; step < 2000; step++)
		set(fake_random(&seed) % SOURCES, fake_random(&seed) % 2);
	return NULL;
}

START_TEST(races)
{
	pthread_t thread[3];
	unsigned round, i;

	for (round = 0; round < 30; round++) {
		for (i = 0; i < 3; i++)
			ck_assert_int_eq(pthread_create(&thread[i], NULL, change,
							(void *)(uintptr_t)(3 * round + i)), 0);
		for (i = 0; i < 3; i++)
			pthread_join(thread[i], NULL);
		ck_assert(lines.level[3] == (wish[0] || wish[1] || wish[2] || wish[3]));
	}
	ck_assert_uint_gt(lines.changes, 100);
	for (i = 0; i < SOURCES; i++)
		set(i, false);
	ck_assert(!lines.level[3]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("irq line");
	TCase *tcase = tcase_create("line");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, one_source);
	tcase_add_test(tcase, shared);
	tcase_add_test(tcase, asked_on_update);
	tcase_add_test(tcase, against_model);
	tcase_add_test(tcase, races);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
