// SPDX-License-Identifier: BSD-2-Clause
#include "hw/rtc.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "hw/base/util.h"
#include "tests/unit/unit.h"

enum {
	SECOND, SECOND_ALARM, MINUTE, MINUTE_ALARM, HOUR, HOUR_ALARM, WEEKDAY, DAY, MONTH, YEAR,
	A, B, C, D,
	CENTURY = 0x32,
};

#define SET 0x80
#define PIE 0x40
#define AIE 0x20
#define UIE 0x10
#define BINARY 0x04
#define HOURS_24 0x02
#define ANY 0xff
#define DIVIDER_RESET 0x70
#define DIVIDER_RUNNING 0x26

#define NS 1000000000LL

/* The alarm clock: time moves only by the tests' will. */
static int64_t clock_now, clock_alarm;
static bool line_level;
static unsigned line_rises, wakes;
static struct irq_line line;
static struct rtc *rtc;

static int64_t fake_now(void *opaque)
{
	(void)opaque;
	return clock_now;
}

static void fake_set_alarm(void *opaque, int64_t when)
{
	(void)opaque;
	ck_assert_int_gt(when, clock_now);
	clock_alarm = when;
}

static void wake(void *opaque)
{
	ck_assert_ptr_eq(opaque, &wakes);
	wakes++;
}

static void set_line(void *opaque, unsigned gsi, bool level)
{
	(void)opaque;
	ck_assert_uint_eq(gsi, 8);
	line_level = level;
	line_rises += level;
}

static const struct alarm_clock_ops clock_ops = { .now = fake_now, .set_alarm = fake_set_alarm };
static const struct irq_line_ops line_ops = { .set = set_line };

static uint8_t in(uint8_t reg)
{
	rtc_bus_ops.write(rtc, 0, reg, 1);
	return rtc_bus_ops.read(rtc, 1, 1);
}

static void out(uint8_t reg, uint8_t value)
{
	rtc_bus_ops.write(rtc, 0, reg, 1);
	rtc_bus_ops.write(rtc, 1, value, 1);
}

/* Let @ns pass, with the alarms that fall into them. */
static void pass(int64_t ns)
{
	int64_t end = clock_now + ns;

	while (clock_alarm <= end) {
		clock_now = clock_alarm;
		clock_alarm = INT64_MAX;
		rtc_alarm(rtc);
	}
	clock_now = end;
}

static int64_t date_ns(int year, int month, int day, int hour, int minute, int second)
{
	struct tm tm = {
		.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day,
		.tm_hour = hour, .tm_min = minute, .tm_sec = second,
	};

	return timegm(&tm) * NS;
}

/* Time and date registers as a guest reads them: "20 26-11-20 6 21:34:56". */
static void ck_assert_shows(const char *text)
{
	char shown[32];

	snprintf(shown, sizeof(shown), "%02x %02x-%02x-%02x %x %02x:%02x:%02x", in(CENTURY),
		 in(YEAR), in(MONTH), in(DAY), in(WEEKDAY), in(HOUR), in(MINUTE), in(SECOND));
	ck_assert_str_eq(shown, text);
}

/* BCD, 24 hours, the way Linux does it. */
static void set_date(uint8_t century, uint8_t year, uint8_t month, uint8_t day)
{
	out(B, HOURS_24 | SET);
	out(A, DIVIDER_RESET);
	out(CENTURY, century);
	out(YEAR, year);
	out(MONTH, month);
	out(DAY, day);
	out(HOUR, 0x23);
	out(MINUTE, 0x59);
	out(SECOND, 0x58);
	out(B, HOURS_24);
	out(A, DIVIDER_RUNNING);
}

static void set_alarm(uint8_t hour, uint8_t minute, uint8_t second)
{
	out(HOUR_ALARM, hour);
	out(MINUTE_ALARM, minute);
	out(SECOND_ALARM, second);
}

static void setup(void)
{
	const struct alarm_clock clock = { .ops = &clock_ops };

	clock_now = date_ns(2026, 11, 20, 21, 34, 56); /* a Friday */
	clock_alarm = INT64_MAX;
	line_level = false;
	line_rises = wakes = 0;
	irq_line_init(&line, 8, &line_ops, NULL);
	rtc = rtc_create(&line, &clock, CENTURY, wake, &wakes);
	ck_assert_ptr_nonnull(rtc);
}

static void teardown(void)
{
	rtc_destroy(rtc);
	ck_assert_int_eq(clock_alarm, INT64_MAX);
	irq_line_destroy(&line);
}

START_TEST(power_on)
{
	ck_assert_uint_eq(in(A), 0x26);
	ck_assert_uint_eq(in(B), HOURS_24);
	ck_assert_uint_eq(in(C), 0);
	ck_assert_uint_eq(in(D), 0x80);
	ck_assert_shows("20 26-11-20 6 21:34:56");
	pass(3 * 3600 * NS);
	ck_assert_shows("20 26-11-21 7 00:34:56");
	ck_assert_uint_eq(line_rises, 0);
}
END_TEST

START_TEST(ports)
{
	ck_assert_uint_eq(rtc_bus_ops.read(rtc, 0, 1), 0xff);
	/* Bit 7 of the index masks the NMI. */
	rtc_bus_ops.write(rtc, 0, 0x80 | MONTH, 1);
	ck_assert_uint_eq(rtc_bus_ops.read(rtc, 1, 1), 0x11);
	/* Both ports at once: index, then data. */
	rtc_bus_ops.write(rtc, 0, 0xa540, 2);
	ck_assert_uint_eq(in(0x40), 0xa5);
	ck_assert_uint_eq(rtc_bus_ops.read(rtc, 0, 2), 0xa5ff);
}
END_TEST

START_TEST(cmos_ram)
{
	unsigned i;

	for (i = D + 1; i < 128; i++)
		if (i != CENTURY)
			out(i, i ^ 0x5a);
	for (i = D + 1; i < 128; i++)
		if (i != CENTURY)
			ck_assert_uint_eq(in(i), i ^ 0x5a);
	out(C, 0xff);
	out(D, 0x00);
	ck_assert_uint_eq(in(C), 0);
	ck_assert_uint_eq(in(D), 0x80);
}
END_TEST

START_TEST(formats)
{
	out(B, HOURS_24 | BINARY);
	ck_assert_shows("14 1a-0b-14 6 15:22:38");
	out(B, BINARY);
	ck_assert_shows("14 1a-0b-14 6 89:22:38");
	out(B, 0);
	ck_assert_shows("20 26-11-20 6 89:34:56");
}
END_TEST

START_TEST(twelve_hours)
{
	static const uint8_t hours[24] = {
		0x12, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x10, 0x11,
		0x92, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x90, 0x91,
	};

	/* Set by the byte, then read back in both ways. */
	out(B, SET);
	out(HOUR, hours[_i]);
	out(B, 0);
	ck_assert_uint_eq(in(HOUR), hours[_i]);
	out(B, HOURS_24 | BINARY);
	ck_assert_uint_eq(in(HOUR), _i);
}
END_TEST

START_TEST(update_in_progress)
{
	/* 244 us before the second: 8 ticks of the crystal. */
	pass(NS - 245 * 1000);
	ck_assert_uint_eq(in(A), 0x26);
	pass(2 * 1000);
	ck_assert_uint_eq(in(A), 0xa6);
	ck_assert_uint_eq(in(SECOND), 0x56);
	pass(243 * 1000);
	ck_assert_uint_eq(in(A), 0x26);
	ck_assert_uint_eq(in(SECOND), 0x57);
	/* Never while the time is held. */
	pass(NS - 1000);
	out(B, HOURS_24 | SET);
	ck_assert_uint_eq(in(A), 0x26);
}
END_TEST

START_TEST(set_freezes)
{
	out(B, HOURS_24 | SET);
	pass(10 * NS);
	ck_assert_shows("20 26-11-20 6 21:34:56");
	out(MINUTE, 0x35);
	pass(10 * NS + NS / 4);
	ck_assert_shows("20 26-11-20 6 21:35:56");
	out(B, HOURS_24);
	ck_assert_shows("20 26-11-20 6 21:35:56");
	/* The fraction of the second went on meanwhile. */
	pass(NS / 4 * 3);
	ck_assert_shows("20 26-11-20 6 21:35:57");
}
END_TEST

START_TEST(set_with_divider_reset)
{
	set_date(0x19, 0x99, 0x12, 0x31);
	ck_assert_shows("19 99-12-31 6 23:59:58");
	pass(NS / 2 - 1000);
	ck_assert_uint_eq(in(SECOND), 0x58);
	pass(2000); /* the first update is after half a second */
	ck_assert_uint_eq(in(SECOND), 0x59);
	pass(NS);
	ck_assert_shows("20 00-01-01 7 00:00:00");
}
END_TEST

START_TEST(set_far_away)
{
	set_date(0x99, 0x99, 0x12, 0x31);
	ck_assert_shows("99 99-12-31 6 23:59:58");
	set_alarm(ANY, ANY, 0x59);
	out(B, HOURS_24 | AIE);
	pass(NS / 2);
	ck_assert(line_level);
	set_date(0x00, 0x00, 0x01, 0x01);
	ck_assert_shows("00 00-01-01 7 23:59:58");
	set_alarm(0x00, 0x00, 0x00);
	in(C);
	out(B, HOURS_24 | AIE);
	pass(NS);
	ck_assert(!line_level);
	pass(NS / 2);
	ck_assert(line_level);
	ck_assert_shows("00 00-01-02 1 00:00:00");
}
END_TEST

START_TEST(set_without_holding)
{
	out(HOUR, 0x05);
	ck_assert_shows("20 26-11-20 6 05:34:56");
	out(CENTURY, 0x21);
	ck_assert_shows("21 26-11-20 4 05:34:56");
}
END_TEST

static const uint8_t bad[][2] = {
	{ SECOND, 0x60 }, { MINUTE, 0x99 }, { HOUR, 0x24 }, { DAY, 0x00 }, { DAY, 0x32 },
	{ MONTH, 0x00 }, { MONTH, 0x13 }, { YEAR, 0xff }, { CENTURY, 0xff },
};

START_TEST(nonsense_is_ignored)
{
	out(B, HOURS_24 | SET);
	out(bad[_i][0], bad[_i][1]);
	ck_assert_uint_eq(in(bad[_i][0]), bad[_i][1]);
	pass(NS);
	out(B, HOURS_24);
	ck_assert_shows("20 26-11-20 6 21:34:57");
}
END_TEST

START_TEST(alarm_rings)
{
	set_alarm(0x21, 0x35, 0x00);
	ck_assert_int_eq(clock_alarm, INT64_MAX);
	out(B, HOURS_24 | AIE);
	ck_assert_int_eq(clock_alarm, date_ns(2026, 11, 20, 21, 35, 0));
	pass(4 * NS - 1);
	ck_assert(!line_level);
	pass(1);
	ck_assert(line_level);
	ck_assert_uint_eq(wakes, 1);
	ck_assert_uint_eq(in(C), 0xf0); /* the other flags are set as well */
	ck_assert(!line_level);
	ck_assert_uint_eq(in(C), 0x00);
	/* Again tomorrow. */
	ck_assert_int_eq(clock_alarm, date_ns(2026, 11, 21, 21, 35, 0));
	pass(86400 * NS);
	ck_assert(line_level);
	ck_assert_uint_eq(wakes, 2);
	out(B, HOURS_24);
	ck_assert(!line_level);
}
END_TEST

/* With the clock at 21:34:56: the seconds until the alarm; 0 for never. */
static const struct {
	uint8_t control, hour, minute, second;
	int64_t after;
} alarm_row[] = {
	{ HOURS_24, ANY, ANY, ANY, 1 },
	{ HOURS_24, 0xc0, 0xc0, 0xc0, 1 },
	{ HOURS_24, ANY, ANY, 0x56, 60 },
	{ HOURS_24, ANY, ANY, 0x57, 1 },
	{ HOURS_24, ANY, 0x34, ANY, 1 },
	{ HOURS_24, ANY, 0x34, 0x00, 3600 - 56 },
	{ HOURS_24, ANY, 0x33, ANY, 3600 - 60 - 56 },
	{ HOURS_24, 0x22, ANY, ANY, 25 * 60 + 4 },
	{ HOURS_24, 0x21, 0x34, 0x56, 86400 },
	{ HOURS_24, 0x21, 0x34, 0x55, 86399 },
	{ HOURS_24, 0x00, 0x00, 0x00, 2 * 3600 + 25 * 60 + 4 },
	{ HOURS_24 | BINARY, 21, 34, 58, 2 },
	{ 0, 0x89, 0x34, 0x58, 2 },
	{ 0, 0x09, 0x34, 0x56, 43200 },
	{ BINARY, 0x80 | 9, 34, 58, 2 },
	{ HOURS_24, 0x24, ANY, ANY, 0 },
	{ HOURS_24, ANY, 0x60, ANY, 0 },
	{ HOURS_24, ANY, ANY, 0x99, 0 },
};

START_TEST(alarm_bytes)
{
	int64_t now = clock_now;

	out(B, alarm_row[_i].control);
	set_alarm(alarm_row[_i].hour, alarm_row[_i].minute, alarm_row[_i].second);
	out(B, alarm_row[_i].control | AIE);
	if (alarm_row[_i].after)
		ck_assert_int_eq(clock_alarm, now + alarm_row[_i].after * NS);
	else
		ck_assert_int_eq(clock_alarm, INT64_MAX);
}
END_TEST

START_TEST(alarm_without_interrupt)
{
	set_alarm(ANY, ANY, 0x58);
	pass(NS);
	ck_assert_uint_eq(in(C), 0x50);
	pass(NS);
	ck_assert_uint_eq(in(C), 0x70);
	ck_assert_uint_eq(wakes, 0);
	ck_assert_uint_eq(line_rises, 0);
	ck_assert_int_eq(clock_alarm, INT64_MAX);
}
END_TEST

START_TEST(alarm_pending_when_enabled)
{
	set_alarm(ANY, ANY, 0x57);
	pass(2 * NS);
	out(B, HOURS_24 | AIE);
	ck_assert(line_level);
	ck_assert_uint_eq(in(C), 0xf0);
	ck_assert(!line_level);
}
END_TEST

/* The guest asks after the alarm's time, but before the clock rings. */
START_TEST(alarm_seen_before_it_rings)
{
	set_alarm(ANY, ANY, 0x57);
	out(B, HOURS_24 | AIE);
	clock_now += NS;
	ck_assert_uint_eq(in(C), 0xf0);
	ck_assert_uint_eq(wakes, 1);
	rtc_alarm(rtc);
	ck_assert_uint_eq(wakes, 1);
	ck_assert_int_eq(clock_alarm, date_ns(2026, 11, 20, 21, 35, 57));
}
END_TEST

START_TEST(alarm_rings_early)
{
	set_alarm(ANY, ANY, 0x57);
	out(B, HOURS_24 | AIE);
	clock_now += NS - 1000;
	clock_alarm = INT64_MAX;
	rtc_alarm(rtc);
	ck_assert(!line_level);
	ck_assert_int_eq(clock_alarm, date_ns(2026, 11, 20, 21, 34, 57));
	/* The host's clock steps back: that is no event, and not two later. */
	clock_now -= 5 * NS;
	clock_alarm = INT64_MAX;
	rtc_alarm(rtc);
	ck_assert(!line_level);
	pass(6 * NS);
	ck_assert_uint_eq(wakes, 1);
}
END_TEST

START_TEST(alarm_follows_the_time_set)
{
	set_alarm(0x00, 0x00, 0x00);
	out(B, HOURS_24 | AIE);
	out(B, HOURS_24 | AIE | SET);
	ck_assert_int_eq(clock_alarm, INT64_MAX);
	out(HOUR, 0x23);
	out(MINUTE, 0x59);
	out(SECOND, 0x50);
	out(B, HOURS_24 | AIE);
	ck_assert_int_eq(clock_alarm, clock_now + 10 * NS);
	pass(10 * NS);
	ck_assert_uint_eq(wakes, 1);
	ck_assert_shows("20 26-11-21 7 00:00:00");
}
END_TEST

START_TEST(update_ended_interrupt)
{
	unsigned i;

	pass(NS / 4);
	out(B, HOURS_24 | UIE);
	for (i = 1; i <= 3; i++) {
		pass(NS);
		ck_assert_uint_eq(line_rises, i);
		ck_assert_uint_eq(in(C), 0xd0);
	}
	/* Not acknowledged: one interrupt stays, and no timer runs. */
	pass(NS);
	ck_assert_int_eq(clock_alarm, INT64_MAX);
	pass(10 * NS);
	ck_assert_uint_eq(line_rises, 4);
	/* SET turns it off for good. */
	out(B, HOURS_24 | UIE | SET);
	ck_assert_uint_eq(in(B), HOURS_24 | SET);
}
END_TEST

/* Rate and the length of its period in ticks of the 32,768 Hz crystal. */
START_TEST(periodic_interrupt)
{
	static const unsigned period[16] = {
		0, 128, 256, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384,
	};
	int64_t ns = (period[_i] * NS + 32767) / 32768;

	out(A, 0x20 | _i);
	out(B, HOURS_24 | PIE);
	if (_i == 0) {
		ck_assert_int_eq(clock_alarm, INT64_MAX);
		return;
	}
	ck_assert_int_eq(clock_alarm, clock_now + ns);
	pass(ns);
	ck_assert(line_level);
	ck_assert_uint_eq(in(C), 0xc0);
	ck_assert_int_eq(clock_alarm - clock_now, period[_i] * 2 * NS / 32768 +
			 (period[_i] * 2 * NS % 32768 != 0) - ns);
	pass(NS / 2);
	ck_assert_uint_eq(line_rises, 2);
}
END_TEST

START_TEST(nothing_fires_while_held)
{
	set_alarm(ANY, ANY, ANY);
	out(A, DIVIDER_RESET);
	out(B, HOURS_24 | PIE | AIE | UIE);
	ck_assert_int_eq(clock_alarm, INT64_MAX);
	clock_now += 10 * NS;
	rtc_alarm(rtc);
	ck_assert_uint_eq(in(C), 0);
	out(A, DIVIDER_RUNNING);
	ck_assert_uint_eq(in(C), 0);
	ck_assert_int_ne(clock_alarm, INT64_MAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("rtc");
	TCase *tcase = tcase_create("MC146818");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, power_on);
	tcase_add_test(tcase, ports);
	tcase_add_test(tcase, cmos_ram);
	tcase_add_test(tcase, formats);
	tcase_add_loop_test(tcase, twelve_hours, 0, 24);
	tcase_add_test(tcase, update_in_progress);
	tcase_add_test(tcase, set_freezes);
	tcase_add_test(tcase, set_with_divider_reset);
	tcase_add_test(tcase, set_far_away);
	tcase_add_test(tcase, set_without_holding);
	tcase_add_loop_test(tcase, nonsense_is_ignored, 0, array_size(bad));
	tcase_add_test(tcase, alarm_rings);
	tcase_add_loop_test(tcase, alarm_bytes, 0, array_size(alarm_row));
	tcase_add_test(tcase, alarm_without_interrupt);
	tcase_add_test(tcase, alarm_pending_when_enabled);
	tcase_add_test(tcase, alarm_seen_before_it_rings);
	tcase_add_test(tcase, alarm_rings_early);
	tcase_add_test(tcase, alarm_follows_the_time_set);
	tcase_add_test(tcase, update_ended_interrupt);
	tcase_add_loop_test(tcase, periodic_interrupt, 0, 16);
	tcase_add_test(tcase, nothing_fires_while_held);
	suite_add_tcase(suite, tcase);
	return unit_run(suite);
}
