/* SPDX-License-Identifier: BSD-2-Clause */
/* The time of day, and one alarm.  Any thread. */
#pragma once

#include <stdint.h>

struct alarm_clock_ops {
	/* Nanoseconds since 1970-01-01 00:00 UTC. */
	int64_t (*now)(void *opaque);
	/*
	 * Have rtc_alarm() called once, on any thread, when now() reaches
	 * @when; replaces an earlier request.  @when INT64_MAX: never.
	 */
	void (*set_alarm)(void *opaque, int64_t when);
};

struct alarm_clock {
	const struct alarm_clock_ops *ops;
	void *opaque;
};
