/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looks whether the disks' I/O hangs (devices/blk_watch.h), twice in each period of
 * --io-warn, on the main loop's thread.  While no queue is in use there is no timer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "devices/blk.h"
#include "vmm/loop.h"

struct blk_watch;

struct io_watch {
	struct loop *loop;
	struct loop_watch timer;
	unsigned period_s;
	bool ticks; /* atomic: the timer is set */
	uint32_t epoch;
	const struct blk_threads *threads;
	unsigned disk_count;
	struct blk_watch **disk;
};

/*
 * Watch @disk, @count of them, served by @threads.  The disks' queues are not in use
 * yet.  Returns 0, or -errno having said why.
 */
int io_watch_init(struct io_watch *watch, struct loop *loop, unsigned period_s,
		  const struct blk_threads *threads, struct blk *const *disk, unsigned count);

/*
 * A queue of some disk runs, as its state says already.  Any thread.  Of a watch that
 * is all zeros, too: then nobody looks.
 */
void io_watch_wake(struct io_watch *watch);

/* No vCPU runs any more; the disks are still there. */
void io_watch_destroy(struct io_watch *watch);
