// SPDX-License-Identifier: BSD-2-Clause
/*
 * FLUSH and the cache mode. What a guest sees of them is the mode; whether a write was on
 * stable storage when it completed is seen by the runner, which kills the monitor after the
 * durable/ tests and looks at what the host has for each area.
 */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	THROUGH = 0, /* what the writeback field says */
	BACK = 1,

	/* The runner's; area 0 is that of durable/across in test_mq.c. */
	AREA_NO_FLUSH = 1,
	AREA_WRITE_THROUGH = 2,
};

#define CACHE_FEATURES (FEATURE(F_BLK_FLUSH) | FEATURE(F_BLK_CONFIG_WCE))

static void set_mode(const struct blk *disk, uint8_t mode)
{
	mmio_write8(virtio_address(&disk->device, VIRTIO_CAP_DEVICE) + BLK_WRITEBACK, mode);
}

static void offered(struct blk *disk)
{
	uint64_t features = virtio_offered(&disk->device);
	bool flush = features & FEATURE(F_BLK_FLUSH);

	CHECK_EQUAL(flush, !list_has(option("cache", "writeback"), "unsafe"));
	CHECK(flush || !(features & FEATURE(F_BLK_CONFIG_WCE)));
}

/* What was not accepted is not there. */
static void flush_not_accepted(struct blk *disk)
{
	struct blk_request request;

	blk_start(disk, 0);
	CHECK_EQUAL(blk_run(disk, &request, BLK_FLUSH, 0, 0), BLK_UNSUPP);
	CHECK_EQUAL(request.used_length, 1);
}

/* A driver that wants it all gets no FLUSH and has no say in the mode; the disk works. */
static void unsafe(struct blk *disk)
{
	uint64_t sector = blk_scratch(disk) + 64;
	struct blk_request request;

	blk_start(disk, ~0ull);
	CHECK_EQUAL(disk->device.features & CACHE_FEATURES, 0);
	CHECK_EQUAL(blk_config(disk, BLK_WRITEBACK, 1), 0);
	set_mode(disk, BACK);
	CHECK_EQUAL(blk_config(disk, BLK_WRITEBACK, 1), 0);
	blk_write(disk, sector, 8, true);
	blk_check(disk, blk_read(disk, sector, 8), sector, 8, true);
	CHECK_EQUAL(blk_run(disk, &request, BLK_FLUSH, 0, 0), BLK_UNSUPP);
}

/* The options tell the mode that a driver finds once its features are accepted. */
static void first_mode(struct blk *disk)
{
	uint64_t mode = list_has(option("cache", "writeback"), "writethrough") ? THROUGH : BACK;

	for (unsigned i = 0; i < 3; i++) {
		test_context("round %u", i);
		virtio_negotiate(&disk->device, CACHE_FEATURES);
		CHECK_EQUAL(blk_config(disk, BLK_WRITEBACK, 1), mode);
		blk_start(disk, CACHE_FEATURES);
		CHECK_EQUAL(blk_config(disk, BLK_WRITEBACK, 1), mode);
		set_mode(disk, !mode);
	}
}

static void first_mode_without_flush(struct blk *disk)
{
	virtio_negotiate(&disk->device, FEATURE(F_BLK_CONFIG_WCE));
	CHECK(disk->device.features & FEATURE(F_BLK_CONFIG_WCE));
	CHECK_EQUAL(blk_config(disk, BLK_WRITEBACK, 1), THROUGH);
}

static void change_mode(struct blk *disk)
{
	uint64_t sector = blk_scratch(disk) + 64;

	blk_start(disk, CACHE_FEATURES);
	for (unsigned i = 0; i < 4; i++) {
		uint8_t mode = i % 2;
		struct blk_request request;

		test_context("mode %u", mode);
		set_mode(disk, mode);
		CHECK_EQUAL(blk_config(disk, BLK_WRITEBACK, 1), mode);
		if (list_has(option("disk", "rw"), "rw")) {
			blk_write(disk, sector, 8, i % 2);
			blk_check(disk, blk_read(disk, sector, 8), sector, 8, i % 2);
		}
		CHECK_EQUAL(blk_run(disk, &request, BLK_FLUSH, 0, 0), BLK_OK);
	}
}

/* A mode that is none is taken as one of the two, or not taken. */
static void bad_mode(struct blk *disk)
{
	static const uint8_t modes[] = { 2, 0x80, 0xfe, 0xff };

	blk_start(disk, CACHE_FEATURES);
	for (unsigned i = 0; i < sizeof(modes); i++) {
		test_context("mode %u", modes[i]);
		set_mode(disk, modes[i]);
		CHECK(blk_config(disk, BLK_WRITEBACK, 1) <= BACK);
	}
	blk_check(disk, blk_read(disk, 0, 1), 0, 1, false);
}

/* A wide write reaches writeback, and the fields behind it stay as they are. */
static void wide_write(struct blk *disk)
{
	uintptr_t field = virtio_address(&disk->device, VIRTIO_CAP_DEVICE) + BLK_WRITEBACK;
	uint64_t behind;

	blk_start(disk, CACHE_FEATURES);
	behind = blk_config(disk, BLK_WRITEBACK, 4) >> 8;
	for (unsigned mode = THROUGH; mode <= BACK; mode++) {
		set_mode(disk, !mode);
		mmio_write32(field, 0xa5a5a500 | mode);
		CHECK_EQUAL(blk_config(disk, BLK_WRITEBACK, 4) >> 8, behind);
		CHECK_EQUAL(blk_config(disk, BLK_WRITEBACK, 1), mode);
	}
}

/* A driver that took neither FLUSH nor CONFIG_WCE has no other way to make a write stable. */
static void durable_without_flush(struct blk *disk)
{
	blk_start(disk, 0);
	blk_write(disk, blk_area(disk, AREA_NO_FLUSH), BLK_AREA_SECTORS, true);
}

static void durable_write_through(struct blk *disk)
{
	blk_start(disk, CACHE_FEATURES);
	set_mode(disk, THROUGH);
	blk_write(disk, blk_area(disk, AREA_WRITE_THROUGH), BLK_AREA_SECTORS, true);
}

const struct test cache_tests[] = {
	{ "cache/offered", offered, "GEN-16 BLK-09", NEEDS_NOTHING },
	{ "cache/flush-not-accepted", flush_not_accepted, "BLK-22", NEEDS_NOTHING },
	{ "cache/unsafe", unsafe, "BLK-03 BLK-22 BLK-34", NEEDS_NO_FLUSH | NEEDS_WRITABLE },
	{ "cache/first-mode", first_mode, "BLK-11", NEEDS_FLUSH },
	{ "cache/first-mode-without-flush", first_mode_without_flush, "BLK-10", NEEDS_FLUSH },
	{ "cache/change-mode", change_mode, "BLK-11", NEEDS_FLUSH },
	{ "cache/bad-mode", bad_mode, "HOST-69", NEEDS_FLUSH },
	{ "cache/wide-write", wide_write, "GEN-32 HOST-69", NEEDS_FLUSH },
	{ "durable/without-flush", durable_without_flush, "BLK-30", NEEDS_DURABLE },
	{ "durable/write-through", durable_write_through, "BLK-31", NEEDS_DURABLE },
	{ NULL, NULL, NULL, 0 },
};
