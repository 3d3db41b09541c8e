/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a block device's queues did, since it was made.  All requests are counted; of
 * some, picked at random (io_thread.h), also the times are taken.  A queue's thread
 * writes, with plain stores; any other thread may read meanwhile, also while the
 * queue stops and starts.
 */
#pragma once

#include <stdint.h>

#include "hw/base/histogram.h"

struct blk;

/* What a request asks for. */
enum blk_op {
	BLK_OP_OTHER, /* unknown, or not to be read */
	BLK_OP_READ,
	BLK_OP_WRITE,
	BLK_OP_FLUSH,
	BLK_OP_DISCARD,
	BLK_OP_WRITE_ZEROES,
	BLK_OP_GET_ID,
	BLK_OPS
};
extern const char *const blk_op_name[BLK_OPS];

/*
 * Its stages.  The thread wakes, or looks again; pops the request; submits it, which
 * is to call the kernel with it; completes it once the disk is done with all of it;
 * and publishes it, so that the driver sees it.  What the disk has no part in has but
 * the first and the last.
 */
enum blk_stage {
	BLK_STAGE_WAKE_TO_POP,
	BLK_STAGE_POP_TO_SUBMIT,
	BLK_STAGE_SUBMIT_TO_COMPLETE,
	BLK_STAGE_COMPLETE_TO_PUBLISH,
	BLK_STAGE_POP_TO_PUBLISH,
	BLK_STAGES
};
extern const char *const blk_stage_name[BLK_STAGES];

struct blk_op_counts {
	uint64_t requests;  /* completed */
	uint64_t in_flight; /* popped, and not completed */
	uint64_t errors;    /* of the completed ones; not those that a reset cut short */
	uint64_t bytes;     /* that the others read, wrote, discarded or zeroed */
};

struct blk_queue_counts {
	uint64_t doorbells;  /* as the thread saw them: it may see several as one */
	uint64_t publishes;  /* of one or more requests each */
	uint64_t interrupts; /* wanted by the driver; after the others it wanted none */
};

unsigned blk_queue_count(const struct blk *blk);
/* Of its thread. */
const char *blk_queue_thread(const struct blk *blk, unsigned queue);

void blk_count_op(const struct blk *blk, unsigned queue, enum blk_op op,
		  struct blk_op_counts *counts);
void blk_count_queue(const struct blk *blk, unsigned queue, struct blk_queue_counts *counts);

/* Add the queue's times, in nanoseconds, to @sum. */
void blk_add_latency(const struct blk *blk, unsigned queue, enum blk_op op, enum blk_stage stage,
		     struct histogram *sum);
