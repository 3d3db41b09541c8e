/* SPDX-License-Identifier: BSD-2-Clause */
/* The host's time of day and one alarm, on the loop (hw/alarm_clock.h). */
#pragma once

#include "hw/alarm_clock.h"
#include "vmm/loop.h"

struct loop_clock {
	struct loop *loop;
	struct loop_watch timer;
	void (*alarm)(void *opaque);
	void *opaque;
};

/*
 * alarm() is called on the loop's thread.  One that was replaced at the very
 * moment it came due may be called all the same, so it looks at the time.
 * Returns 0, or -errno having said why on stderr.
 */
int loop_clock_init(struct loop_clock *clock, struct loop *loop, void (*alarm)(void *opaque),
		    void *opaque);

/* No other thread uses the clock any more. */
void loop_clock_destroy(struct loop_clock *clock);

/* The clock as devices see it; valid as long as @clock. */
struct alarm_clock loop_clock_get(struct loop_clock *clock);
