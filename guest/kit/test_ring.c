// SPDX-License-Identifier: BSD-2-Clause
/* Rings in general, and the split ring: batches, wrap-around, notification suppression, sizes. */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	WRAP_REQUESTS = 70000, /* past 65,535 */
	KICK_MODEL_REQUESTS = 500,
	BATCH = 8,
	JUNK_EVENT = 0x4321,
};

static void publish_reads(struct blk *disk, struct blk_request *requests, unsigned count)
{
	blk_publish_reads(disk, requests, count);
	virtq_kick(&disk->queue);
}

/* As many requests as the ring holds; each comes back once. */
static void full_ring(struct blk *disk)
{
	unsigned count = blk_queue_size(disk) / 3u;
	struct blk_request *requests;

	for (unsigned round = 0; round < 3; round++) {
		requests = heap_alloc(count * sizeof(*requests), 8);
		if (round == 0)
			blk_start(disk, 0);
		publish_reads(disk, requests, count);
		blk_collect_reads(disk, requests, count);
	}
}

/* All fields are little-endian, without gaps: flags and index, then id and length of each. */
static void used_bytes(struct blk *disk)
{
	static const uint8_t expected[] = {
		0, 0, 2, 0,              /* two are used */
		0, 0, 0, 0, 1, 2,  0, 0, /* descriptor 0, 513 bytes */
		3, 0, 0, 0, 1, 16, 0, 0, /* descriptor 3, 4097 bytes */
	};

	blk_start(disk, FEATURE(F_EVENT_IDX));
	blk_read(disk, 0, 1);
	blk_read(disk, 0, 8);
	CHECK_EQUAL(memcmp(disk->queue.used, expected, sizeof(expected)), 0);
}

/* The device writes the used ring and nothing else of the queue. */
static void tables_untouched(struct blk *disk)
{
	struct blk_request requests[BATCH];
	struct virtq *queue = &disk->queue;
	void *desc, *avail;

	blk_start(disk, 0);
	desc = heap_alloc(virtq_desc_bytes(queue->size), 16);
	avail = heap_alloc(virtq_avail_bytes(queue->size), 16);
	for (unsigned round = 0; round < 4; round++) {
		blk_publish_reads(disk, requests, BATCH);
		memcpy(desc, queue->desc, virtq_desc_bytes(queue->size));
		memcpy(avail, queue->avail, virtq_avail_bytes(queue->size));
		virtq_kick(queue);
		blk_collect_reads(disk, requests, BATCH);
		CHECK_EQUAL(memcmp(desc, queue->desc, virtq_desc_bytes(queue->size)), 0);
		CHECK_EQUAL(memcmp(avail, queue->avail, virtq_avail_bytes(queue->size)), 0);
	}
}

static void interrupt_each(struct blk *disk)
{
	blk_start(disk, 0);
	virtq_set_used_event(&disk->queue, JUNK_EVENT);
	for (unsigned i = 0; i < BATCH; i++) {
		blk_check(disk, blk_read(disk, i, 1), i, 1, false);
		blk_check_interrupts(disk, ENTRY_QUEUE, i + 1);
	}
	CHECK(virtq_used_flags(&disk->queue) <= USED_NO_NOTIFY);
}

static void no_interrupt(struct blk *disk)
{
	struct blk_request requests[BATCH];

	blk_start(disk, 0);
	virtq_want_interrupts(&disk->queue, false);
	publish_reads(disk, requests, BATCH);
	blk_collect_reads(disk, requests, BATCH);
	blk_check_quiet(disk, 0);
	virtq_want_interrupts(&disk->queue, true);
	blk_check(disk, blk_read(disk, 0, 1), 0, 1, false);
	blk_check_quiet(disk, 1);
}

/* used_event starts as 0: the first completion interrupts, the second does not. */
static void event_first(struct blk *disk)
{
	struct blk_request request;

	blk_start(disk, FEATURE(F_EVENT_IDX));
	CHECK(disk->device.features & FEATURE(F_EVENT_IDX));
	blk_check(disk, blk_read(disk, 0, 1), 0, 1, false);
	blk_check_quiet(disk, 1);
	publish_reads(disk, &request, 1);
	blk_collect_reads(disk, &request, 1);
	blk_check_quiet(disk, 1);
	CHECK_EQUAL(virtq_used_flags(&disk->queue), 0);
}

static void event_ignores_flags(struct blk *disk)
{
	blk_start(disk, FEATURE(F_EVENT_IDX));
	virtq_set_avail_flags(&disk->queue, AVAIL_NO_INTERRUPT);
	for (unsigned i = 0; i < BATCH; i++) {
		virtq_set_used_event(&disk->queue, virtq_used_idx(&disk->queue));
		blk_check(disk, blk_read(disk, i, 1), i, 1, false);
		blk_check_interrupts(disk, ENTRY_QUEUE, i + 1);
	}
	CHECK_EQUAL(virtq_used_flags(&disk->queue), 0);
}

/* One request at a time: only the completion that used_event names interrupts. */
static void event_exact(struct blk *disk)
{
	struct blk_request request;

	blk_start(disk, FEATURE(F_EVENT_IDX));
	virtq_set_used_event(&disk->queue, 4);
	for (unsigned i = 0; i < BATCH; i++) {
		publish_reads(disk, &request, 1);
		blk_collect_reads(disk, &request, 1);
		if (i == 3)
			blk_check_quiet(disk, 0);
		if (i == 4)
			blk_check_interrupts(disk, ENTRY_QUEUE, 1);
	}
	blk_check_quiet(disk, 1);
}

/*
 * A batch around used_event: one interrupt, wherever in the batch the event lies; none if
 * before or behind.
 */
static void event_in_batch(struct blk *disk)
{
	struct blk_request requests[BATCH];

	for (int at = -1; at <= BATCH; at++) {
		test_context("event %d", at);
		blk_start(disk, FEATURE(F_EVENT_IDX));
		virtq_set_used_event(&disk->queue, (uint16_t)at);
		publish_reads(disk, requests, BATCH);
		blk_collect_reads(disk, requests, BATCH);
		blk_check_quiet(disk, at >= 0 && at < BATCH);
	}
}

static bool kick_wanted(uint16_t event, uint16_t new_idx, uint16_t old_idx)
{
	return (uint16_t)(new_idx - event - 1) < (uint16_t)(new_idx - old_idx);
}

/*
 * A driver that kicks only when avail_event asks for it: if the device lets it lag,
 * requests stall.
 */
static void kick_when_asked(struct blk *disk)
{
	struct virtq *queue = &disk->queue;
	struct blk_request request;
	unsigned kicks = 0;

	blk_start(disk, FEATURE(F_EVENT_IDX));
	blk_request_init(&request, BLK_IN, 1, SECTOR_SIZE);
	for (unsigned i = 0; i < KICK_MODEL_REQUESTS; i++) {
		uint16_t old_idx = virtq_avail_idx(queue);

		test_context("request %u", i);
		virtq_set_used_event(queue, queue->last_used);
		blk_queue(disk, &request);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (kick_wanted(virtq_avail_event(queue), old_idx + 1, old_idx)) {
			virtq_kick(queue);
			kicks++;
		}
		CHECK(WAIT_UNTIL(PATIENCE_MS, virtq_has_used(queue)));
		blk_take(disk, &request);
		CHECK_EQUAL(blk_status(&request), BLK_OK);
	}
	CHECK(kicks > 0);
}

/*
 * The ring runs past index 65,535. All descriptors and ring entries are written once, and
 * a batch is one move of the index: half the ring's slots hold one lap's heads, the other
 * half the same heads again.
 */
static unsigned fill_for_laps(struct blk *disk, struct blk_request *requests)
{
	struct virtq *queue = &disk->queue;
	unsigned heads = queue->size / 2u;

	for (unsigned i = 0; i < heads; i++) {
		struct virtq_buffer pieces[2];

		blk_request_init(&requests[i], BLK_GET_ID, 0, BLK_ID_SIZE);
		pieces[0] = (struct virtq_buffer){ requests[i].readable, BLK_HEADER_SIZE, false };
		pieces[1] = (struct virtq_buffer){ requests[i].writable, BLK_ID_SIZE + 1, true };
		requests[i].head = virtq_add(queue, pieces, 2);
	}
	for (unsigned i = 0; i < queue->size; i++)
		virtq_publish(queue, requests[i % heads].head);
	virtq_set_avail_idx(queue, 0);
	return heads;
}

/* Each head exactly once in this lap; heads are the even descriptors, in order. */
static void check_lap(struct virtq *queue, unsigned heads, uint16_t lap, uint16_t *seen)
{
	CHECK_EQUAL((uint16_t)(virtq_used_idx(queue) - queue->last_used), heads);
	for (unsigned i = 0; i < heads; i++) {
		struct virtq_used_element element = virtq_used_at(queue, queue->last_used++);

		if (element.length != BLK_ID_SIZE + 1 || element.id / 2 >= heads ||
		    element.id % 2 || seen[element.id / 2] == lap)
			test_fail(__FILE__, __LINE__, "a used element is wrong");
		seen[element.id / 2] = lap;
	}
}

static void wrap(struct blk *disk)
{
	struct virtq *queue = &disk->queue;
	struct blk_request *requests;
	unsigned heads, laps;
	uint16_t *seen;

	blk_start(disk, FEATURE(F_EVENT_IDX));
	requests = heap_alloc(queue->size / 2u * sizeof(*requests), 8);
	seen = heap_alloc(queue->size / 2u * sizeof(*seen), 8);
	heads = fill_for_laps(disk, requests);
	laps = WRAP_REQUESTS / heads + 1;
	for (unsigned lap = 1; lap <= laps; lap++) {
		uint16_t end = (uint16_t)(lap * heads);

		test_context("lap %u of %u, each %u requests", lap, laps, heads);
		virtq_set_used_event(queue, end - 1);
		virtq_set_avail_idx(queue, end);
		virtq_kick(queue);
		blk_check_interrupts(disk, ENTRY_QUEUE, lap);
		check_lap(queue, heads, (uint16_t)lap, seen);
	}
	blk_check_quiet(disk, laps);
}

/* One request on a queue too small for the usual three descriptors. */
static void read_small(struct blk *disk)
{
	struct virtq *queue = &disk->queue;
	struct blk_request request;
	struct virtq_buffer pieces[2];

	blk_request_init(&request, BLK_IN, 1, SECTOR_SIZE);
	pieces[0] = (struct virtq_buffer){ request.readable, BLK_HEADER_SIZE, false };
	pieces[1] = (struct virtq_buffer){ request.writable, SECTOR_SIZE + 1, true };
	request.head = queue->size == 1 ? virtq_add_indirect(queue, pieces, 2)
					: virtq_add(queue, pieces, 2);
	virtq_set_used_event(queue, queue->last_used);
	virtq_publish(queue, request.head);
	blk_finish(disk, &request);
	CHECK_EQUAL(blk_status(&request), BLK_OK);
	blk_check(disk, blk_data(&request), 1, 1, false);
}

/* The event words lie behind rings of the size that was set, not of the largest. */
static void sizes(struct blk *disk)
{
	uint16_t maximum;

	virtio_write16(&disk->device, QUEUE_SELECT, 0);
	maximum = virtio_read16(&disk->device, QUEUE_SIZE);
	for (unsigned size = 1; size <= maximum; size *= 2) {
		test_context("size %u", size);
		blk_start_size(disk, FEATURE(F_EVENT_IDX) | FEATURE(F_INDIRECT_DESC),
			       (uint16_t)size);
		for (unsigned i = 0; i < BATCH; i++) {
			read_small(disk);
			blk_check_interrupts(disk, ENTRY_QUEUE, i + 1);
		}
		heap_reset();
	}
}

const struct test ring_tests[] = {
	{ "ring/full", full_ring, "SPLIT-19 SPLIT-21 PACKED-06 PACKED-17 GEN-40",
	  NEEDS_NOTHING },
	{ "ring/used-bytes", used_bytes, "SPLIT-03 SPLIT-21", NEEDS_SPLIT },
	{ "ring/tables-untouched", tables_untouched, "SPLIT-07 SPLIT-09", NEEDS_SPLIT },
	{ "ring/interrupt-each", interrupt_each, "SPLIT-26 SPLIT-27 SPLIT-34", NEEDS_SPLIT },
	{ "ring/no-interrupt", no_interrupt, "SPLIT-28 PACKED-25", NEEDS_NOTHING },
	{ "ring/event-first", event_first, "SPLIT-31 SPLIT-32 SPLIT-35", NEEDS_SPLIT },
	{ "ring/event-ignores-flags", event_ignores_flags, "SPLIT-29 SPLIT-30 SPLIT-35",
	  NEEDS_SPLIT },
	{ "ring/event-exact", event_exact, "SPLIT-30 SPLIT-31", NEEDS_SPLIT },
	{ "ring/event-in-batch", event_in_batch, "SPLIT-30 SPLIT-31", NEEDS_SPLIT },
	{ "ring/kick-when-asked", kick_when_asked, "SPLIT-36 SPLIT-37", NEEDS_SPLIT },
	{ "ring/wrap", wrap, "SPLIT-19 SPLIT-25 SPLIT-30", NEEDS_SPLIT },
	{ "ring/sizes", sizes, "SPLIT-01 SPLIT-02 SPLIT-39", NEEDS_SPLIT },
	{ NULL, NULL, NULL, 0 },
};
