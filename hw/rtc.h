/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An MC146818 real-time clock with alarm, as PCs have at ports 0x70 and 0x71
 * (index, data), with its 128 bytes of CMOS RAM.  It shows the UTC time of
 * its alarm clock, plus what the guest has changed by setting it.
 *
 * 12 and 24 hours, BCD and binary; the alarm by hour, minute and second, each
 * of them possibly "any"; alarm, update-ended and periodic interrupts.  Ticks
 * that nobody acknowledged in time merge into one, as the chip's flags do.
 * While the guest sets the time nothing fires.  Not modelled: daylight saving,
 * the square wave, an alarm by day or month.
 *
 * Any thread; the registers have a lock of their own.
 */
#pragma once

#include <stdint.h>

#include "hw/alarm_clock.h"
#include "hw/bus.h"
#include "hw/irq_line.h"

#define RTC_PORTS 2

struct rtc;

/*
 * @century names the CMOS byte that holds the century (FADT CENTURY).
 * @wake is called, with no lock held, each time the alarm fires while its
 * interrupt is enabled: the ACPI RTC event.  @clock is copied; its functions
 * are called with the RTC's lock held, so they must not call back.  @line
 * outlives the RTC.  NULL without memory.
 */
struct rtc *rtc_create(struct irq_line *line, const struct alarm_clock *clock, uint8_t century,
		       void (*wake)(void *opaque), void *opaque);
void rtc_destroy(struct rtc *rtc);

/*
 * Ports 0x70 and 0x71 as a bus sees them; opaque is the struct rtc.  A 2-byte
 * access is one of the index, then one of the data.
 */
extern const struct bus_ops rtc_bus_ops;

/* The time that was asked for has come.  Early or late calls do no harm. */
void rtc_alarm(struct rtc *rtc);
