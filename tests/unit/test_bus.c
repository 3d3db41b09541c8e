// SPDX-License-Identifier: BSD-2-Clause
#include "hw/bus.h"

#include <errno.h>

#include "hw/base/fence.h"
#include "hw/base/util.h"
#include "tests/unit/fakes.h"
#include "tests/unit/unit.h"

/* A device that remembers the last access and answers with its tag. */
struct recorder {
	uint64_t tag, offset, value;
	unsigned len, reads, writes;
};

static uint64_t recorder_read(void *opaque, uint64_t offset, unsigned len)
{
	struct recorder *r = opaque;

	r->reads++;
	r->offset = offset;
	r->len = len;
	return r->tag;
}

static void recorder_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
	struct recorder *r = opaque;

	r->writes++;
	r->offset = offset;
	r->value = value;
	r->len = len;
}

static const struct bus_ops recorder_ops = { recorder_read, recorder_write };

static struct bus bus;

static void setup(void)
{
	bus_init(&bus);
}

static void teardown(void)
{
	bus_destroy(&bus);
}

static int add(uint64_t base, uint64_t len, struct recorder *r)
{
	const struct bus_region region = { base, len, &recorder_ops, r };

	return bus_add(&bus, &region);
}

START_TEST(nobody)
{
	unsigned len;

	bus_remove(&bus, 0);
	for (len = 1; len <= 8; len++) {
		ck_assert_uint_eq(bus_read(&bus, 0x1000, len), UINT64_MAX >> (64 - 8 * len));
		ck_assert_uint_eq(bus_read(&bus, UINT64_MAX, len), UINT64_MAX >> (64 - 8 * len));
		bus_write(&bus, 0x1000, 0, len);
	}
}
END_TEST

START_TEST(widths)
{
	struct recorder r = { .tag = 0x1122334455667788 };
	unsigned len;

	ck_assert_int_eq(add(0x1000, 0x100, &r), 0);
	for (len = 1; len <= 8; len++) {
		uint64_t mask = UINT64_MAX >> (64 - 8 * len);

		ck_assert_uint_eq(bus_read(&bus, 0x1003, len), r.tag & mask);
		ck_assert_uint_eq(r.offset, 3);
		ck_assert_uint_eq(r.len, len);
		bus_write(&bus, 0x1005, 0xa1a2a3a4a5a6a7a8, len);
		ck_assert_uint_eq(r.offset, 5);
		ck_assert_uint_eq(r.value, 0xa1a2a3a4a5a6a7a8 & mask);
		ck_assert_uint_eq(r.len, len);
	}
	ck_assert_uint_eq(r.reads, 8);
	ck_assert_uint_eq(r.writes, 8);
}
END_TEST

START_TEST(ends)
{
	struct recorder r = { .tag = 0 };
	unsigned len;

	ck_assert_int_eq(add(0x1000, 12, &r), 0);
	for (len = 1; len <= 8; len++) {
		/* The last that fits, and one further; the first, and one before. */
		ck_assert_uint_eq(bus_read(&bus, 0x100c - len, len), 0);
		ck_assert_uint_eq(r.offset, 12 - len);
		ck_assert_uint_eq(bus_read(&bus, 0x100d - len, len), bytes_mask(len));
		ck_assert_uint_eq(bus_read(&bus, 0x1000, len), 0);
		ck_assert_uint_eq(bus_read(&bus, 0xfff, len), bytes_mask(len));
		bus_write(&bus, 0x100d - len, 1, len);
		bus_write(&bus, 0xfff, 1, len);
	}
	ck_assert_uint_eq(r.reads, 16);
	ck_assert_uint_eq(r.writes, 0);
}
END_TEST

START_TEST(straddling_two)
{
	struct recorder a = { .tag = 1 }, b = { .tag = 2 };

	ck_assert_int_eq(add(0x1000, 4, &a), 0);
	ck_assert_int_eq(add(0x1004, 4, &b), 0);
	ck_assert_uint_eq(bus_read(&bus, 0x1000, 8), UINT64_MAX);
	ck_assert_uint_eq(bus_read(&bus, 0x1002, 4), UINT32_MAX);
	bus_write(&bus, 0x1003, 0, 2);
	ck_assert_uint_eq(a.reads + a.writes + b.reads + b.writes, 0);
	ck_assert_uint_eq(bus_read(&bus, 0x1003, 1), 1);
	ck_assert_uint_eq(bus_read(&bus, 0x1004, 4), 2);
}
END_TEST

START_TEST(top_of_space)
{
	struct recorder r = { .tag = 7 }, all = { .tag = 8 };

	ck_assert_int_eq(add(UINT64_MAX - 7, 9, &r), -EINVAL);
	ck_assert_int_eq(add(UINT64_MAX, 2, &r), -EINVAL);
	ck_assert_int_eq(add(1, UINT64_MAX, &r), 0);
	ck_assert_int_eq(add(UINT64_MAX, 1, &all), -EEXIST);
	bus_remove(&bus, 1);
	ck_assert_int_eq(add(UINT64_MAX - 7, 8, &r), 0);
	ck_assert_uint_eq(bus_read(&bus, UINT64_MAX - 7, 8), 7);
	ck_assert_uint_eq(bus_read(&bus, UINT64_MAX - 7, 4), 7);
	ck_assert_uint_eq(bus_read(&bus, UINT64_MAX, 1), 7);
	ck_assert_uint_eq(r.offset, 7);
	/* This one would go on at 0. */
	ck_assert_uint_eq(bus_read(&bus, UINT64_MAX - 3, 8), UINT64_MAX);
	ck_assert_uint_eq(r.reads, 3);
	ck_assert_int_eq(add(0, UINT64_MAX - 7, &all), 0);
	ck_assert_uint_eq(bus_read(&bus, UINT64_MAX - 8, 1), 8);
}
END_TEST

START_TEST(taken_without_ops)
{
	const struct bus_region region = { .base = 0x1000, .len = 0x100 };
	struct recorder r = { .tag = 0 };

	ck_assert_int_eq(bus_add(&bus, &region), 0);
	ck_assert_uint_eq(bus_read(&bus, 0x1000, 4), UINT32_MAX);
	bus_write(&bus, 0x1000, 0, 4);
	ck_assert_int_eq(add(0x1080, 0x100, &r), -EEXIST);
}
END_TEST

START_TEST(overlap)
{
	struct recorder r = { .tag = 1 }, other = { .tag = 2 };

	ck_assert_int_eq(add(0x2000, 0, &r), -EINVAL);
	ck_assert_int_eq(add(0x2000, 0x1000, &r), 0);
	ck_assert_int_eq(add(0x2000, 0x1000, &other), -EEXIST);
	ck_assert_int_eq(add(0x2800, 1, &other), -EEXIST);
	ck_assert_int_eq(add(0x1000, 0x4000, &other), -EEXIST);
	ck_assert_int_eq(add(0x1000, 0x1001, &other), -EEXIST);
	ck_assert_int_eq(add(0x2fff, 1, &other), -EEXIST);
	ck_assert_int_eq(add(0, UINT64_MAX, &other), -EEXIST);
	ck_assert_int_eq(add(0x1000, 0x1000, &other), 0);
	ck_assert_int_eq(add(0x3000, 0x1000, &other), 0);
	ck_assert_uint_eq(bus_read(&bus, 0x1fff, 1), 2);
	ck_assert_uint_eq(bus_read(&bus, 0x2000, 1), 1);
	ck_assert_uint_eq(bus_read(&bus, 0x2fff, 1), 1);
	ck_assert_uint_eq(bus_read(&bus, 0x3000, 1), 2);
}
END_TEST

START_TEST(remove_by_base)
{
	struct recorder r = { .tag = 0 };

	ck_assert_int_eq(add(0x1000, 0x10, &r), 0);
	bus_remove(&bus, 0x1008); /* inside, not its base */
	bus_remove(&bus, 0xfff);
	bus_remove(&bus, 0x1010);
	ck_assert_uint_eq(bus_read(&bus, 0x1008, 1), 0);
	bus_remove(&bus, 0x1000);
	bus_remove(&bus, 0x1000);
	ck_assert_uint_eq(bus_read(&bus, 0x1008, 1), 0xff);
	ck_assert_int_eq(add(0x1008, 0x10, &r), 0);
}
END_TEST

/* A handler that moves its own region, and grows the bus while it is at it. */

struct mover {
	uint64_t base;
	unsigned added;
};

static struct recorder filler;

static void mover_write(void *opaque, uint64_t offset, uint64_t value, unsigned len);

static uint64_t mover_read(void *opaque, uint64_t offset, unsigned len)
{
	struct mover *m = opaque;
	unsigned i;

	(void)offset;
	(void)len;
	for (i = 0; i < 40; i++, m->added++)
		ck_assert_int_eq(add(0x100000 + 0x10 * m->added, 0x10, &filler), 0);
	return m->base;
}

static const struct bus_ops mover_ops = { mover_read, mover_write };

static void mover_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
	struct mover *m = opaque;
	const struct bus_region region = { value, 0x10, &mover_ops, m };

	(void)offset;
	(void)len;
	bus_remove(&bus, m->base);
	ck_assert_int_eq(bus_add(&bus, &region), 0);
	m->base = value;
}

START_TEST(handler_changes_bus)
{
	struct mover mover = { .base = 0x1000 };
	const struct bus_region region = { 0x1000, 0x10, &mover_ops, &mover };

	ck_assert_int_eq(bus_add(&bus, &region), 0);
	bus_write(&bus, 0x1004, 0x3000, 4);
	ck_assert_uint_eq(bus_read(&bus, 0x1004, 4), UINT32_MAX);
	ck_assert_uint_eq(bus_read(&bus, 0x3004, 4), 0x3000);
	ck_assert_uint_eq(bus_read(&bus, 0x3004, 4), 0x3000);
	ck_assert_uint_eq(mover.added, 80);
	bus_write(&bus, 0x3004, 0x1000, 4);
	ck_assert_uint_eq(bus_read(&bus, 0x1004, 4), 0x1000);
	ck_assert_uint_eq(bus_read(&bus, 0x100000 + 0x10 * 119, 4), 0);
}
END_TEST

/* Random regions, against a map of who owns each address. */
START_TEST(against_model)
{
	enum { SPACE = 256 };
	static struct recorder recorder[SPACE];
	struct recorder *owner[SPACE + 8] = { NULL };
	uint32_t seed = (uint32_t)_i;
	unsigned step, i;

	for (i = 0; i < SPACE; i++)
		recorder[i].tag = 0x0101010101010101ULL * i;
	for (step = 0; step < 3000; step++) {
		unsigned base = fake_random(&seed) % SPACE;
		unsigned len = 1 + fake_random(&seed) % 8;
		struct recorder *who = owner[base];
		bool free = true, whole = true;

		for (i = base; i < base + len; i++) {
			free = free && !owner[i] && i < SPACE;
			whole = whole && owner[i] && owner[i] == who;
		}
		if (fake_random(&seed) % 4 == 0) {
			bus_remove(&bus, base);
			if (who != &recorder[base])
				continue;
			for (i = base; i < SPACE && owner[i] == who; i++)
				owner[i] = NULL;
		} else if (base + len <= SPACE && fake_random(&seed) % 2) {
			ck_assert_int_eq(add(base, len, &recorder[base]), free ? 0 : -EEXIST);
			for (i = base; free && i < base + len; i++)
				owner[i] = &recorder[base];
		} else {
			ck_assert_uint_eq(bus_read(&bus, base, len),
					  (whole ? who->tag : UINT64_MAX) & bytes_mask(len));
		}
	}
}
END_TEST

/* Look-ups while regions come and go: a value is the region's, or nobody's. */

static uint64_t echo_read(void *opaque, uint64_t offset, unsigned len)
{
	(void)len;
	return (uint64_t)(uintptr_t)opaque << 8 | offset;
}

static void echo_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
	(void)opaque;
	(void)offset;
	(void)value;
	(void)len;
}

static const struct bus_ops echo_ops = { echo_read, echo_write };

static bool churning;
static unsigned wrong, answered;

static void *look_up(void *opaque)
{
	uint32_t seed = (uint32_t)(uintptr_t)opaque;

	while (load_relaxed(&churning)) {
		uint64_t slot = fake_random(&seed) % 32;
		uint64_t offset = fake_random(&seed) % 0xfd;
		uint64_t got = bus_read(&bus, slot << 8 | offset, 4);
		bool always = slot % 2 == 0; /* the writer leaves these alone */

		if (got == (slot << 8 | offset))
			__atomic_fetch_add(&answered, 1, __ATOMIC_RELAXED);
		else if (always || got != UINT32_MAX)
			__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
		bus_write(&bus, slot << 8, 0, 8);
	}
	return NULL;
}

static void slot_add(uintptr_t slot)
{
	const struct bus_region region = { slot << 8, 0x100, &echo_ops, (void *)slot };

	ck_assert_int_eq(bus_add(&bus, &region), 0);
}

START_TEST(lookups_during_changes)
{
	pthread_t thread[2];
	uint32_t seed = 1;
	bool there[32] = { false };
	unsigned i;

	for (i = 0; i < 32; i += 2)
		slot_add(i);
	churning = true;
	for (i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, look_up, (void *)(i + 7UL)), 0);
	for (i = 0; i < 20000 || load_relaxed(&answered) < 100; i++) {
		unsigned slot = fake_random(&seed) % 32 | 1;

		if (there[slot])
			bus_remove(&bus, (uint64_t)slot << 8);
		else
			slot_add(slot);
		there[slot] = !there[slot];
	}
	store_relaxed(&churning, false);
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(wrong, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("bus");
	TCase *tcase = tcase_create("bus");

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, nobody);
	tcase_add_test(tcase, widths);
	tcase_add_test(tcase, ends);
	tcase_add_test(tcase, straddling_two);
	tcase_add_test(tcase, top_of_space);
	tcase_add_test(tcase, taken_without_ops);
	tcase_add_test(tcase, overlap);
	tcase_add_test(tcase, remove_by_base);
	tcase_add_test(tcase, handler_changes_bus);
	tcase_add_loop_test(tcase, against_model, 0, 20);
	tcase_add_test(tcase, lookups_during_changes);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
