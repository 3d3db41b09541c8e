/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the disk.  disk_open.c opens the image; disk_align.c asks what the host
 * can do with it; disk.c runs requests, step by step; with direct I/O,
 * disk_direct.c makes their steps fit what the host demands.  disk_turn.c has them
 * wait for each other: to make stable, and with direct I/O for ranges and memory.
 */
#pragma once

#include "devices/disk.h"
#include "hw/base/log.h"

/* Linux 6.14; the page cache keeps nothing of what is read or written so. */
#ifndef RWF_DONTCACHE
#define RWF_DONTCACHE 0x00000080
#endif

/* What is asked for where the host refuses what its own answer allows. */
#define DISK_ALIGN_STRICT 4096
/* The largest unit that can be served, in offsets and in memory. */
#define DISK_ALIGN_MAX DISK_BOUNCE_LEN
#define DISK_ALIGN_MEMORY_MAX 4096

/* Memory that requests go through which do not fit: 2 MiB at most, if used. */
#define DISK_BOUNCE_LEN (64u << 10)
#define DISK_BOUNCES 32

/* So many changes run at once; more wait. */
#define DISK_RANGES_MAX 256

/* Of a disk with direct I/O, shared by all of its threads. */
struct disk_direct {
	/* Powers of two; atomic: they become strict if the host's answer was wrong. */
	uint32_t offset_align; /* of offsets, and of the length of each part */
	uint32_t memory_align; /* of the address of each part */
	/*
	 * The image once more, by the page cache: for the part of a block at its
	 * end, which cannot be written without making the image longer.  So only
	 * this one is synced: the kernel tells each open file of what was lost.
	 */
	int tail_fd;
	uint8_t *pool; /* DISK_BOUNCES of DISK_BOUNCE_LEN bytes */
	unsigned without_range; /* atomic: changes that run so; until then nobody has one */

	struct log_limit messages;

	pthread_mutex_t lock; /* for all that follows */
	uint32_t free;        /* of the pool, a bit each */
	struct disk_waiter for_memory, for_range;
	unsigned range_count;
	struct disk_range range[DISK_RANGES_MAX];
};

/* --- disk_align.c: what the host can do.  0, or -errno having printed why. --- */

/* Turn direct I/O on, and find what it demands. */
int disk_align_find(struct disk *disk);
/* Is RWF_DONTCACHE known to the host? */
int disk_try_dontcache(const struct disk *disk);

/* --- disk_direct.c --- */

/* Make disk->direct, and have disk_align_find() turn it on.  0, or -errno having printed why. */
int disk_direct_open(struct disk *disk);
void disk_direct_close(struct disk *disk);

/*
 * Prepare the next step: fd and bounce of the request say how it is done.
 * False: it waits for its turn, and its step completes with -EAGAIN then.
 */
bool disk_direct_begin(struct disk_request *request);

/*
 * A transfer's system call is done.  Returns how many bytes of the request that
 * moved, -EAGAIN if the step goes on, or the error.
 */
int disk_direct_done(struct disk_request *request, int result);

/* The request is done: give back what it has. */
void disk_direct_end(struct disk_request *request);

/* --- disk_turn.c: any thread. --- */

void disk_turn_init(struct disk_direct *direct);
void disk_turn_destroy(struct disk_direct *direct);
void disk_sync_init(struct disk_sync *sync);
void disk_sync_destroy(struct disk_sync *sync);

/*
 * Take bytes @start to @end of the image, or memory, which are given to the
 * request if they are not its own already.  False: it waits, in order, and is
 * woken having them.  Who has memory takes no range, so nobody waits in a circle.
 */
bool disk_turn_take_range(struct disk_request *request, uint64_t start, uint64_t end);
bool disk_turn_take_memory(struct disk_request *request);

/* A change need have no range, as long as no block is more than a sector: is it so? */
bool disk_turn_need_none(struct disk_request *request);

/* Give back what the request has, if anything, on its own thread. */
void disk_turn_give_range(struct disk_request *request);
void disk_turn_give_memory(struct disk_request *request);

/*
 * The kernel tells of lost data once, to whoever asks first: of two that ask at
 * a time, one would hear nothing of what both have lost.  So one makes stable at
 * a time: flushes, and stable writes that go through the page cache.  One that
 * finds the turn free writes with RWF_DSYNC; others just write, and a single
 * fdatasync() then covers all that had been written when its turn came.
 */

/* A stable write begins.  Takes the turn if it is free. */
void disk_sync_try(struct disk_request *request);
/* An fdatasync() is to begin.  False: it waits, and is woken having the turn, or synced. */
bool disk_sync_take(struct disk_request *request);
/* The turn ends, if the request has it.  Not @done: those that it covers go on waiting. */
void disk_sync_give(struct disk_request *request, bool done);
