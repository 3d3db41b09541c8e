// SPDX-License-Identifier: BSD-2-Clause
/* How a request is cut into descriptors must not matter. */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	PIECES_MAX = 300,
	CUTS_MAX = 8,
	SEGMENTS_MAX = PIECES_MAX - 2,
	SMALL_QUEUE = 16,
	LONG_TABLE = 64,
};

enum layout {
	DIRECT,
	INDIRECT,
	INDIRECT_WRITE_FLAG, /* the WRITE flag on the descriptor of the table means nothing */
	HEAD_DIRECT,         /* the first piece direct, the others in a table */
	LAYOUTS,
};

/* Lengths of the pieces in turn; the last piece is what remains. */
struct framing {
	const char *name;
	uint32_t type;
	uint32_t length;
	uint16_t readable[CUTS_MAX], writable[CUTS_MAX];
};

static const struct framing framings[] = {
	{ "IN, usual", BLK_IN, 512, { 16 }, { 512 } },
	{ "IN, data and status in one", BLK_IN, 512, { 16 }, { 0 } },
	{ "IN, header in three", BLK_IN, 512, { 4, 4 }, { 512 } },
	{ "IN, header in bytes", BLK_IN, 512, { 1, 1, 1, 1, 1, 1, 1, 1 }, { 512 } },
	{ "IN, data in odd pieces", BLK_IN, 512, { 16 }, { 1, 2, 3, 250, 255, 1 } },
	{ "IN, status behind some data", BLK_IN, 512, { 16 }, { 300 } },
	{ "OUT, usual", BLK_OUT, 512, { 16, 512 }, { 0 } },
	{ "OUT, header and data in one", BLK_OUT, 512, { 0 }, { 0 } },
	{ "OUT, header runs into data", BLK_OUT, 512, { 20, 100 }, { 0 } },
	{ "OUT, header in two, the second with data", BLK_OUT, 512, { 8 }, { 0 } },
	{ "OUT, data in odd pieces", BLK_OUT, 512, { 16, 1, 2, 3, 5, 250 }, { 0 } },
	{ "GET_ID in bytes",
	  BLK_GET_ID,
	  20,
	  { 1, 1, 1, 1, 1, 1, 1, 1 },
	  { 1, 1, 1, 1, 1, 1, 1, 1 } },
};

static unsigned cut(struct virtq_buffer *pieces, uint8_t *data, uint32_t length,
		    const uint16_t *cuts, bool device_writes)
{
	unsigned count = 0;

	for (unsigned i = 0; i < CUTS_MAX && cuts[i] && cuts[i] < length; i++) {
		pieces[count++] = (struct virtq_buffer){ data, cuts[i], device_writes };
		data += cuts[i];
		length -= cuts[i];
	}
	pieces[count++] = (struct virtq_buffer){ data, length, device_writes };
	return count;
}

static uint16_t lay_out(struct blk *disk, const struct virtq_buffer *pieces, unsigned count,
			enum layout layout)
{
	struct virtq *queue = &disk->queue;
	uint16_t head, table;

	if (layout == DIRECT)
		return virtq_add(queue, pieces, count);
	if (layout == HEAD_DIRECT) {
		head = virtq_add(queue, pieces, 1);
		table = virtq_add_indirect(queue, pieces + 1, count - 1);
		queue->desc[head].flags |= DESC_NEXT;
		queue->desc[head].next = table;
		return head;
	}
	head = virtq_add_indirect(queue, pieces, count);
	if (layout == INDIRECT_WRITE_FLAG)
		virtq_mark_table_writable(queue, head);
	return head;
}

static void run_pieces(struct blk *disk, struct blk_request *request,
		       const struct virtq_buffer *pieces, unsigned count, enum layout layout)
{
	request->head = lay_out(disk, pieces, count, layout);
	virtq_publish(&disk->queue, request->head);
	blk_finish(disk, request);
	CHECK_EQUAL(blk_status(request), BLK_OK);
	CHECK_EQUAL(request->used_length, request->writable_length);
}

static void run_framing(struct blk *disk, const struct framing *framing, enum layout layout)
{
	struct virtq_buffer pieces[2 * CUTS_MAX + 2];
	uint64_t sector = blk_scratch(disk) / 2;
	struct blk_request request;
	unsigned count;

	if (framing->type == BLK_OUT)
		sector = blk_scratch(disk) + 40;
	blk_request_init(&request, framing->type, sector, framing->length);
	if (framing->type == BLK_OUT) {
		blk_write(disk, sector, 1, false);
		blk_fill(disk, blk_data(&request), sector, 1, true);
	}
	count = cut(pieces, request.readable, request.readable_length, framing->readable, false);
	count += cut(pieces + count, request.writable, request.writable_length, framing->writable,
		     true);
	run_pieces(disk, &request, pieces, count, layout);
	if (framing->type == BLK_IN)
		blk_check(disk, blk_data(&request), sector, 1, false);
	if (framing->type == BLK_OUT)
		blk_check(disk, blk_read(disk, sector, 1), sector, 1, true);
}

static void run_framings(struct blk *disk, enum layout layout)
{
	bool writable = list_has(option("disk", "rw"), "rw");

	blk_start(disk, layout == DIRECT ? 0 : FEATURE(F_INDIRECT_DESC));
	for (unsigned i = 0; i < sizeof(framings) / sizeof(framings[0]); i++) {
		test_context("%s", framings[i].name);
		if (framings[i].type != BLK_OUT || writable)
			run_framing(disk, &framings[i], layout);
	}
}

static void direct(struct blk *disk)
{
	run_framings(disk, DIRECT);
}

static void indirect(struct blk *disk)
{
	run_framings(disk, INDIRECT);
}

static void indirect_write_flag(struct blk *disk)
{
	run_framings(disk, INDIRECT_WRITE_FLAG);
}

static void head_direct(struct blk *disk)
{
	run_framings(disk, HEAD_DIRECT);
}

/* An IN request with `segments` data pieces of one sector each. */
static void run_segments(struct blk *disk, unsigned segments, enum layout layout)
{
	struct virtq_buffer *pieces = heap_alloc((segments + 2) * sizeof(*pieces), 8);
	struct blk_request request;

	blk_request_init(&request, BLK_IN, 2, segments * SECTOR_SIZE);
	pieces[0] = (struct virtq_buffer){ request.readable, BLK_HEADER_SIZE, false };
	for (unsigned i = 0; i < segments; i++)
		pieces[1 + i] = (struct virtq_buffer){ request.writable + i * SECTOR_SIZE,
						       SECTOR_SIZE, true };
	pieces[1 + segments] =
		(struct virtq_buffer){ request.writable + segments * SECTOR_SIZE, 1, true };
	run_pieces(disk, &request, pieces, segments + 2, layout);
	for (unsigned i = 0; i < segments; i++)
		CHECK_EQUAL(blk_data(&request)[i * SECTOR_WORDS],
			    ((uint64_t)disk->number << 56) + (2 + i) * SECTOR_WORDS);
}

static unsigned segments_advertised(const struct blk *disk)
{
	uint64_t seg_max = blk_config(disk, BLK_SEG_MAX, 4);

	CHECK(seg_max >= 1);
	return seg_max < SEGMENTS_MAX ? (unsigned)seg_max : SEGMENTS_MAX;
}

static void seg_max_direct(struct blk *disk)
{
	unsigned segments = segments_advertised(disk);

	blk_start(disk, FEATURE(F_BLK_SEG_MAX));
	if (segments + 2 > disk->queue.size)
		segments = disk->queue.size - 2u;
	run_segments(disk, segments, DIRECT);
	run_segments(disk, segments, DIRECT);
}

static void seg_max_indirect(struct blk *disk)
{
	blk_start(disk, FEATURE(F_BLK_SEG_MAX) | FEATURE(F_INDIRECT_DESC));
	run_segments(disk, segments_advertised(disk), INDIRECT);
}

/* Linux fills tables up to seg_max + 2 whatever the size of the queue. */
static void table_longer_than_queue(struct blk *disk)
{
	unsigned segments = segments_advertised(disk);

	blk_start_size(disk, FEATURE(F_INDIRECT_DESC) | FEATURE(F_BLK_SEG_MAX), SMALL_QUEUE);
	run_segments(disk, segments < LONG_TABLE ? segments : LONG_TABLE, INDIRECT);
}

/*
 * Table entries are followed by `next`, not by place; what the chain does not visit does
 * not count.
 */
static void table_out_of_order(struct blk *disk)
{
	struct virtq_desc *table = (void *)((uint8_t *)heap_alloc(256, 16) + 4);
	struct blk_request request;
	uint16_t head;

	blk_start(disk, FEATURE(F_INDIRECT_DESC));
	blk_request_init(&request, BLK_IN, 20, SECTOR_SIZE);
	memset(table, 0xff, 6 * sizeof(*table));
	table[0] = (struct virtq_desc){ (uintptr_t)request.readable, 16, DESC_NEXT, 2 };
	table[2] =
		(struct virtq_desc){ (uintptr_t)request.writable, 100, DESC_NEXT | DESC_WRITE, 1 };
	table[1] = (struct virtq_desc){ (uintptr_t)request.writable + 100, 412,
					DESC_NEXT | DESC_WRITE, 4 };
	table[4] = (struct virtq_desc){ (uintptr_t)request.writable + 512, 1, DESC_WRITE, 0xffff };
	head = virtq_take_desc(&disk->queue, 1);
	disk->queue.desc[head] =
		(struct virtq_desc){ (uintptr_t)table, 6 * sizeof(*table), DESC_INDIRECT, 0xffff };
	request.head = head;
	virtq_publish(&disk->queue, head);
	blk_finish(disk, &request);
	CHECK_EQUAL(blk_status(&request), BLK_OK);
	blk_check(disk, blk_data(&request), 20, 1, false);
}

const struct test framing_tests[] = {
	{ "framing/direct", direct, "SPLIT-04 PACKED-16 BLK-20 BLK-24", NEEDS_NOTHING },
	{ "framing/indirect", indirect, "SPLIT-04 SPLIT-12 SPLIT-13 BLK-24", NEEDS_NOTHING },
	{ "framing/indirect-write-flag", indirect_write_flag, "SPLIT-11 PACKED-21", NEEDS_NOTHING },
	{ "framing/head-direct", head_direct, "SPLIT-12", NEEDS_SPLIT },
	{ "framing/seg-max-direct", seg_max_direct, "SPLIT-05 PACKED-18 BLK-04 BLK-05",
	  NEEDS_NOTHING },
	{ "framing/seg-max-indirect", seg_max_indirect, "SPLIT-05 PACKED-18 BLK-04 BLK-05",
	  NEEDS_NOTHING },
	{ "framing/table-longer-than-queue", table_longer_than_queue, "SPLIT-17 PACKED-18",
	  NEEDS_NOTHING },
	{ "framing/table-out-of-order", table_out_of_order, "SPLIT-10 SPLIT-13 HOST-19",
	  NEEDS_SPLIT | NEEDS_ANY_ORDER },
	{ NULL, NULL, NULL, 0 },
};
