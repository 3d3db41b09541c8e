// SPDX-License-Identifier: BSD-2-Clause
/* DISCARD and WRITE_ZEROES: segments, limits, flags, and what is left alone. */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"

enum {
	UNMAP = 1, /* a segment's flag, for WRITE_ZEROES */

	/* Behind the limits of each type in the configuration. */
	MAX_SECTORS = 0,
	MAX_SEGMENTS = 4,
	DISCARD_ALIGNMENT = 8,
	MAY_UNMAP = 8,

	SPAN = 64, /* sectors that a test prepares */
	IN_FLIGHT = 16,
	MANY = SPAN / 2, /* segments */
	TOO_MANY = 65536,
};

#define JUNK_SECTOR 0x123456789abcdefull

struct segment {
	uint64_t sector;
	uint32_t sectors, flags;
};

struct kind {
	const char *name;
	enum blk_type type;
	enum blk_feature feature;
	enum blk_config limits;
};

static const struct kind kinds[] = {
	{ "discard", BLK_DISCARD, F_BLK_DISCARD, BLK_DISCARD_LIMITS },
	{ "write zeroes", BLK_WRITE_ZEROES, F_BLK_WRITE_ZEROES, BLK_WRITE_ZEROES_LIMITS },
};

#define ALL_KINDS (FEATURE(F_BLK_DISCARD) | FEATURE(F_BLK_WRITE_ZEROES) | FEATURE(F_BLK_FLUSH))

/* The kinds that the kit's options promise of a writable disk: the last `count` of them. */
static const struct kind *kinds_promised(unsigned *count)
{
	bool discard = list_has(option("discard", "on"), "on");

	*count = discard ? 2 : 1;
	return discard ? kinds : kinds + 1;
}

/* Runs `test` with each of them on a started disk whose span is not zeros. */
static void for_each_kind(struct blk *disk, void (*test)(struct blk *, const struct kind *))
{
	unsigned count;
	const struct kind *promised = kinds_promised(&count);

	blk_start(disk, ALL_KINDS);
	for (unsigned i = 0; i < count; i++) {
		test_context("%s", promised[i].name);
		CHECK(disk->device.features & FEATURE(promised[i].feature));
		blk_write(disk, blk_scratch(disk), SPAN, true);
		test(disk, &promised[i]);
	}
}

static uint64_t limit(const struct blk *disk, const struct kind *kind, unsigned which)
{
	return blk_config(disk, kind->limits + which, 4);
}

/* Queues the first `bytes` of the segments. The header's sector means nothing here. */
static uint8_t run(struct blk *disk, enum blk_type type, const struct segment *segments,
		   uint32_t bytes)
{
	struct blk_request request;

	blk_request_init(&request, type, JUNK_SECTOR, bytes);
	memcpy(blk_data(&request), segments, bytes);
	blk_queue(disk, &request);
	blk_finish(disk, &request);
	CHECK_EQUAL(request.used_length, 1);
	return blk_status(&request);
}

static bool is_zeros(const uint64_t *sector)
{
	return !sector[0] && !memcmp(sector, sector + 1, SECTOR_SIZE - sizeof(*sector));
}

static bool covers(const struct segment *segments, unsigned count, uint64_t sector)
{
	for (unsigned i = 0; i < count; i++)
		if (sector >= segments[i].sector &&
		    sector - segments[i].sector < segments[i].sectors)
			return true;
	return false;
}

/* In the span, the segments have had their effect, and nothing else has changed. */
static void check_span(struct blk *disk, const struct kind *kind, const struct segment *segments,
		       unsigned count)
{
	uint64_t first = blk_scratch(disk);
	const uint64_t *data = blk_read(disk, first, SPAN);

	for (unsigned i = 0; i < SPAN; i++, data += SECTOR_WORDS) {
		bool covered = covers(segments, count, first + i);

		test_context("%s: sector %u of the span", kind->name, i);
		if (covered && kind->type == BLK_WRITE_ZEROES)
			CHECK(is_zeros(data));
		else if (!covered || !is_zeros(data))
			blk_check(disk, data, first + i, 1, true);
	}
	test_context("%s", kind->name);
}

static void serve(struct blk *disk, const struct kind *kind, const struct segment *segments,
		  unsigned count)
{
	blk_write(disk, blk_scratch(disk), SPAN, true);
	CHECK_EQUAL(run(disk, kind->type, segments, count * sizeof(*segments)), BLK_OK);
	check_span(disk, kind, segments, count);
}

/* The options say how the disk is kept: what it tells of itself must agree. */
static void limits(struct blk *disk)
{
	bool discard = list_has(option("discard", "on"), "on");
	uint64_t offered = virtio_offered(&disk->device), alignment;
	unsigned count;
	const struct kind *promised = kinds_promised(&count);

	for (unsigned i = 0; i < count; i++) {
		test_context("%s", promised[i].name);
		CHECK(offered & FEATURE(promised[i].feature));
		CHECK(limit(disk, &promised[i], MAX_SECTORS) > 0);
		CHECK(limit(disk, &promised[i], MAX_SEGMENTS) > 0);
	}
	test_context(NULL);
	CHECK_EQUAL(!!(offered & FEATURE(F_BLK_DISCARD)), discard);
	CHECK_EQUAL(blk_config(disk, BLK_WRITE_ZEROES_LIMITS + MAY_UNMAP, 1),
		    list_has(option("unmap", "on"), "on"));
	if (discard) {
		alignment = limit(disk, &kinds[0], DISCARD_ALIGNMENT) * SECTOR_SIZE;
		CHECK_EQUAL(alignment, option_number("block", alignment));
	}
}

/* In the middle, and one sector only, which is less than a host can deallocate. */
static void serve_one(struct blk *disk, const struct kind *kind)
{
	uint64_t first = blk_scratch(disk);
	struct segment segments[] = { { first + 5, 50, 0 }, { first + 11, 1, 0 } };

	serve(disk, kind, &segments[0], 1);
	serve(disk, kind, &segments[1], 1);
}

static void one(struct blk *disk)
{
	for_each_kind(disk, serve_one);
}

static void unmap(struct blk *disk)
{
	uint64_t first = blk_scratch(disk);
	struct segment segments[] = { { first + 5, 50, UNMAP }, { first + 11, 1, UNMAP } };

	blk_start(disk, ALL_KINDS);
	serve(disk, &kinds[1], &segments[0], 1);
	serve(disk, &kinds[1], &segments[1], 1);
}

/* As many segments as it says, with a gap behind each. */
static void serve_several(struct blk *disk, const struct kind *kind)
{
	uint64_t count = limit(disk, kind, MAX_SEGMENTS);
	struct segment segments[MANY];

	if (count > MANY)
		count = MANY;
	for (unsigned i = 0; i < count; i++)
		segments[i] = (struct segment){ blk_scratch(disk) + 2 * i, 1, 0 };
	serve(disk, kind, segments, (unsigned)count);
}

static void several(struct blk *disk)
{
	for_each_kind(disk, serve_several);
}

/* One more than it says. */
static void refuse_too_many(struct blk *disk, const struct kind *kind)
{
	uint64_t count = limit(disk, kind, MAX_SEGMENTS) + 1;
	struct segment *segments;

	if (count > TOO_MANY)
		return; /* no driver comes up to that */
	segments = heap_alloc(count * sizeof(*segments), 8);
	for (unsigned i = 0; i < count; i++)
		segments[i] = (struct segment){ blk_scratch(disk) + i % SPAN, 1, 0 };
	CHECK_EQUAL(run(disk, kind->type, segments, (uint32_t)(count * sizeof(*segments))),
		    BLK_IOERR);
	check_span(disk, kind, NULL, 0);
}

static void too_many(struct blk *disk)
{
	for_each_kind(disk, refuse_too_many);
}

static void refuse_part_of_segment(struct blk *disk, const struct kind *kind)
{
	static const uint32_t lengths[] = { 0, 1, 15, 17, 31 };
	uint64_t first = blk_scratch(disk);
	const struct segment segments[] = { { first, 1, 0 }, { first + 2, 1, 0 } };

	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		test_context("%s: %u bytes", kind->name, lengths[i]);
		CHECK_EQUAL(run(disk, kind->type, segments, lengths[i]), BLK_IOERR);
	}
	check_span(disk, kind, NULL, 0);
}

static void part_of_segment(struct blk *disk)
{
	for_each_kind(disk, refuse_part_of_segment);
}

static void refuse_bad_flags(struct blk *disk, const struct kind *kind)
{
	static const uint32_t flags[] = { 2, 0x80000000, 0xfffffffe, 3, UNMAP };
	unsigned count = sizeof(flags) / sizeof(flags[0]);

	if (kind->type == BLK_WRITE_ZEROES)
		count--;
	for (unsigned i = 0; i < count; i++) {
		struct segment segment = { blk_scratch(disk), 8, flags[i] };

		test_context("%s: flags 0x%x", kind->name, flags[i]);
		CHECK_EQUAL(run(disk, kind->type, &segment, sizeof(segment)), BLK_UNSUPP);
	}
	check_span(disk, kind, NULL, 0);
}

static void bad_flags(struct blk *disk)
{
	for_each_kind(disk, refuse_bad_flags);
}

static void refuse_bad_range(struct blk *disk, const struct kind *kind)
{
	uint64_t first = blk_scratch(disk), last = disk->capacity - 1;
	uint64_t most = limit(disk, kind, MAX_SECTORS);
	const struct segment segments[] = {
		{ last + 1, 1, 0 },
		{ last, 2, 0 },
		{ first, (uint32_t)(disk->capacity - first + 1), 0 },
		{ first, 0xffffffff, 0 },
		{ 1ull << 55, 8, 0 },
		{ ~0ull, 1, 0 },
		{ ~0ull, 0xffffffff, 0 },
		{ first, (uint32_t)(most < 0xffffffff ? most + 1 : most), 0 },
	};

	blk_write(disk, last, 1, true);
	for (unsigned i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
		test_context("%s: sector 0x%lx, count 0x%x", kind->name, segments[i].sector,
			     segments[i].sectors);
		CHECK_EQUAL(run(disk, kind->type, &segments[i], sizeof(segments[i])), BLK_IOERR);
	}
	check_span(disk, kind, NULL, 0);
	blk_check(disk, blk_read(disk, last, 1), last, 1, true);
}

static void bad_range(struct blk *disk)
{
	for_each_kind(disk, refuse_bad_range);
}

/* Good ones before a bad one are not done either. */
static void refuse_all_or_nothing(struct blk *disk, const struct kind *kind)
{
	uint64_t first = blk_scratch(disk);
	const struct segment bad[] = { { disk->capacity, 1, 0 }, { first + 20, 1, 2 } };

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct segment segments[] = { { first, 4, 0 }, { first + 8, 4, 0 }, bad[i] };

		test_context("%s: bad segment %u", kind->name, i);
		CHECK(run(disk, kind->type, segments, sizeof(segments)) != BLK_OK);
		check_span(disk, kind, NULL, 0);
	}
}

static void all_or_nothing(struct blk *disk)
{
	for_each_kind(disk, refuse_all_or_nothing);
}

static void serve_empty(struct blk *disk, const struct kind *kind)
{
	struct segment segment = { blk_scratch(disk) + 3, 0, 0 };

	serve(disk, kind, &segment, 1);
}

static void empty(struct blk *disk)
{
	for_each_kind(disk, serve_empty);
}

/* Header and segment in pieces that end at neither's end. */
static void serve_in_pieces(struct blk *disk, const struct kind *kind)
{
	const struct segment segment = { blk_scratch(disk) + 16, 8, 0 };
	struct blk_request request;
	struct virtq_buffer pieces[4];

	blk_request_init(&request, kind->type, JUNK_SECTOR, sizeof(segment));
	memcpy(blk_data(&request), &segment, sizeof(segment));
	pieces[0] = (struct virtq_buffer){ request.readable, 5, false };
	pieces[1] = (struct virtq_buffer){ request.readable + 5, 14, false };
	pieces[2] = (struct virtq_buffer){ request.readable + 19, 13, false };
	pieces[3] = (struct virtq_buffer){ request.writable, 1, true };
	request.head = virtq_add(&disk->queue, pieces, 4);
	virtq_publish(&disk->queue, request.head);
	blk_finish(disk, &request);
	CHECK_EQUAL(blk_status(&request), BLK_OK);
	check_span(disk, kind, &segment, 1);
}

static void in_pieces(struct blk *disk)
{
	for_each_kind(disk, serve_in_pieces);
}

/*
 * Cut short by a reset, each sector may be zeros or as it was, and the ring stays as it is.
 * Discard's rule is the one that allows both.
 */
static void cut_short(struct blk *disk, const struct kind *kind)
{
	const struct segment span = { blk_scratch(disk), SPAN, 0 };
	struct virtq *queue = &disk->queue;
	struct blk_request request;

	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		struct segment segment = { span.sector + 4 * i, 4, 0 };

		blk_request_init(&request, kind->type, JUNK_SECTOR, sizeof(segment));
		memcpy(blk_data(&request), &segment, sizeof(segment));
		blk_queue(disk, &request);
	}
	virtq_kick(queue);
	virtio_reset(&disk->device);
	virtq_paint(queue);
	irq_sleep(QUIET_MS);
	virtq_check_painted(queue);
	blk_start(disk, ALL_KINDS);
	check_span(disk, &kinds[0], &span, 1);
}

static void reset_in_flight(struct blk *disk)
{
	for_each_kind(disk, cut_short);
}

/* A read-only disk need not offer them; offered or not, they change nothing. */
static void read_only(struct blk *disk)
{
	const struct segment segment = { 0, 8, 0 };

	blk_start(disk, ALL_KINDS | FEATURE(F_BLK_RO));
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		bool accepted = disk->device.features & FEATURE(kinds[i].feature);

		test_context("%s", kinds[i].name);
		CHECK_EQUAL(run(disk, kinds[i].type, &segment, sizeof(segment)),
			    accepted ? BLK_IOERR : BLK_UNSUPP);
		blk_check(disk, blk_read(disk, 0, 8), 0, 8, false);
	}
}

static void not_accepted(struct blk *disk)
{
	const struct segment segment = { blk_scratch(disk), 8, 0 };

	blk_start(disk, 0);
	blk_write(disk, segment.sector, 8, true);
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		test_context("%s", kinds[i].name);
		CHECK_EQUAL(run(disk, kinds[i].type, &segment, sizeof(segment)), BLK_UNSUPP);
		blk_check(disk, blk_read(disk, segment.sector, 8), segment.sector, 8, true);
	}
}

/*
 * For the runner: area 0 is discarded if that can be, area 1 zeroed and to stay allocated,
 * area 2 zeroed and deallocated if that can be. All around them is the pattern's complement.
 */
static void areas(struct blk *disk)
{
	const struct segment segments[] = {
		{ blk_area(disk, 0), BLK_AREA_SECTORS, 0 },
		{ blk_area(disk, 1), BLK_AREA_SECTORS, 0 },
		{ blk_area(disk, 2), BLK_AREA_SECTORS, UNMAP },
	};
	uint64_t first = blk_area(disk, 0) - BLK_AREA_SECTORS;

	blk_start(disk, ALL_KINDS);
	blk_write(disk, first, (unsigned)(blk_area(disk, 3) - first), true);
	if (list_has(option("discard", "on"), "on"))
		CHECK_EQUAL(run(disk, BLK_DISCARD, &segments[0], sizeof(segments[0])), BLK_OK);
	for (unsigned i = 1; i < 3; i++) {
		uint64_t sector = segments[i].sector;
		const uint64_t *data;

		CHECK_EQUAL(run(disk, BLK_WRITE_ZEROES, &segments[i], sizeof(segments[i])), BLK_OK);
		data = blk_read(disk, sector, BLK_AREA_SECTORS);
		for (unsigned j = 0; j < BLK_AREA_SECTORS; j++)
			CHECK(is_zeros(data + j * SECTOR_WORDS));
	}
}

const struct test range_tests[] = {
	{ "range/limits", limits, "BLK-15 BLK-16", NEEDS_WRITABLE },
	{ "range/one", one, "BLK-27 BLK-42 BLK-43 BLK-45 BLK-46", NEEDS_WRITABLE },
	{ "range/unmap", unmap, "BLK-43 BLK-44", NEEDS_WRITABLE },
	{ "range/several", several, "BLK-39 BLK-43", NEEDS_WRITABLE },
	{ "range/too-many", too_many, "BLK-39", NEEDS_WRITABLE },
	{ "range/part-of-segment", part_of_segment, "BLK-39", NEEDS_WRITABLE },
	{ "range/bad-flags", bad_flags, "BLK-37 BLK-38", NEEDS_WRITABLE },
	{ "range/bad-range", bad_range, "BLK-26 BLK-39", NEEDS_WRITABLE },
	{ "range/all-or-nothing", all_or_nothing, "BLK-40", NEEDS_WRITABLE },
	{ "range/empty", empty, "BLK-40", NEEDS_WRITABLE },
	{ "range/in-pieces", in_pieces, "BLK-24", NEEDS_WRITABLE },
	{ "range/reset-in-flight", reset_in_flight, "GEN-02 GEN-03 GEN-05", NEEDS_WRITABLE },
	{ "range/read-only", read_only, "BLK-28", NEEDS_READ_ONLY },
	{ "range/not-accepted", not_accepted, "BLK-22", NEEDS_WRITABLE },
	{ "range/areas", areas, "BLK-42 BLK-43 BLK-44", NEEDS_WRITABLE },
	{ NULL, NULL, NULL, 0 },
};
