/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the block device.  Private to blk.c, its vCPU side, and blk_queue.c,
 * which serves its queues on the I/O thread.
 */
#pragma once

#include "devices/blk.h"
#include "hw/base/log.h"

struct blk_request;

/* A queue; all but the orders belongs to the I/O thread from start to stop. */
struct blk_queue {
	struct io_queue io;
	struct io_order start, stop;
	struct blk *blk;
	unsigned index;
	bool running, stopping;
	uint64_t features;  /* those accepted */
	bool starved;       /* chains may be left in the ring for want of a request */
	unsigned in_flight;

	/* As many requests as the queue is long. */
	struct blk_request *requests;
	struct blk_request *free;
	unsigned fresh; /* how many were ever used: the others cost no memory */
};

struct blk {
	struct virtio_device virtio;
	struct disk *disk;
	struct io_thread *thread;
	char serial[BLK_SERIAL_LEN + 1];
	uint64_t poll_max_ns;
	bool discard;
	enum blk_cache cache;
	bool writeback;  /* atomic: writes may wait for a flush; device lock to write */
	bool unmap_lost; /* atomic: the driver was told that nothing is deallocated */
	struct log_limit errors; /* the host's: those a guest makes do not count here */
	struct blk_queue *queue; /* virtio.queue_count of them */
};

/* --- blk_queue.c --- */

/* Queue @index of @blk, whose virtio.queue is made.  0 or -ENOMEM. */
int blk_queue_init(struct blk *blk, unsigned index);
/* It is stopped, or was not made. */
void blk_queue_free(struct blk_queue *queue);
