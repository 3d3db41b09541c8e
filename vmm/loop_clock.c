// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/loop_clock.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "hw/base/clock.h"
#include "hw/base/log.h"

static int64_t clock_now(void *opaque)
{
	struct timespec now;

	(void)opaque;
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

/*
 * An absolute timer of CLOCK_REALTIME follows the clock when someone sets it
 * (timer_settime(2)), so TFD_TIMER_CANCEL_ON_SET would tell us nothing that we
 * need to know.
 */
static void clock_set_alarm(void *opaque, int64_t when)
{
	struct loop_clock *clock = opaque;
	struct itimerspec timer = { 0 }; /* zero: off */

	if (when <= 0)
		when = 1; /* long ago */
	if (when != INT64_MAX) {
		timer.it_value.tv_sec = when / NS_PER_S;
		timer.it_value.tv_nsec = when % NS_PER_S;
	}
	timerfd_settime(clock->timer.fd, TFD_TIMER_ABSTIME, &timer, NULL);
}

static const struct alarm_clock_ops clock_ops = {
	.now = clock_now,
	.set_alarm = clock_set_alarm,
};

static void timer_ready(void *opaque, uint32_t events)
{
	struct loop_clock *clock = opaque;
	uint64_t count;

	(void)events;
	/* Nothing to read: it was set anew since. */
	if (read(clock->timer.fd, &count, sizeof(count)) == sizeof(count))
		clock->alarm(clock->opaque);
}

int loop_clock_init(struct loop_clock *clock, struct loop *loop, void (*alarm)(void *opaque),
		    void *opaque)
{
	int ret;

	*clock = (struct loop_clock){
		.loop = loop,
		.timer = {
			.fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK),
			.ready = timer_ready,
			.opaque = clock,
		},
		.alarm = alarm,
		.opaque = opaque,
	};
	ret = clock->timer.fd < 0 ? -errno : loop_add(loop, &clock->timer, EPOLLIN);
	if (!ret)
		return 0;
	log_error("cannot make a timer: %s", strerror(-ret));
	close(clock->timer.fd);
	return ret;
}

void loop_clock_destroy(struct loop_clock *clock)
{
	loop_remove(clock->loop, &clock->timer);
	close(clock->timer.fd);
}

struct alarm_clock loop_clock_get(struct loop_clock *clock)
{
	return (struct alarm_clock){ &clock_ops, clock };
}
