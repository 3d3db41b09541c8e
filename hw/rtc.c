// SPDX-License-Identifier: BSD-2-Clause
#include "hw/rtc.h"

#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "hw/base/clock.h"
#include "hw/base/util.h"

/* CMOS bytes with a meaning. */
#define REG_SECOND 0x00
#define REG_SECOND_ALARM 0x01
#define REG_MINUTE 0x02
#define REG_MINUTE_ALARM 0x03
#define REG_HOUR 0x04
#define REG_HOUR_ALARM 0x05
#define REG_WEEKDAY 0x06
#define REG_DAY 0x07
#define REG_MONTH 0x08
#define REG_YEAR 0x09
#define REG_A 0x0a
#define REG_B 0x0b
#define REG_C 0x0c
#define REG_D 0x0d
#define CMOS_SIZE 128

#define A_RATE 0x0f
#define A_DIVIDER_RESET 0x60 /* both bits */
#define A_POWER_ON 0x26      /* 32,768 Hz crystal, 1,024 Hz periodic rate */
#define A_UPDATING 0x80

#define B_24_HOURS 0x02
#define B_BINARY 0x04
#define B_SET 0x80

/* Flags of register C; register B enables each at the same bit. */
#define EVENT_UPDATE 0x10
#define EVENT_ALARM 0x20
#define EVENT_PERIODIC 0x40
#define C_INTERRUPT 0x80

#define D_VALID 0x80

#define HOUR_PM 0x80
#define ALARM_ANY 0xc0 /* from here on an alarm byte matches any time */

/*
 * Time is counted in periods of the crystal since 1970, UTC: every event falls
 * on a whole one, and the years that a guest can set overflow nanoseconds.
 */
#define TICKS 32768LL            /* a second */
#define UPDATING_TICKS 8         /* 244 us: what a guest that saw UIP clear has */
#define NEVER INT64_MAX

#define DAY_SECONDS 86400LL

struct rtc {
	struct irq_source irq;
	struct alarm_clock clock;
	void (*wake)(void *opaque);
	void *wake_opaque;
	uint8_t century;
	pthread_mutex_t lock; /* guards all below */
	uint8_t index;
	uint8_t cmos[CMOS_SIZE];
	int64_t offset;    /* guest's time less the clock's, in ticks */
	int64_t seen;      /* guest's time up to which events are in register C */
	int64_t requested; /* of the clock, in ns */
	bool wake_due;
};

static int64_t ns_to_ticks(int64_t ns)
{
	return ns / NS_PER_S * TICKS + ns % NS_PER_S * TICKS / NS_PER_S;
}

/* The first nanosecond of a tick. */
static int64_t ticks_to_ns(int64_t ticks)
{
	return ticks / TICKS * NS_PER_S +
	       (ticks % TICKS * NS_PER_S + TICKS - 1) / TICKS;
}

static int64_t rtc_now(const struct rtc *rtc)
{
	return ns_to_ticks(rtc->clock.ops->now(rtc->clock.opaque)) + rtc->offset;
}

/* Rounds down, before 1970 too. */
static int64_t ticks_to_seconds(int64_t ticks)
{
	return (ticks - (ticks & (TICKS - 1))) / TICKS;
}

static uint8_t encode(const struct rtc *rtc, unsigned value)
{
	if (rtc->cmos[REG_B] & B_BINARY)
		return value;
	return value / 10 << 4 | value % 10;
}

static uint8_t encode_hour(const struct rtc *rtc, unsigned hour)
{
	if (rtc->cmos[REG_B] & B_24_HOURS)
		return encode(rtc, hour);
	return encode(rtc, (hour + 11) % 12 + 1) | (hour >= 12 ? HOUR_PM : 0);
}

static int decode(const struct rtc *rtc, uint8_t byte)
{
	if (rtc->cmos[REG_B] & B_BINARY)
		return byte;
	return (byte >> 4) * 10 + (byte & 0xf);
}

static int decode_hour(const struct rtc *rtc, uint8_t byte)
{
	if (rtc->cmos[REG_B] & B_24_HOURS)
		return decode(rtc, byte);
	return decode(rtc, byte & ~HOUR_PM) % 12 + (byte & HOUR_PM ? 12 : 0);
}

/* The guest sets the time: its bytes stand still and nothing fires. */
static bool is_held(const struct rtc *rtc)
{
	return rtc->cmos[REG_B] & B_SET ||
	       (rtc->cmos[REG_A] & A_DIVIDER_RESET) == A_DIVIDER_RESET;
}

/* Write guest's time @now into the bytes that show it. */
static void show_time(struct rtc *rtc, int64_t now)
{
	time_t seconds = ticks_to_seconds(now);
	uint8_t *cmos = rtc->cmos;
	unsigned year;
	struct tm tm;

	gmtime_r(&seconds, &tm);
	year = 1900 + tm.tm_year;
	cmos[REG_SECOND] = encode(rtc, tm.tm_sec);
	cmos[REG_MINUTE] = encode(rtc, tm.tm_min);
	cmos[REG_HOUR] = encode_hour(rtc, tm.tm_hour);
	cmos[REG_WEEKDAY] = encode(rtc, tm.tm_wday + 1);
	cmos[REG_DAY] = encode(rtc, tm.tm_mday);
	cmos[REG_MONTH] = encode(rtc, tm.tm_mon + 1);
	cmos[REG_YEAR] = encode(rtc, year % 100);
	cmos[rtc->century] = encode(rtc, year / 100);
}

/*
 * Make the bytes the guest's time, @fraction ticks into their second.  Bytes
 * that name no time are ignored: the clock goes on as it was.
 */
static void adopt_time(struct rtc *rtc, int64_t fraction)
{
	const uint8_t *cmos = rtc->cmos;
	int year = decode(rtc, cmos[REG_YEAR]);
	int century = decode(rtc, cmos[rtc->century]);
	struct tm tm = {
		.tm_sec = decode(rtc, cmos[REG_SECOND]),
		.tm_min = decode(rtc, cmos[REG_MINUTE]),
		.tm_hour = decode_hour(rtc, cmos[REG_HOUR]),
		.tm_mday = decode(rtc, cmos[REG_DAY]),
		.tm_mon = decode(rtc, cmos[REG_MONTH]) - 1,
		.tm_year = century * 100 + year - 1900,
	};

	if (tm.tm_sec < 60 && tm.tm_min < 60 && tm.tm_hour < 24 &&
	    tm.tm_mday >= 1 && tm.tm_mday <= 31 &&
	    tm.tm_mon >= 0 && tm.tm_mon < 12 && year < 100 && century < 100)
		rtc->offset += timegm(&tm) * TICKS + fraction - rtc_now(rtc);
	rtc->seen = rtc_now(rtc);
}

/* What an alarm byte asks for, decoded; -1 for any. */
static int alarm_value(uint8_t byte, int decoded)
{
	return byte >= ALARM_ANY ? -1 : decoded;
}

/* The first second after @second that the alarm bytes name. */
static int64_t next_alarm(const struct rtc *rtc, int64_t second)
{
	const uint8_t *cmos = rtc->cmos;
	int h = alarm_value(cmos[REG_HOUR_ALARM], decode_hour(rtc, cmos[REG_HOUR_ALARM]));
	int m = alarm_value(cmos[REG_MINUTE_ALARM], decode(rtc, cmos[REG_MINUTE_ALARM]));
	int s = alarm_value(cmos[REG_SECOND_ALARM], decode(rtc, cmos[REG_SECOND_ALARM]));
	int64_t midnight = second - (second % DAY_SECONDS + DAY_SECONDS) % DAY_SECONDS;
	int64_t t = second - midnight + 1;

	if (h > 23 || m > 59 || s > 59)
		return NEVER;
	/* Each day has a match, at most 24 + 60 + 60 steps from any other. */
	for (;;) {
		if (h >= 0 && t / 3600 % 24 != h)
			t = (t / 3600 + 1) * 3600;
		else if (m >= 0 && t / 60 % 60 != m)
			t = (t / 60 + 1) * 60;
		else if (s >= 0 && t % 60 != s)
			t++;
		else
			return midnight + t;
	}
}

/* When @event happens next after @time. */
static int64_t next_event(const struct rtc *rtc, uint8_t event, int64_t time)
{
	unsigned rate = rtc->cmos[REG_A] & A_RATE;
	int64_t second, period;

	if (event == EVENT_UPDATE)
		return (time | (TICKS - 1)) + 1;
	if (event == EVENT_ALARM) {
		second = next_alarm(rtc, ticks_to_seconds(time));
		return second == NEVER ? NEVER : second * TICKS;
	}
	if (rate == 0)
		return NEVER;
	/* With this crystal, rates 1 and 2 are those of 8 and 9. */
	period = 1 << (rate <= 2 ? rate + 6 : rate - 1);
	return (time | (period - 1)) + 1;
}

/* Raise the flags of what has happened since last time. */
static void catch_up(struct rtc *rtc)
{
	int64_t now = rtc_now(rtc);
	uint8_t event;

	if (is_held(rtc))
		return;
	for (event = EVENT_UPDATE; event <= EVENT_PERIODIC; event <<= 1) {
		if (rtc->cmos[REG_C] & event || next_event(rtc, event, rtc->seen) > now)
			continue;
		rtc->cmos[REG_C] |= event;
		if (event == EVENT_ALARM && rtc->cmos[REG_B] & EVENT_ALARM)
			rtc->wake_due = true;
	}
	rtc->seen = now;
}

/* Ask the clock for the next event that would interrupt. */
static void request_next(struct rtc *rtc)
{
	int64_t when = NEVER;
	uint8_t event;

	for (event = EVENT_UPDATE; event <= EVENT_PERIODIC && !is_held(rtc); event <<= 1)
		if (rtc->cmos[REG_B] & ~rtc->cmos[REG_C] & event)
			when = min(when, next_event(rtc, event, rtc->seen));
	if (when != NEVER)
		when = ticks_to_ns(when - rtc->offset);
	if (when == rtc->requested)
		return;
	rtc->requested = when;
	rtc->clock.ops->set_alarm(rtc->clock.opaque, when);
}

static uint8_t interrupt_flag(const struct rtc *rtc)
{
	uint8_t events = EVENT_UPDATE | EVENT_ALARM | EVENT_PERIODIC;

	return rtc->cmos[REG_B] & rtc->cmos[REG_C] & events ? C_INTERRUPT : 0;
}

static bool rtc_asserted(void *opaque)
{
	struct rtc *rtc = opaque;
	bool asserted;

	pthread_mutex_lock(&rtc->lock);
	asserted = interrupt_flag(rtc);
	pthread_mutex_unlock(&rtc->lock);
	return asserted;
}

static void rtc_enter(struct rtc *rtc)
{
	pthread_mutex_lock(&rtc->lock);
	catch_up(rtc);
}

static void rtc_leave(struct rtc *rtc)
{
	bool wake = rtc->wake_due;

	rtc->wake_due = false;
	request_next(rtc);
	pthread_mutex_unlock(&rtc->lock);
	irq_source_update(&rtc->irq);
	if (wake)
		rtc->wake(rtc->wake_opaque);
}

static uint8_t read_cmos(struct rtc *rtc)
{
	uint8_t *cmos = rtc->cmos;
	uint8_t value;

	switch (rtc->index) {
	case REG_A:
		value = cmos[REG_A];
		if (!is_held(rtc) && (rtc->seen & (TICKS - 1)) >= TICKS - UPDATING_TICKS)
			value |= A_UPDATING;
		return value;
	case REG_C:
		value = cmos[REG_C] | interrupt_flag(rtc);
		cmos[REG_C] = 0;
		return value;
	default:
		if (!is_held(rtc))
			show_time(rtc, rtc->seen);
		return cmos[rtc->index];
	}
}

/* Register A or B: the time may be frozen by it, or be set going. */
static void write_control(struct rtc *rtc, uint8_t value)
{
	bool was_held = is_held(rtc);

	if (!was_held)
		show_time(rtc, rtc->seen);
	if (rtc->index == REG_A)
		value &= ~A_UPDATING;
	else if (value & B_SET)
		value &= ~EVENT_UPDATE;
	rtc->cmos[rtc->index] = value;
	if (!was_held || is_held(rtc))
		return;
	/* A released divider makes the first update half a second later. */
	adopt_time(rtc, rtc->index == REG_A ? TICKS / 2 : rtc_now(rtc) & (TICKS - 1));
}

static void write_cmos(struct rtc *rtc, uint8_t value)
{
	switch (rtc->index) {
	case REG_A:
	case REG_B:
		write_control(rtc, value);
		return;
	case REG_C:
	case REG_D:
		return;
	case REG_SECOND_ALARM:
	case REG_MINUTE_ALARM:
	case REG_HOUR_ALARM:
		rtc->cmos[rtc->index] = value;
		return;
	}
	if (is_held(rtc) || (rtc->index > REG_D && rtc->index != rtc->century)) {
		rtc->cmos[rtc->index] = value;
		return;
	}
	show_time(rtc, rtc->seen);
	rtc->cmos[rtc->index] = value;
	adopt_time(rtc, rtc->seen & (TICKS - 1));
}

/* The index cannot be read back, as on a PC. */
static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned len)
{
	struct rtc *rtc = opaque;
	uint64_t value = 0xff;

	if (offset + len < RTC_PORTS)
		return value;
	rtc_enter(rtc);
	value |= (uint64_t)read_cmos(rtc) << 8;
	rtc_leave(rtc);
	return value >> (8 * offset);
}

static void rtc_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
	struct rtc *rtc = opaque;

	rtc_enter(rtc);
	value <<= 8 * offset;
	if (offset == 0)
		rtc->index = value % CMOS_SIZE; /* bit 7 masks the NMI */
	if (offset + len == RTC_PORTS)
		write_cmos(rtc, value >> 8);
	rtc_leave(rtc);
}

const struct bus_ops rtc_bus_ops = {
	.read = rtc_read,
	.write = rtc_write,
};

void rtc_alarm(struct rtc *rtc)
{
	rtc_enter(rtc);
	rtc->requested = NEVER;
	rtc_leave(rtc);
}

struct rtc *rtc_create(struct irq_line *line, const struct alarm_clock *clock, uint8_t century,
		       void (*wake)(void *opaque), void *opaque)
{
	struct rtc *rtc = calloc(1, sizeof(*rtc));

	if (!rtc)
		return NULL;
	rtc->clock = *clock;
	rtc->wake = wake;
	rtc->wake_opaque = opaque;
	rtc->century = century;
	rtc->cmos[REG_A] = A_POWER_ON;
	rtc->cmos[REG_B] = B_24_HOURS;
	rtc->cmos[REG_D] = D_VALID;
	rtc->seen = rtc_now(rtc);
	rtc->requested = NEVER;
	pthread_mutex_init(&rtc->lock, NULL);
	irq_source_init(&rtc->irq, line, rtc_asserted, rtc);
	return rtc;
}

void rtc_destroy(struct rtc *rtc)
{
	rtc->clock.ops->set_alarm(rtc->clock.opaque, NEVER);
	pthread_mutex_destroy(&rtc->lock);
	free(rtc);
}
