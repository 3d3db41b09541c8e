// SPDX-License-Identifier: BSD-2-Clause
/* The packed ring: wrap counters, skipping, ids, tables, notification suppression both ways. */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	SMALL_RING = 5, /* lists of 2 and 3 wrap around its end in every way */
	LISTS = 40,
	BATCH = 8,
	EVENT_RING = 12, /* a batch that starts in slot 8 passes its end */
	EVENT_START = 8,
	KICK_MODEL_REQUESTS = 200,
	SLOW_SECTORS = 128,
	JUNK_EVENT = 0x4321,
	CANARY = 0xa5, /* as flags: neither available nor news of being used */
};

/* A GET_ID as a list of `slots`, published; of one slot by an indirect table. */
static void queue_list(struct blk *disk, struct blk_request *request, unsigned slots)
{
	struct virtq *queue = &disk->queue;
	struct virtq_buffer pieces[3];

	blk_request_init(request, BLK_GET_ID, 0, BLK_ID_SIZE);
	pieces[0] = (struct virtq_buffer){ request->readable, BLK_HEADER_SIZE, false };
	pieces[1] = (struct virtq_buffer){ request->writable, BLK_ID_SIZE + (slots < 3), true };
	pieces[2] = (struct virtq_buffer){ request->writable + BLK_ID_SIZE, 1, true };
	request->head =
		slots == 1 ? virtq_add_indirect(queue, pieces, 2) : virtq_add(queue, pieces, slots);
	virtq_publish(queue, request->head);
}

static void run_list(struct blk *disk, struct blk_request *request, unsigned slots)
{
	queue_list(disk, request, slots);
	blk_finish(disk, request);
	CHECK_EQUAL(blk_status(request), BLK_OK);
	CHECK_EQUAL(request->used_length, BLK_ID_SIZE + 1);
}

/* Where each used descriptor must be, and what is in it, over many laps; twice from reset. */
static void wrap_counters(struct blk *disk)
{
	static const uint8_t slots[] = { 2, 3, 2, 2, 1, 3, 3, 1, 1 };
	const struct virtq *queue = &disk->queue;
	struct packed_place place;

	for (unsigned i = 0; i < 2 * LISTS; i++) {
		unsigned count = slots[i % sizeof(slots)];
		struct blk_request request;
		struct packed_desc used;

		test_context("list %u of %u slots", i, count);
		if (i % LISTS == 0) {
			blk_start_size(disk, FEATURE(F_INDIRECT_DESC), SMALL_RING);
			place = (struct packed_place){ .slot = 0, .wrap = true };
		}
		run_list(disk, &request, count);
		used = queue->ring[place.slot];
		CHECK_EQUAL(used.id, request.head);
		CHECK_EQUAL(used.length, BLK_ID_SIZE + 1);
		CHECK_EQUAL(used.flags & (DESC_AVAIL | DESC_USED),
			    place.wrap ? DESC_AVAIL | DESC_USED : 0);
		place = packed_after(queue, place, count);
	}
}

/* WRITE says that the length counts: here one byte, in the second piece. NEXT is reserved. */
static void used_flags(struct blk *disk)
{
	struct blk_request request;

	blk_start(disk, FEATURE(F_BLK_FLUSH));
	CHECK_EQUAL(blk_run(disk, &request, BLK_FLUSH, 0, 0), BLK_OK);
	CHECK_EQUAL(disk->queue.ring[0].length, 1);
	CHECK_EQUAL(disk->queue.ring[0].flags & (DESC_WRITE | DESC_NEXT), DESC_WRITE);
}

/*
 * Kicked where nothing is available: on a slot of zeros, on one inside a list of the lap
 * before, on one that was used in the lap before.
 */
static void not_available(struct blk *disk)
{
	static const uint8_t slots[] = { 2, 3, 1, 1 };
	struct blk_request request;

	blk_start_size(disk, FEATURE(F_INDIRECT_DESC), SMALL_RING);
	virtq_kick(&disk->queue);
	blk_check_quiet(disk, 0);
	for (unsigned i = 0; i < sizeof(slots); i++) {
		test_context("after list %u", i);
		run_list(disk, &request, slots[i]);
		blk_check_interrupts(disk, ENTRY_QUEUE, i + 1);
		virtq_kick(&disk->queue);
		blk_check_quiet(disk, i + 1);
	}
}

/* Of a list the device writes the first slot; and of the driver's event, nothing. */
static void first_slots_only(struct blk *disk)
{
	struct blk_request requests[BATCH];
	struct virtq *queue = &disk->queue;
	const uint16_t event[] = { JUNK_EVENT, EVENT_ALWAYS };
	struct packed_desc *before;

	blk_start(disk, 0);
	before = heap_alloc(queue->desc_bytes, 16);
	packed_set_event(queue, (struct packed_event){ event[0], event[1] });
	blk_publish_reads(disk, requests, BATCH);
	memcpy(before, queue->ring, queue->desc_bytes);
	virtq_kick(queue);
	blk_collect_reads(disk, requests, BATCH);
	for (unsigned i = 0; i < 3 * BATCH; i++) {
		test_context("slot %u", i);
		if (i % 3)
			CHECK_EQUAL(memcmp(&before[i], &queue->ring[i], sizeof(*before)), 0);
	}
	CHECK_EQUAL(memcmp(queue->avail, event, sizeof(event)), 0);
}

/* What was used is the driver's: the device does not come back to it. */
static void used_is_final(struct blk *disk)
{
	struct blk_request requests[BATCH];
	struct virtq *queue = &disk->queue;

	blk_start(disk, 0);
	virtq_want_interrupts(queue, false);
	blk_publish_reads(disk, requests, BATCH);
	virtq_kick(queue);
	blk_collect_reads(disk, requests, BATCH);
	memset(queue->ring, CANARY, queue->desc_bytes);
	queue->use.wrap = false; /* for blk_check_quiet(): the canary says used in the first lap */
	virtq_kick(queue);
	blk_check_quiet(disk, 0);
	for (uint32_t i = 0; i < queue->desc_bytes / 8; i++)
		CHECK_EQUAL(((uint64_t *)queue->ring)[i], CANARY * 0x0101010101010101u);
}

/* A FLUSH of two slots with these ids comes back with the second. */
static void run_ids(struct blk *disk, uint16_t first_id, uint16_t last_id)
{
	struct virtq *queue = &disk->queue;
	struct packed_place first = queue->add;
	struct virtq_buffer pieces[2];
	struct blk_request request;

	test_context("ids 0x%x and 0x%x", first_id, last_id);
	blk_request_init(&request, BLK_FLUSH, 0, 0);
	pieces[0] = (struct virtq_buffer){ request.readable, BLK_HEADER_SIZE, false };
	pieces[1] = (struct virtq_buffer){ request.writable, 1, true };
	request.head = virtq_add(queue, pieces, 2);
	queue->ring[first.slot].id = first_id;
	queue->ring[packed_after(queue, first, 1).slot].id = last_id;
	virtq_publish(queue, request.head);
	virtq_kick(queue);
	CHECK(WAIT_UNTIL(PATIENCE_MS, virtq_has_used(queue)));
	CHECK_EQUAL(queue->ring[first.slot].id, last_id);
	queue->ring[first.slot].id = request.head; /* what virtq_take_used() knows */
	blk_take(disk, &request);
	CHECK_EQUAL(blk_status(&request), BLK_OK);
}

/* The id is the driver's own business: any 16 bits come back. */
static void any_id(struct blk *disk)
{
	const uint16_t size = blk_queue_size(disk);
	const uint16_t ids[] = { 0, size - 1, size, 0x7fff, 0x8000, 0xffff };

	blk_start(disk, FEATURE(F_BLK_FLUSH));
	for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		run_ids(disk, ids[i], ids[i]);
}

static void id_of_last(struct blk *disk)
{
	blk_start(disk, FEATURE(F_BLK_FLUSH));
	run_ids(disk, 0, 1);
	run_ids(disk, 0xffff, 0);
}

/* Of a table's entries only address, length and WRITE count, and they stand in order. */
static void table_entries(struct blk *disk)
{
	struct virtq *queue = &disk->queue;
	struct blk_request request;
	struct packed_desc *table;

	blk_start(disk, FEATURE(F_INDIRECT_DESC));
	for (uint64_t sector = 0; sector < 4; sector++) {
		uint16_t slot = queue->add.slot;

		blk_request_init(&request, BLK_IN, sector, SECTOR_SIZE);
		request.head = virtq_add_indirect(
			queue,
			(struct virtq_buffer[]){ { request.readable, BLK_HEADER_SIZE, false },
						 { request.writable, 100, true },
						 { request.writable + 100, 412, true },
						 { request.writable + 512, 1, true } },
			4);
		table = (struct packed_desc *)(uintptr_t)queue->ring[slot].address;
		for (unsigned i = 0; i < 4; i++) {
			table[i].id = (uint16_t)(0xfff0 + i);
			table[i].flags |= DESC_NEXT | DESC_INDIRECT | DESC_AVAIL | DESC_USED;
		}
		virtq_publish(queue, request.head);
		blk_finish(disk, &request);
		CHECK_EQUAL(blk_status(&request), BLK_OK);
		CHECK_EQUAL(request.used_length, SECTOR_SIZE + 1);
		blk_check(disk, blk_data(&request), sector, 1, false);
	}
}

/*
 * A slow list and a fast one on a ring that holds little more: whichever ends first is
 * used first, and as many slots as it has are skipped, also around the end.
 */
static void any_order(struct blk *disk)
{
	struct virtq *queue = &disk->queue;
	struct blk_request slow, fast;

	blk_start_size(disk, 0, 7);
	for (unsigned i = 0; i < LISTS; i++) {
		uint16_t first;

		test_context("round %u", i);
		blk_request_init(&slow, BLK_IN, i, SLOW_SECTORS * SECTOR_SIZE);
		blk_queue(disk, &slow);
		queue_list(disk, &fast, 2);
		virtq_kick(queue);
		CHECK(POLL_UNTIL(PATIENCE_MS, virtq_has_used(queue)));
		first = queue->ring[queue->use.slot].id;
		CHECK(first == slow.head || first == fast.head);
		blk_take(disk, first == slow.head ? &slow : &fast);
		CHECK(POLL_UNTIL(PATIENCE_MS, virtq_has_used(queue)));
		blk_take(disk, first == slow.head ? &fast : &slow);
		CHECK_EQUAL(slow.used_length, SLOW_SECTORS * SECTOR_SIZE + 1);
		CHECK_EQUAL(fast.used_length, BLK_ID_SIZE + 1);
		blk_check(disk, blk_data(&slow), i, 1, false);
	}
}

static uint16_t queue_maximum(const struct blk *disk)
{
	virtio_write16(&disk->device, QUEUE_SELECT, 0);
	return virtio_read16(&disk->device, QUEUE_SIZE);
}

/* Any size will do, a single slot too. */
static void sizes(struct blk *disk)
{
	const uint16_t maximum = queue_maximum(disk);
	const uint16_t values[] = { 1, 2, 3, 5, 7, 8, 100, maximum - 1, maximum };

	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct blk_request request;

		test_context("size %u", values[i]);
		blk_start_size(disk, FEATURE(F_INDIRECT_DESC), values[i]);
		CHECK_EQUAL(queue_maximum(disk), values[i]);
		for (unsigned j = 0; j < BATCH; j++)
			run_list(disk, &request, values[i] == 1 ? 1 : 2);
		heap_reset();
	}
}

static void interrupt_each(struct blk *disk)
{
	struct blk_request request;

	blk_start(disk, 0);
	packed_set_event(&disk->queue, (struct packed_event){ JUNK_EVENT, EVENT_ALWAYS });
	for (unsigned i = 0; i < BATCH; i++) {
		run_list(disk, &request, 2);
		blk_check_interrupts(disk, ENTRY_QUEUE, i + 1);
	}
}

/* The place `slots` on, up to two laps. */
static struct packed_place far_after(const struct virtq *queue, struct packed_place from,
				     unsigned slots)
{
	for (; slots > queue->size; slots -= queue->size)
		from = packed_after(queue, from, queue->size);
	return packed_after(queue, from, slots);
}

/* As many lists of one slot under one kick. */
static void run_batch(struct blk *disk, unsigned count)
{
	struct virtq *queue = &disk->queue;
	struct blk_request request;

	for (unsigned i = 0; i < count; i++)
		queue_list(disk, &request, 1);
	virtq_kick(queue);
	for (unsigned i = 0; i < count; i++) {
		CHECK(POLL_UNTIL(PATIENCE_MS, virtq_has_used(queue)));
		virtq_take_used(queue);
	}
}

/*
 * A batch across the end of the ring, and an event at each place that there is: one
 * interrupt if it is of the batch, else none.
 */
static void event_in_batch(struct blk *disk)
{
	struct virtq *queue = &disk->queue;

	for (unsigned at = 0; at < 2 * EVENT_RING; at++) {
		uint16_t place;

		test_context("event %u slots on", at);
		blk_start_size(disk, FEATURE(F_EVENT_IDX) | FEATURE(F_INDIRECT_DESC), EVENT_RING);
		virtq_want_interrupts(queue, false);
		run_batch(disk, EVENT_START);
		blk_check_quiet(disk, 0);
		place = packed_event_place(far_after(queue, queue->add, at));
		packed_set_event(queue, (struct packed_event){ place, EVENT_AT });
		run_batch(disk, BATCH);
		blk_check_quiet(disk, at < BATCH);
		heap_reset();
	}
}

/* What the device may write into its own event structure. */
static void check_device_event(const struct virtq *queue, bool event_idx)
{
	struct packed_event event = packed_device_event(queue);

	CHECK(event.flags <= (event_idx ? EVENT_AT : EVENT_NEVER));
	if (event.flags == EVENT_AT)
		CHECK((event.place & 0x7fff) < queue->size);
}

/* Does the device want to hear of a list of `slots` at `first`? */
static bool kick_wanted(const struct virtq *queue, struct packed_place first, unsigned slots)
{
	struct packed_event event = packed_device_event(queue);

	if (event.flags != EVENT_AT)
		return event.flags == EVENT_ALWAYS;
	for (unsigned i = 0; i < slots; i++)
		if (event.place == packed_event_place(packed_after(queue, first, i)))
			return true;
	return false;
}

/*
 * A driver that kicks only when it is asked to, and asks for an interrupt for just what
 * comes next: if the device lets it wait, requests stall.
 */
static void kick_when_asked(struct blk *disk)
{
	struct virtq *queue = &disk->queue;

	for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
		unsigned kicks = 0;

		blk_start_size(disk, event_idx ? FEATURE(F_EVENT_IDX) : 0, SMALL_RING);
		for (unsigned i = 0; i < KICK_MODEL_REQUESTS; i++) {
			struct packed_place first = queue->add;
			struct blk_request request;

			test_context("request %u, EVENT_IDX %s", i, event_idx ? "on" : "off");
			packed_set_event(queue, (struct packed_event){
							packed_event_place(queue->use),
							event_idx ? EVENT_AT : EVENT_ALWAYS });
			queue_list(disk, &request, 2 + i % 2);
			__atomic_thread_fence(__ATOMIC_SEQ_CST);
			if (kick_wanted(queue, first, 2 + i % 2)) {
				virtq_kick(queue);
				kicks++;
			}
			CHECK(WAIT_UNTIL(PATIENCE_MS, virtq_has_used(queue)));
			blk_take(disk, &request);
			CHECK_EQUAL(blk_status(&request), BLK_OK);
			check_device_event(queue, event_idx);
		}
		CHECK(kicks > 0);
		heap_reset();
	}
}

const struct test packed_tests[] = {
	{ "packed/wrap-counters", wrap_counters,
	  "PACKED-01 PACKED-02 PACKED-03 PACKED-05 PACKED-06 PACKED-17 PACKED-22", NEEDS_PACKED },
	{ "packed/used-flags", used_flags, "PACKED-19", NEEDS_PACKED },
	{ "packed/not-available", not_available, "PACKED-04 PACKED-07", NEEDS_PACKED },
	{ "packed/first-slots-only", first_slots_only, "PACKED-17 PACKED-27", NEEDS_PACKED },
	{ "packed/used-is-final", used_is_final, "PACKED-08", NEEDS_PACKED },
	{ "packed/any-id", any_id, "PACKED-23", NEEDS_PACKED },
	{ "packed/id-of-last", id_of_last, "PACKED-15", NEEDS_PACKED },
	{ "packed/table-entries", table_entries, "PACKED-20", NEEDS_PACKED },
	{ "packed/any-order", any_order, "PACKED-06 PACKED-17", NEEDS_PACKED },
	{ "packed/sizes", sizes, "PACKED-01", NEEDS_PACKED },
	{ "packed/interrupt-each", interrupt_each, "PACKED-25", NEEDS_PACKED },
	{ "packed/event-in-batch", event_in_batch, "PACKED-24 PACKED-25", NEEDS_PACKED },
	{ "packed/kick-when-asked", kick_when_asked, "PACKED-24 PACKED-25 PACKED-28",
	  NEEDS_PACKED },
	{ NULL, NULL, NULL, 0 },
};
