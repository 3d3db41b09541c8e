// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/io_watch.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "devices/blk_watch.h"
#include "hw/base/clock.h"
#include "hw/base/fence.h"
#include "hw/base/log.h"

/* The first epoch; I/O threads have it before any queue is in use. */
#define EPOCH_FIRST 1

static void set_epoch(struct io_watch *watch, uint32_t epoch)
{
	watch->epoch = epoch;
	for (unsigned i = 0; i < watch->threads->count; i++)
		io_thread_set_epoch(watch->threads->thread[i], epoch);
}

/*
 * Half a period from now: not every half period, since after a time in which this
 * process was stopped the next look must find what was done in half a period.
 */
static void set_timer(struct io_watch *watch)
{
	uint64_t ns = (uint64_t)watch->period_s * NS_PER_S / 2;
	struct itimerspec timer = {
		.it_value = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) },
	};

	timerfd_settime(watch->timer.fd, 0, &timer, NULL);
}

void io_watch_wake(struct io_watch *watch)
{
	if (watch->loop && !__atomic_exchange_n(&watch->ticks, true, __ATOMIC_SEQ_CST))
		set_timer(watch);
}

/* The state of a thread follows its name, which may have parentheses, too (proc(5)). */
static bool is_held_still(const char *stat)
{
	const char *name_end = strrchr(stat, ')');

	return name_end && strlen(name_end) > 2 && strchr("tT", name_end[2]);
}

/* Is any of our threads stopped, or traced and stopped?  Where there is no /proc: no. */
static bool held_still(void)
{
	DIR *tasks = opendir("/proc/self/task");
	const struct dirent *task;
	bool found = false;

	while (tasks && !found && (task = readdir(tasks))) {
		char path[64], stat[128] = "";
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%.20s/stat", task->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		found = fgets(stat, sizeof(stat), file) && is_held_still(stat);
		fclose(file);
	}
	if (tasks)
		closedir(tasks);
	return found;
}

static bool look(struct io_watch *watch)
{
	bool in_use = false;

	for (unsigned i = 0; i < watch->disk_count; i++)
		in_use |= blk_watch_look(watch->disk[i], watch->epoch);
	return in_use;
}

static void timer_ready(void *opaque, uint32_t events)
{
	struct io_watch *watch = opaque;
	uint64_t count;

	(void)events;
	if (read(watch->timer.fd, &count, sizeof(count)) != sizeof(count))
		return;
	set_epoch(watch, watch->epoch + 1);
	/* A queue that starts meanwhile is seen here, or sees this. */
	__atomic_store_n(&watch->ticks, false, __ATOMIC_SEQ_CST);
	if (look(watch))
		io_watch_wake(watch);
}

int io_watch_init(struct io_watch *watch, struct loop *loop, unsigned period_s,
		  const struct blk_threads *threads, struct blk *const *disk, unsigned count)
{
	int ret;

	*watch = (struct io_watch){
		.loop = loop,
		.timer = {
			.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK),
			.ready = timer_ready,
			.opaque = watch,
		},
		.period_s = period_s,
		.threads = threads,
		.disk = calloc(count, sizeof(*watch->disk)),
	};
	ret = watch->timer.fd < 0 ? -errno : loop_add(loop, &watch->timer, EPOLLIN);
	if (ret == 0 && !watch->disk)
		ret = -ENOMEM;
	for (; ret == 0 && watch->disk_count < count; watch->disk_count++) {
		unsigned i = watch->disk_count;

		watch->disk[i] = blk_watch_create(disk[i], period_s / 2.0, held_still);
		if (!watch->disk[i])
			ret = -ENOMEM;
	}
	set_epoch(watch, EPOCH_FIRST);
	if (ret == 0)
		return 0;
	log_error("cannot watch for I/O that hangs: %s", strerror(-ret));
	io_watch_destroy(watch);
	return ret;
}

void io_watch_destroy(struct io_watch *watch)
{
	for (unsigned i = 0; i < watch->disk_count; i++)
		blk_watch_free(watch->disk[i]);
	free(watch->disk);
	if (watch->timer.fd >= 0) {
		loop_remove(watch->loop, &watch->timer);
		close(watch->timer.fd);
	}
}
