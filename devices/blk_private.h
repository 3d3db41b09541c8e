/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the block device.  Private to blk.c, its vCPU side, and blk_queue.c,
 * which serves its queues, each on its I/O thread.
 */
#pragma once

#include "devices/blk.h"
#include "devices/blk_parse.h"
#include "devices/blk_stats.h"
#include "hw/base/counter.h"
#include "hw/base/log.h"

struct blk_request;

/* As large as the guest may make them, so that most are never touched: a page each. */
union blk_parts {
	struct iovec iov[VIRTQUEUE_CHAIN_MAX];
	struct virtio_blk_discard_write_zeroes segment[BLK_SEGMENTS_MAX];
};
_Static_assert(sizeof(union blk_parts) == 4096, "a page, which it is aligned to");

/* To be copied by words. */
union blk_rest {
	struct virtqueue_rest rest;
	uint64_t word[4];
};
_Static_assert(sizeof(struct virtqueue_rest) <= 4 * sizeof(uint64_t), "all of it");

/* When a timed request came to its stages, CLOCK_MONOTONIC in nanoseconds; 0: it did not. */
struct blk_times {
	uint64_t woken, popped, completed;
	struct io_stamp submitted;
};

/* Of a queue: atomic, and its thread's to write. */
struct blk_stats {
	uint64_t popped[BLK_OPS], completed[BLK_OPS], errors[BLK_OPS], bytes[BLK_OPS];
	uint64_t publishes, interrupts;
	struct histogram (*latency)[BLK_STAGES]; /* BLK_OPS of them; the pointer is constant */
};

/* A queue; all but the orders belongs to its thread from start to stop. */
struct blk_queue {
	struct io_queue io;
	struct io_order start, stop;
	struct io_thread *thread;
	struct virtqueue *ring;
	struct blk *blk;
	unsigned index;
	bool running, stopping;
	uint64_t features;  /* those accepted */
	uint64_t popped;    /* chains, since the VM began */
	bool starved;       /* chains may be left in the ring for want of a request */
	unsigned in_flight;

	/* As many requests as the queue is long. */
	struct blk_request *requests;
	struct blk_request *free;
	unsigned fresh; /* how many were used since it started: the others cost no memory */
	void (*done)(struct disk_request *disk, int result); /* of each */
	union blk_parts *parts; /* the first for the chain in hand, then one a request */
	struct blk_request *held; /* a transfer that the next one may join; inside serve() */
	struct blk_request *timed; /* completed, and free once they are published */
	struct blk_stats stats;

	/* For who looks whether I/O hangs: atomic, blk_queue_look(). */
	unsigned made;            /* of requests, since the VM began: these may be looked at */
	uint32_t asleep;          /* the epoch since which nothing happens; 0: it is awake */
	union blk_rest rest;      /* what stands in the ring meanwhile */
	pthread_mutex_t look_lock; /* held to look at guest memory, and once at a stop */
} on_cache_lines;

/*
 * What the threads of its queues share.  On the way of a request they only read:
 * what is atomic changes when the driver, the user or the host wants another mode.
 */
struct blk {
	struct virtio_device virtio;
	struct disk *disk;
	char serial[BLK_SERIAL_LEN + 1];
	uint64_t poll_max_ns;
	bool discard;
	enum blk_cache cache;
	bool writeback;  /* atomic: writes may wait for a flush; device lock to write */
	bool unmap_lost; /* atomic: the driver was told that nothing is deallocated */
	struct blk_observer observer; /* all NULL: nobody; constant */
	struct log_limit errors; /* the host's: those a guest makes do not count here */
	struct blk_queue *queue; /* virtio.queue_count of them */
};

/* --- blk_queue.c --- */

/* Queue @index of @blk, whose virtio.queue is made, for @thread.  0 or -ENOMEM. */
int blk_queue_init(struct blk *blk, unsigned index, struct io_thread *thread);

/* What stands in a queue, as far as one look from another thread tells. */
struct blk_look {
	unsigned count; /* requests that are as old as was asked for; the worst of them: */
	uint32_t since;
	uint16_t head;
	enum disk_op op;
	uint64_t offset, len; /* of what it has to do yet, in bytes */
	bool waits;           /* for another one's turn */
	bool in_call;         /* the one that place.call is for */
	struct io_place place; /* of its thread */
	uint32_t asleep;       /* the epoch since which it sleeps; 0: it is awake */
	/* If it sleeps; all of one sleep if that began in an epoch that is over. */
	struct virtqueue_rest rest;
	uint16_t seen; /* the word of the ring that tells of work */
	bool has_work, owed, certainly_owed;
};

/*
 * Look for requests of which nothing was done since epoch @until, and at the ring.  Any
 * thread; a stop of the queue may have to wait till it has looked there.
 */
void blk_queue_look(struct blk_queue *queue, uint32_t until, struct blk_look *look);

/* Let it tell the observer of its first read; it was not started yet. */
void blk_queue_tell_read(struct blk_queue *queue);

/* It is stopped, or was not made. */
void blk_queue_free(struct blk_queue *queue);

/* --- blk_stats.c --- */

/* 0 or -ENOMEM.  Memory that no time is kept in stays untouched. */
int blk_stats_init(struct blk_stats *stats);
void blk_stats_free(struct blk_stats *stats);

/* Keep the times of a request that is published @now. */
void blk_stats_time(struct blk_stats *stats, enum blk_op op, const struct blk_times *times,
		    uint64_t now);
