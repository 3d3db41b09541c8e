// SPDX-License-Identifier: BSD-2-Clause
/* The block device: configuration, and what each type of request does. */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	LARGE_SECTORS = 2048, /* 1 MiB */
	FINAL_SECTORS = 64,
	CANARY = 0xc3,
};

static bool offers(const struct blk *disk, unsigned feature)
{
	return virtio_offered(&disk->device) & FEATURE(feature);
}

static void capacity(struct blk *disk)
{
	uint64_t sectors = option_number("sectors", 0);

	CHECK(disk->capacity > 0);
	if (sectors)
		CHECK_EQUAL(disk->capacity, sectors);
}

static void config_values(struct blk *disk)
{
	uint64_t seg_max = blk_config(disk, BLK_SEG_MAX, 4);
	uint64_t block = blk_config(disk, BLK_BLK_SIZE, 4);

	if (offers(disk, F_BLK_SEG_MAX))
		CHECK(seg_max >= 1);
	if (offers(disk, F_BLK_BLK_SIZE)) {
		CHECK(block >= SECTOR_SIZE && block <= PAGE_SIZE && !(block & (block - 1)));
		CHECK_EQUAL(disk->capacity % (block / SECTOR_SIZE), 0);
	}
	if (offers(disk, F_BLK_MQ))
		CHECK_EQUAL(blk_config(disk, BLK_NUM_QUEUES, 2),
			    virtio_read16(&disk->device, NUM_QUEUES));
	else
		CHECK_EQUAL(virtio_read16(&disk->device, NUM_QUEUES), 1);
}

/*
 * Both in bytes: the option `block` is the unit in which the host keeps the disk,
 * `logical` the guest's.
 */
static void topology(struct blk *disk)
{
	uint64_t logical = blk_config(disk, BLK_BLK_SIZE, 4);
	uint64_t exponent = blk_config(disk, BLK_TOPOLOGY, 1);
	uint64_t offset = blk_config(disk, BLK_TOPOLOGY + 1, 1);

	CHECK(offers(disk, F_BLK_TOPOLOGY) && offers(disk, F_BLK_BLK_SIZE));
	CHECK_EQUAL(logical, option_number("logical", logical));
	CHECK(exponent < 16);
	CHECK_EQUAL(logical << exponent, option_number("block", logical << exponent));
	CHECK(offset < 1u << exponent);
}

/* Fields without their feature, and the padding, are 0. */
static void config_zeros(struct blk *disk)
{
	static const struct {
		uint8_t feature, offset, length;
	} fields[] = {
		{ F_BLK_SIZE_MAX, BLK_SIZE_MAX, 4 },
		{ F_BLK_SEG_MAX, BLK_SEG_MAX, 4 },
		{ F_BLK_GEOMETRY, BLK_GEOMETRY, 4 },
		{ F_BLK_BLK_SIZE, BLK_BLK_SIZE, 4 },
		{ F_BLK_TOPOLOGY, BLK_TOPOLOGY, 8 },
		{ F_BLK_CONFIG_WCE, BLK_WRITEBACK, 1 },
		{ F_VERSION_1 + 31, BLK_WRITEBACK + 1, 1 }, /* unused0: bit 63 is never offered */
		{ F_BLK_MQ, BLK_NUM_QUEUES, 2 },
		{ F_BLK_DISCARD, BLK_DISCARD_LIMITS, 12 },
		{ F_BLK_WRITE_ZEROES, BLK_WRITE_ZEROES_LIMITS, 9 },
		{ F_VERSION_1 + 31, BLK_WRITE_ZEROES_LIMITS + 9, 3 }, /* unused1 */
	};
	uint32_t length = disk->device.of_type[VIRTIO_CAP_DEVICE]->length;

	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (offers(disk, fields[i].feature))
			continue;
		for (unsigned j = 0; j < fields[i].length; j++) {
			test_context("offset %u", fields[i].offset + j);
			if (fields[i].offset + j < length)
				CHECK_EQUAL(blk_config(disk, fields[i].offset + j, 1), 0);
		}
	}
}

static void read(struct blk *disk)
{
	uint64_t last = disk->capacity - 1;

	blk_start(disk, 0);
	blk_check(disk, blk_read(disk, 0, 1), 0, 1, false);
	blk_check(disk, blk_read(disk, 1, 1), 1, 1, false);
	blk_check(disk, blk_read(disk, 7, 8), 7, 8, false);
	blk_read(disk, last, 1);
}

static void write_and_read_back(struct blk *disk)
{
	uint64_t sector = blk_scratch(disk) + 1000;

	blk_start(disk, 0);
	blk_write(disk, sector, 8, true);
	blk_check(disk, blk_read(disk, sector, 8), sector, 8, true);
	blk_write(disk, sector + 3, 1, false);
	blk_check(disk, blk_read(disk, sector + 2, 1), sector + 2, 1, true);
	blk_check(disk, blk_read(disk, sector + 3, 1), sector + 3, 1, false);
	blk_check(disk, blk_read(disk, sector + 4, 1), sector + 4, 1, true);
}

static void last_sector(struct blk *disk)
{
	uint64_t last = disk->capacity - 1;

	blk_start(disk, 0);
	blk_write(disk, last, 1, true);
	blk_check(disk, blk_read(disk, last, 1), last, 1, true);
	blk_write(disk, last, 1, false);
	blk_check(disk, blk_read(disk, last, 1), last, 1, false);
}

static void flush(struct blk *disk)
{
	struct blk_request request;

	blk_start(disk, FEATURE(F_BLK_FLUSH));
	CHECK_EQUAL(blk_run(disk, &request, BLK_FLUSH, 0, 0), BLK_OK);
	CHECK_EQUAL(request.used_length, 1);
	CHECK_EQUAL(blk_run(disk, &request, BLK_FLUSH, 12345678901, 0), BLK_OK);
	CHECK_EQUAL(request.used_length, 1);
}

/* ASCII, padded with NULs. */
static void check_id(const uint8_t *id)
{
	for (unsigned i = 0; i < BLK_ID_SIZE; i++) {
		CHECK(id[i] == 0 || (id[i] >= 0x20 && id[i] < 0x7f));
		CHECK(i == 0 || id[i - 1] != 0 || id[i] == 0);
	}
}

/*
 * A shorter buffer gets the first part. Of a longer one 20 bytes count; the rest is left
 * alone or zeroed.
 */
static void get_id(struct blk *disk)
{
	static const uint32_t lengths[] = { BLK_ID_SIZE, 1, 19, SECTOR_SIZE };
	const char *serial = option("serial", "");
	uint8_t id[BLK_ID_SIZE] = { 0 };
	struct blk_request request;

	blk_start(disk, 0);
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		uint32_t shown = lengths[i] < BLK_ID_SIZE ? lengths[i] : BLK_ID_SIZE;

		test_context("length %u", lengths[i]);
		blk_request_init(&request, BLK_GET_ID, 77, lengths[i]);
		memset(request.writable, CANARY, request.writable_length);
		blk_queue(disk, &request);
		blk_finish(disk, &request);
		CHECK_EQUAL(blk_status(&request), BLK_OK);
		if (i == 0)
			memcpy(id, request.writable, BLK_ID_SIZE);
		CHECK_EQUAL(memcmp(request.writable, id, shown), 0);
		if (lengths[i] <= BLK_ID_SIZE)
			CHECK_EQUAL(request.used_length, shown + 1);
		else if (request.writable[BLK_ID_SIZE] == CANARY)
			CHECK_EQUAL(request.used_length, shown);
		else
			CHECK_EQUAL(request.writable[BLK_ID_SIZE], 0);
	}
	check_id(id);
	test_context("serial number");
	CHECK(strlen(serial) <= BLK_ID_SIZE);
	CHECK_EQUAL(memcmp(id, serial, strlen(serial)), 0);
	CHECK(strlen(serial) == BLK_ID_SIZE || id[strlen(serial)] == 0);
}

/*
 * IOERR, and no byte of the data written. The used length counts from the first writable
 * byte: a status byte behind untouched data does not count (BLK-27).
 */
static void check_refused(struct blk *disk, uint32_t type, uint64_t sector, uint32_t length)
{
	struct blk_request request;

	blk_request_init(&request, type, sector, length);
	memset(request.writable, CANARY, request.writable_length);
	blk_queue(disk, &request);
	blk_finish(disk, &request);
	CHECK_EQUAL(blk_status(&request), BLK_IOERR);
	for (uint32_t i = 0; i + 1 < request.writable_length; i++)
		CHECK_EQUAL(request.writable[i], CANARY);
	CHECK_EQUAL(request.used_length, type == BLK_OUT ? 1 : 0);
}

static void out_of_range(struct blk *disk)
{
	const struct {
		uint64_t sector;
		uint32_t sectors;
	} ranges[] = {
		{ disk->capacity, 1 }, { disk->capacity - 1, 2 }, { disk->capacity + 1, 1 },
		{ 1ull << 55, 1 },     { (1ull << 55) - 1, 2 },   { ~0ull, 1 },
		{ ~0ull - 1, 2 },      { ~0ull - 7, 16 },         { 1ull << 63, 1 },
	};

	blk_start(disk, 0);
	for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		test_context("sector 0x%lx, count %u", ranges[i].sector, ranges[i].sectors);
		check_refused(disk, BLK_IN, ranges[i].sector, ranges[i].sectors * SECTOR_SIZE);
		check_refused(disk, BLK_OUT, ranges[i].sector, ranges[i].sectors * SECTOR_SIZE);
	}
	blk_check(disk, blk_read(disk, 0, 1), 0, 1, false);
}

static void bad_length(struct blk *disk)
{
	static const uint32_t lengths[] = { 1, 511, 513, 1023 };
	uint64_t sector = blk_scratch(disk) + 8;

	blk_start(disk, 0);
	if (!list_has(option("disk", "rw"), "ro"))
		blk_write(disk, sector, 4, true);
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		test_context("length %u", lengths[i]);
		check_refused(disk, BLK_IN, 0, lengths[i]);
		check_refused(disk, BLK_OUT, sector, lengths[i]);
	}
	test_context(NULL);
	if (!list_has(option("disk", "rw"), "ro"))
		blk_check(disk, blk_read(disk, sector, 4), sector, 4, true);
}

/* No data is 0 sectors: the text leaves the outcome open, but there must be one. */
static void no_data(struct blk *disk)
{
	static const uint32_t types[] = { BLK_IN, BLK_OUT };
	struct blk_request request;

	blk_start(disk, 0);
	for (unsigned i = 0; i < 2; i++) {
		uint8_t outcome;

		test_context("type %u", types[i]);
		outcome = blk_run(disk, &request, types[i], 0, 0);
		CHECK(outcome == BLK_OK || outcome == BLK_IOERR);
		CHECK_EQUAL(request.used_length, 1);
	}
	blk_check(disk, blk_read(disk, 0, 1), 0, 1, false);
}

static void unknown_types(struct blk *disk)
{
	static const uint32_t types[] = {
		2,
		3,
		5,
		7,
		9,
		BLK_GET_LIFETIME,
		12,
		15,
		16,
		18,
		20,
		22,
		24,
		26,
		27,
		31,
		BLK_DISCARD,
		BLK_WRITE_ZEROES,
		BLK_SECURE_ERASE,
		0x80000000,
		0x80000001,
		0xffffffff,
	};
	struct blk_request request;

	blk_start(disk, 0);
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		test_context("type 0x%x", types[i]);
		CHECK_EQUAL(blk_run(disk, &request, types[i], 0, SECTOR_SIZE), BLK_UNSUPP);
		CHECK_EQUAL(request.used_length, request.writable_length == 1 ? 1 : 0);
		CHECK_EQUAL(blk_run(disk, &request, types[i], 0, 0), BLK_UNSUPP);
		CHECK_EQUAL(request.used_length, 1);
	}
	blk_check(disk, blk_read(disk, 0, 1), 0, 1, false);
}

static void reserved_ignored(struct blk *disk)
{
	static const uint32_t values[] = { 1, 0x80000000, 0xffffffff };
	struct blk_request request;

	blk_start(disk, 0);
	for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		blk_request_init(&request, BLK_IN, 5, SECTOR_SIZE);
		memcpy(request.readable + 4, &values[i], sizeof(values[i]));
		blk_queue(disk, &request);
		blk_finish(disk, &request);
		CHECK_EQUAL(blk_status(&request), BLK_OK);
		blk_check(disk, blk_data(&request), 5, 1, false);
	}
}

static void large(struct blk *disk)
{
	const uint64_t *data;
	uint32_t sectors =
		disk->capacity < LARGE_SECTORS ? (uint32_t)disk->capacity : LARGE_SECTORS;

	blk_start(disk, 0);
	data = blk_read(disk, 0, sectors);
	for (uint32_t i = 0; i < sectors; i += sectors / 16)
		blk_check(disk, data + i * SECTOR_WORDS, i, 1, false);
	blk_check(disk, data + (sectors - 1) * SECTOR_WORDS, sectors - 1, 1, false);
}

/* What the device is to write it does not read: whatever stood there, the result is the same. */
static void writable_not_read(struct blk *disk)
{
	static const uint32_t types[] = { BLK_IN, 2 };
	static const uint8_t poisons[] = { 0, 0xff, BLK_GET_ID };
	uint8_t first[SECTOR_SIZE + 1];
	struct blk_request request;

	blk_start(disk, 0);
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		for (unsigned j = 0; j < sizeof(poisons); j++) {
			test_context("type %u, poison 0x%x", types[i], poisons[j]);
			blk_request_init(&request, types[i], 3, SECTOR_SIZE);
			memset(request.writable, poisons[j], request.writable_length);
			blk_queue(disk, &request);
			blk_finish(disk, &request);
			if (j == 0)
				memcpy(first, request.writable, sizeof(first));
			CHECK_EQUAL(blk_status(&request), first[SECTOR_SIZE]);
			if (types[i] == BLK_IN)
				CHECK_EQUAL(memcmp(request.writable, first, SECTOR_SIZE), 0);
		}
	}
}

/* A chain with nothing to read, so no header: it fails as a request, and the queue goes on. */
static void no_header(struct blk *disk)
{
	uint8_t *status = heap_alloc(1, 1);
	struct virtq_buffer piece = { status, 1, true };
	struct blk_request request = { .writable = status, .writable_length = 1 };

	blk_start(disk, 0);
	*status = BLK_UNWRITTEN;
	request.head = virtq_add(&disk->queue, &piece, 1);
	virtq_publish(&disk->queue, request.head);
	blk_finish(disk, &request);
	CHECK_EQUAL(blk_status(&request), BLK_IOERR);
	CHECK_EQUAL(request.used_length, 1);
	blk_check(disk, blk_read(disk, 0, 1), 0, 1, false);
}

/* One data segment as long as the device says, or the whole disk; and one a little longer. */
static void longest_segment(struct blk *disk)
{
	uint64_t size_max = blk_config(disk, BLK_SIZE_MAX, 4);
	uint32_t longest = (uint32_t)disk->capacity * SECTOR_SIZE, middle;
	struct blk_request request;
	uint8_t outcome;

	if (size_max && size_max < longest)
		longest = (uint32_t)(size_max - size_max % SECTOR_SIZE);
	CHECK(longest >= SECTOR_SIZE);
	blk_start(disk, FEATURE(F_BLK_SIZE_MAX));
	CHECK_EQUAL(blk_run(disk, &request, BLK_IN, 0, longest), BLK_OK);
	CHECK_EQUAL(request.used_length, longest + 1);
	middle = longest / SECTOR_SIZE / 2 - 1;
	blk_check(disk, blk_data(&request) + middle * SECTOR_WORDS, middle, 1, false);
	heap_reset();
	blk_start(disk, FEATURE(F_BLK_SIZE_MAX));
	outcome = blk_run(disk, &request, BLK_IN, 0, longest + SECTOR_SIZE);
	CHECK(outcome == BLK_OK || outcome == BLK_IOERR);
	blk_check_alive(disk);
}

/* A byte before, between and after everything that the device may write keeps its value. */
static void canaries(struct blk *disk)
{
	uint8_t *memory = heap_alloc(3 * PAGE_SIZE, PAGE_SIZE);
	uint8_t *header = memory + 64, *data = memory + PAGE_SIZE + 8, *status = data + 1024;
	struct virtq_buffer pieces[] = {
		{ header, BLK_HEADER_SIZE, false },
		{ data, SECTOR_SIZE, true },
		{ status, 1, true },
	};
	uint64_t sector = 3;

	blk_start(disk, 0);
	memset(memory, CANARY, 3 * PAGE_SIZE);
	memset(header, 0, BLK_HEADER_SIZE);
	memcpy(header + 8, &sector, sizeof(sector));
	virtq_publish(&disk->queue, virtq_add(&disk->queue, pieces, 3));
	virtq_kick(&disk->queue);
	CHECK(WAIT_UNTIL(PATIENCE_MS, virtq_has_used(&disk->queue)));
	CHECK_EQUAL(*status, BLK_OK);
	blk_check(disk, (uint64_t *)data, sector, 1, false);
	*status = CANARY;
	memset(data, CANARY, SECTOR_SIZE);
	CHECK_EQUAL(memcmp(header + 8, &sector, sizeof(sector)), 0);
	memset(header, CANARY, BLK_HEADER_SIZE);
	for (uint32_t i = 0; i < 3 * PAGE_SIZE / 8; i++)
		if (((uint64_t *)memory)[i] != CANARY * 0x0101010101010101u)
			CHECK_EQUAL(((uint64_t *)memory)[i], CANARY * 0x0101010101010101u);
}

static void read_only(struct blk *disk)
{
	for (unsigned accepted = 0; accepted < 2; accepted++) {
		test_context(accepted ? "RO accepted" : "RO not accepted");
		blk_start(disk, accepted ? FEATURE(F_BLK_RO) : 0);
		CHECK_EQUAL(disk->device.features >> F_BLK_RO & 1, accepted);
		check_refused(disk, BLK_OUT, 0, SECTOR_SIZE);
		check_refused(disk, BLK_OUT, disk->capacity - 1, SECTOR_SIZE);
		blk_check(disk, blk_read(disk, 0, 1), 0, 1, false);
	}
}

static void check_disk(struct blk *disk)
{
	test_context("disk %u", disk->number);
	blk_check(disk, blk_read(disk, 11, 2), 11, 2, false);
}

/* Two disks live at once: each has its own contents and its own vectors. */
static void two_disks(struct blk *disk)
{
	unsigned count;
	struct blk *other = blk_disks(&count) + 1;

	blk_quiesce(other);
	blk_start(disk, 0);
	blk_start(other, 0);
	for (unsigned i = 0; i < 8; i++) {
		check_disk(disk);
		blk_check_interrupts(disk, ENTRY_QUEUE, i + 1);
		blk_check_interrupts(other, ENTRY_QUEUE, i);
		check_disk(other);
		blk_check_interrupts(other, ENTRY_QUEUE, i + 1);
	}
	virtio_reset(&disk->device);
	check_disk(other);
	blk_quiesce(other);
}

/*
 * What the runner finds on the image afterwards: the complement of the pattern, and this
 * much of it.
 */
static void final_pattern(struct blk *disk)
{
	struct blk_request request;
	uint64_t sector = disk->capacity - FINAL_SECTORS;

	blk_start(disk, FEATURE(F_BLK_FLUSH));
	blk_write(disk, sector, FINAL_SECTORS, true);
	if (disk->device.features & FEATURE(F_BLK_FLUSH))
		CHECK_EQUAL(blk_run(disk, &request, BLK_FLUSH, 0, 0), BLK_OK);
}

const struct test blk_tests[] = {
	{ "blk/capacity", capacity, "BLK-02 GEN-27", NEEDS_NOTHING },
	{ "blk/config-values", config_values, "BLK-01 BLK-07 BLK-13 PCI-23", NEEDS_NOTHING },
	{ "blk/topology", topology, "BLK-08", NEEDS_NOTHING },
	{ "blk/config-zeros", config_zeros, "BLK-03 BLK-12", NEEDS_NOTHING },
	{ "blk/read", read, "BLK-20 BLK-21 BLK-25 BLK-27", NEEDS_NOTHING },
	{ "blk/write", write_and_read_back, "BLK-21 BLK-25 BLK-27", NEEDS_WRITABLE },
	{ "blk/last-sector", last_sector, "BLK-26", NEEDS_WRITABLE },
	{ "blk/flush", flush, "BLK-27 BLK-29", NEEDS_FLUSH },
	{ "blk/get-id", get_id, "BLK-27 BLK-35 BLK-36 BLK-46", NEEDS_NOTHING },
	{ "blk/out-of-range", out_of_range, "BLK-26 BLK-27 SPLIT-23 SPLIT-24 HOST-63",
	  NEEDS_NOTHING },
	{ "blk/bad-length", bad_length, "BLK-25 BLK-27", NEEDS_NOTHING },
	{ "blk/no-data", no_data, "BLK-25", NEEDS_NOTHING },
	{ "blk/unknown-types", unknown_types, "BLK-22 BLK-47 BLK-61 LEGBLK-03", NEEDS_NOTHING },
	{ "blk/reserved-ignored", reserved_ignored, "BLK-23", NEEDS_NOTHING },
	{ "blk/large", large, "BLK-25", NEEDS_NOTHING },
	{ "blk/writable-not-read", writable_not_read, "SPLIT-08 PACKED-11", NEEDS_NOTHING },
	{ "blk/no-header", no_header, "HOST-60", NEEDS_NOTHING },
	{ "blk/longest-segment", longest_segment, "BLK-04", NEEDS_NOTHING },
	{ "blk/canaries", canaries, "SPLIT-07 PACKED-10 BLK-25", NEEDS_NOTHING },
	{ "blk/read-only", read_only, "BLK-28", NEEDS_READ_ONLY },
	{ "blk/two-disks", two_disks, "BLK-49", NEEDS_TWO_DISKS },
	{ "blk/final-pattern", final_pattern, "BLK-21", NEEDS_WRITABLE },
	{ NULL, NULL, NULL, 0 },
};
