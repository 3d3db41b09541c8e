// SPDX-License-Identifier: BSD-2-Clause
#include "devices/blk_stats.h"

#include <errno.h>
#include <sys/mman.h>

#include "devices/blk_private.h"
#include "hw/base/fence.h"
#include "hw/base/util.h"

/* To look at two counters at one time. */
#define TRIES 100

#define LATENCY_LEN (BLK_OPS * sizeof(struct histogram[BLK_STAGES]))

const char *const blk_op_name[BLK_OPS] = {
	[BLK_OP_OTHER] = "other",
	[BLK_OP_READ] = "read",
	[BLK_OP_WRITE] = "write",
	[BLK_OP_FLUSH] = "flush",
	[BLK_OP_DISCARD] = "discard",
	[BLK_OP_WRITE_ZEROES] = "write-zeroes",
	[BLK_OP_GET_ID] = "get-id",
};

const char *const blk_stage_name[BLK_STAGES] = {
	[BLK_STAGE_WAKE_TO_POP] = "wake to pop",
	[BLK_STAGE_POP_TO_SUBMIT] = "pop to submit",
	[BLK_STAGE_SUBMIT_TO_COMPLETE] = "submit to complete",
	[BLK_STAGE_COMPLETE_TO_PUBLISH] = "complete to publish",
	[BLK_STAGE_POP_TO_PUBLISH] = "pop to publish",
};

/* --- The queue's thread --- */

int blk_stats_init(struct blk_stats *stats)
{
	void *memory = mmap(NULL, LATENCY_LEN, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return -ENOMEM;
	stats->latency = memory;
	return 0;
}

void blk_stats_free(struct blk_stats *stats)
{
	if (stats->latency)
		munmap(stats->latency, LATENCY_LEN);
}

void blk_stats_time(struct blk_stats *stats, enum blk_op op, const struct blk_times *times,
		    uint64_t now)
{
	struct histogram *stage = stats->latency[op];

	histogram_add(&stage[BLK_STAGE_WAKE_TO_POP], times->popped - times->woken);
	histogram_add(&stage[BLK_STAGE_POP_TO_PUBLISH], now - times->popped);
	/* The disk had no part in it, or was never asked. */
	if (!times->submitted.ns)
		return;
	histogram_add(&stage[BLK_STAGE_POP_TO_SUBMIT], times->submitted.ns - times->popped);
	histogram_add(&stage[BLK_STAGE_SUBMIT_TO_COMPLETE],
		      times->completed - times->submitted.ns);
	histogram_add(&stage[BLK_STAGE_COMPLETE_TO_PUBLISH], now - times->completed);
}

/* --- Other threads --- */

unsigned blk_queue_count(const struct blk *blk)
{
	return blk->virtio.queue_count;
}

const char *blk_queue_thread(const struct blk *blk, unsigned queue)
{
	return io_thread_name(blk->queue[queue].thread);
}

void blk_count_op(const struct blk *blk, unsigned queue, enum blk_op op,
		  struct blk_op_counts *counts)
{
	const struct blk_stats *stats = &blk->queue[queue].stats;
	uint64_t popped;

	/* What is completed was popped before; and none was in between, unless there are many. */
	for (unsigned tries = TRIES; tries; tries--) {
		counts->requests = load_acquire(&stats->completed[op]);
		popped = load_acquire(&stats->popped[op]);
		if (load_relaxed(&stats->completed[op]) == counts->requests)
			break;
	}
	counts->in_flight = min(popped - counts->requests, (uint64_t)blk->virtio.queue_size_max);
	counts->errors = load_relaxed(&stats->errors[op]);
	counts->bytes = load_relaxed(&stats->bytes[op]);
}

void blk_count_queue(const struct blk *blk, unsigned queue, struct blk_queue_counts *counts)
{
	const struct blk_queue *from = &blk->queue[queue];

	*counts = (struct blk_queue_counts){
		.doorbells = load_relaxed(&from->io.doorbells),
		.publishes = load_relaxed(&from->stats.publishes),
		.interrupts = load_relaxed(&from->stats.interrupts),
	};
}

void blk_add_latency(const struct blk *blk, unsigned queue, enum blk_op op, enum blk_stage stage,
		     struct histogram *sum)
{
	histogram_merge(sum, &blk->queue[queue].stats.latency[op][stage]);
}
