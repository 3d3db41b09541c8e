// SPDX-License-Identifier: BSD-2-Clause
#include "hw/debug_port.h"

#include "tests/unit/unit.h"

static struct bus pio;
static uint8_t got[8];
static size_t count;

static size_t collect(void *opaque, const uint8_t *buf, size_t len)
{
	ck_assert_ptr_eq(opaque, got);
	ck_assert_uint_eq(len, 1);
	got[count++] = *buf;
	return len;
}

static const struct byte_stream_ops ops = { .write = collect };
static struct byte_stream stream = { .ops = &ops, .opaque = got };

static void setup(void)
{
	const struct bus_region region = { DEBUG_PORT, 1, &debug_port_ops, &stream };

	count = 0;
	bus_init(&pio);
	ck_assert_int_eq(bus_add(&pio, &region), 0);
}

static void teardown(void)
{
	bus_destroy(&pio);
}

START_TEST(bytes_reach_the_stream)
{
	bus_write(&pio, 0xe9, 'a', 1);
	bus_write(&pio, 0xe9, 0xff, 1);
	ck_assert_uint_eq(count, 2);
	ck_assert_uint_eq(got[0], 'a');
	ck_assert_uint_eq(got[1], 0xff);
}
END_TEST

START_TEST(reads_its_own_number)
{
	ck_assert_uint_eq(bus_read(&pio, 0xe9, 1), 0xe9);
	ck_assert_uint_eq(bus_read(&pio, 0xea, 1), 0xff);
	ck_assert_uint_eq(count, 0);
}
END_TEST

/* It is a byte wide: nobody answers to more. */
START_TEST(wider_accesses)
{
	bus_write(&pio, 0xe9, 'a', 2);
	bus_write(&pio, 0xe8, 0x6161, 2);
	ck_assert_uint_eq(count, 0);
	ck_assert_uint_eq(bus_read(&pio, 0xe9, 2), 0xffff);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("debug_port");
	TCase *tcase = tcase_create("port");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, bytes_reach_the_stream);
	tcase_add_test(tcase, reads_its_own_number);
	tcase_add_test(tcase, wider_accesses);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
