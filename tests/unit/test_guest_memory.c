// SPDX-License-Identifier: BSD-2-Clause
#include "hw/guest_memory.h"

#include <errno.h>

#include "hw/base/util.h"
#include "tests/unit/fakes.h"
#include "tests/unit/unit.h"

static uint8_t host[0x10000];

/* RAM of @len bytes at @gpa; what backs it starts at host[@at]. */
static int add(struct guest_memory *mem, uint64_t gpa, uint64_t len, uint64_t at)
{
	return guest_memory_add(mem, gpa, len, host + at);
}

START_TEST(empty)
{
	struct guest_memory mem = { 0 };

	ck_assert_ptr_null(guest_memory_ptr(&mem, 0, 0));
	ck_assert_ptr_null(guest_memory_ptr(&mem, 0, 1));
	ck_assert_ptr_null(guest_memory_ptr(&mem, UINT64_MAX, 1));
	ck_assert_ptr_null(guest_memory_ptr(&mem, 0, UINT64_MAX));
}
END_TEST

START_TEST(exact_ends)
{
	struct guest_memory mem = { 0 };

	ck_assert_int_eq(add(&mem, 0x1000, 0x1000, 0), 0);
	ck_assert_ptr_eq(guest_memory_ptr(&mem, 0x1000, 0x1000), host);
	ck_assert_ptr_eq(guest_memory_ptr(&mem, 0x1fff, 1), host + 0xfff);
	ck_assert_ptr_null(guest_memory_ptr(&mem, 0x1000, 0x1001));
	ck_assert_ptr_null(guest_memory_ptr(&mem, 0x1fff, 2));
	ck_assert_ptr_null(guest_memory_ptr(&mem, 0x2000, 1));
	ck_assert_ptr_null(guest_memory_ptr(&mem, 0xfff, 1));
	ck_assert_ptr_null(guest_memory_ptr(&mem, 0xfff, 2));
}
END_TEST

START_TEST(no_length)
{
	struct guest_memory mem = { 0 };

	/* It asks about the byte at the address. */
	ck_assert_int_eq(add(&mem, 0x1000, 0x1000, 0), 0);
	ck_assert_ptr_null(guest_memory_ptr(&mem, 0xfff, 0));
	ck_assert_ptr_eq(guest_memory_ptr(&mem, 0x1000, 0), host);
	ck_assert_ptr_eq(guest_memory_ptr(&mem, 0x1fff, 0), host + 0xfff);
	ck_assert_ptr_null(guest_memory_ptr(&mem, 0x2000, 0));
}
END_TEST

START_TEST(hole)
{
	struct guest_memory mem = { 0 };

	ck_assert_int_eq(add(&mem, 0x3000, 0x1000, 0x1000), 0);
	ck_assert_int_eq(add(&mem, 0, 0x1000, 0), 0);
	ck_assert_uint_eq(mem.count, 2);
	ck_assert_ptr_null(guest_memory_ptr(&mem, 0x1000, 1));
	ck_assert_ptr_null(guest_memory_ptr(&mem, 0x2fff, 1));
	ck_assert_ptr_null(guest_memory_ptr(&mem, 0xfff, 0x2002)); /* over the hole */
	ck_assert_ptr_null(guest_memory_ptr(&mem, 0, 0x4000));
	ck_assert_ptr_eq(guest_memory_ptr(&mem, 0xfff, 1), host + 0xfff);
	ck_assert_ptr_eq(guest_memory_ptr(&mem, 0x3000, 0x1000), host + 0x1000);
}
END_TEST

START_TEST(wrap)
{
	struct guest_memory mem = { 0 };
	const uint64_t top = UINT64_MAX - 0xfff;

	ck_assert_int_eq(add(&mem, top, 0x1000, 0), -EINVAL); /* the last byte is left out */
	ck_assert_int_eq(add(&mem, top, 0x1001, 0), -EINVAL);
	ck_assert_int_eq(add(&mem, 1, UINT64_MAX, 0), -EINVAL);
	ck_assert_int_eq(add(&mem, 0, 0, 0), -EINVAL);
	ck_assert_uint_eq(mem.count, 0);
	ck_assert_int_eq(add(&mem, top, 0xfff, 0), 0);
	ck_assert_ptr_eq(guest_memory_ptr(&mem, UINT64_MAX - 1, 1), host + 0xffe);
	ck_assert_ptr_null(guest_memory_ptr(&mem, UINT64_MAX - 1, 2));
	ck_assert_ptr_null(guest_memory_ptr(&mem, UINT64_MAX, 0));
	ck_assert_ptr_null(guest_memory_ptr(&mem, UINT64_MAX, 1));
	/* The end of these wraps round to where there is RAM, or to 0. */
	ck_assert_ptr_null(guest_memory_ptr(&mem, top, UINT64_MAX));
	ck_assert_ptr_null(guest_memory_ptr(&mem, top + 1, UINT64_MAX));
	ck_assert_ptr_null(guest_memory_ptr(&mem, top, 0x1000));
	ck_assert_ptr_null(guest_memory_ptr(&mem, top, 0x1001));
}
END_TEST

START_TEST(overlap)
{
	struct guest_memory mem = { 0 };

	ck_assert_int_eq(add(&mem, 0x2000, 0x2000, 0), 0);
	ck_assert_int_eq(add(&mem, 0x2000, 0x2000, 0x8000), -EEXIST); /* the same */
	ck_assert_int_eq(add(&mem, 0x2800, 0x800, 0x8000), -EEXIST);  /* inside */
	ck_assert_int_eq(add(&mem, 0x1000, 0x4000, 0x8000), -EEXIST); /* around */
	ck_assert_int_eq(add(&mem, 0x1000, 0x1001, 0x8000), -EEXIST); /* its first byte */
	ck_assert_int_eq(add(&mem, 0x3fff, 0x1000, 0x8000), -EEXIST); /* its last byte */
	ck_assert_uint_eq(mem.count, 1);
	ck_assert_ptr_eq(guest_memory_ptr(&mem, 0x2000, 0x2000), host);
	ck_assert_int_eq(add(&mem, 0x1000, 0x1000, 0x8000), 0);
	ck_assert_int_eq(add(&mem, 0x4000, 0x1000, 0x9800), 0);
	ck_assert_uint_eq(mem.count, 3);
}
END_TEST

START_TEST(merge)
{
	/* The parts of 0x1000 bytes in any order. */
	static const unsigned order[][3] = {
		{ 0, 1, 2 }, { 2, 1, 0 }, { 0, 2, 1 }, { 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 },
	};
	struct guest_memory mem = { 0 };
	unsigned i;

	for (i = 0; i < 3; i++) {
		unsigned part = order[_i][i];

		ck_assert_int_eq(add(&mem, 0x1000 * part, 0x1000, 0x1000 * part), 0);
	}
	ck_assert_uint_eq(mem.count, 1);
	ck_assert_ptr_eq(guest_memory_ptr(&mem, 0, 0x3000), host);
	ck_assert_ptr_eq(guest_memory_ptr(&mem, 0xfff, 0x1002), host + 0xfff);
	ck_assert_ptr_null(guest_memory_ptr(&mem, 0, 0x3001));
}
END_TEST

START_TEST(touching_on_one_side)
{
	struct guest_memory mem = { 0 };

	/* Neighbours for the guest but not for us: no pointer spans both. */
	ck_assert_int_eq(add(&mem, 0x1000, 0x1000, 0x1000), 0);
	ck_assert_int_eq(add(&mem, 0x2000, 0x1000, 0x4000), 0);
	ck_assert_int_eq(add(&mem, 0, 0x1000, 0x5000), 0);
	/* Neighbours for us but not for the guest. */
	ck_assert_int_eq(add(&mem, 0x8000, 0x1000, 0x2000), 0);
	ck_assert_uint_eq(mem.count, 4);
	ck_assert_ptr_null(guest_memory_ptr(&mem, 0x1fff, 2));
	ck_assert_ptr_null(guest_memory_ptr(&mem, 0xfff, 2));
	ck_assert_ptr_eq(guest_memory_ptr(&mem, 0x2000, 0x1000), host + 0x4000);
	ck_assert_ptr_eq(guest_memory_ptr(&mem, 0x8000, 0x1000), host + 0x2000);
}
END_TEST

START_TEST(too_many)
{
	struct guest_memory mem = { 0 };
	struct guest_memory before;
	unsigned i;

	for (i = 0; i < GUEST_MEMORY_REGIONS; i++)
		ck_assert_int_eq(add(&mem, 0x2000 * i, 0x1000, 0x1000 * i), 0);
	before = mem;
	ck_assert_int_eq(add(&mem, 0x2000 * i, 0x1000, 0x1000 * i), -ENOSPC);
	ck_assert_int_eq(add(&mem, 0x5000, 0x800, 0), -ENOSPC);
	ck_assert_mem_eq(&mem, &before, sizeof(mem));
}
END_TEST

#define PAGES 24
#define PAGE 0x100

/* Random RAM, against a map of who backs each page. */
START_TEST(against_model)
{
	struct guest_memory mem = { 0 };
	uint8_t *page[PAGES + 1] = { NULL };
	uint32_t seed = (uint32_t)_i;
	unsigned tries, gpa, len, i;

	for (tries = 0; tries < 20; tries++) {
		unsigned first = fake_random(&seed) % PAGES;
		unsigned count = 1 + fake_random(&seed) % min(4U, PAGES - first);
		unsigned at = first + fake_random(&seed) % 2 * 40;
		bool taken = false;
		int ret;

		for (i = 0; i < count; i++)
			taken |= page[first + i] != NULL;
		ret = add(&mem, first * PAGE, count * PAGE, at * PAGE);
		if (mem.count == GUEST_MEMORY_REGIONS && ret == -ENOSPC)
			break;
		ck_assert_int_eq(ret, taken ? -EEXIST : 0);
		for (i = 0; i < count && ret == 0; i++)
			page[first + i] = host + (at + i) * PAGE;
	}
	for (gpa = 0; gpa < PAGES * PAGE; gpa += PAGE / 2) {
		for (len = 1; len < 6 * PAGE; len += PAGE - 1) {
			unsigned last = (gpa + len - 1) / PAGE;
			uint8_t *expected = page[gpa / PAGE];

			for (i = gpa / PAGE; expected && i < last; i++)
				if (i + 1 >= PAGES || page[i + 1] != page[i] + PAGE)
					expected = NULL;
			if (expected)
				expected += gpa % PAGE;
			ck_assert_ptr_eq(guest_memory_ptr(&mem, gpa, len), expected);
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("guest memory");
	TCase *tcase = tcase_create("model");

	unit_tcase(suite, "lookup", empty, exact_ends, no_length, hole, wrap);
	unit_tcase(suite, "add", overlap, touching_on_one_side, too_many);
	tcase_add_loop_test(tcase, merge, 0, 6);
	tcase_add_loop_test(tcase, against_model, 0, 200);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
