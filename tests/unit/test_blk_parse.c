// SPDX-License-Identifier: BSD-2-Clause
#include "devices/blk_parse.h"

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <string.h>

#include "hw/base/util.h"
#include "tests/unit/unit.h"
#include "tests/unit/vq-driver.h"
#include "virtio/feature.h"

#define SECTORS 8
#define HEADER 16
#define AREA 8192

/* Where the two parts of a request stand; only some of it is used. */
static uint8_t readable[AREA], writable[AREA];
static struct iovec iov[VIRTQUEUE_CHAIN_MAX];
static struct virtqueue_chain chain;
static struct virtio_blk_discard_write_zeroes segment_room[BLK_SEGMENTS_MAX];
static struct blk_command command = { .segment = segment_room };
static uint64_t features = /* accepted */
	VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_BLK_F_FLUSH);

static void put_header(uint32_t type, uint64_t sector)
{
	const struct virtio_blk_outhdr header = {
		.type = type, .ioprio = 0xdeadbeef, .sector = sector,
	};

	memcpy(readable, &header, sizeof(header));
}

static void add_part(uint8_t *base, uint64_t len, bool is_writable)
{
	if (!len)
		return;
	iov[chain.readable + chain.writable] = (struct iovec){ base, len };
	if (is_writable) {
		chain.writable++;
		chain.writable_len += len;
	} else {
		chain.readable++;
		chain.readable_len += len;
	}
}

/* A request cut as little as can be. */
static void whole(uint64_t readable_len, uint64_t writable_len)
{
	chain = (struct virtqueue_chain){ .iov = iov };
	add_part(readable, readable_len, false);
	add_part(writable, writable_len, true);
}

static void parse(bool read_only)
{
	const struct blk_limits limits = {
		.sectors = SECTORS, .read_only = read_only, .serial = "serial",
		.features = features,
	};

	memset(&command, 0xaa, sizeof(command));
	command.segment = segment_room;
	blk_parse(&command, &chain, &limits);
}

/* Does the command's data cover these bytes, in order, without empty parts? */
static bool data_is(const uint8_t *base, uint64_t len)
{
	if (command.len != len)
		return false;
	for (unsigned i = 0; i < command.iov_count; i++) {
		if (command.iov[i].iov_base != base || command.iov[i].iov_len == 0)
			return false;
		base += command.iov[i].iov_len;
		len -= command.iov[i].iov_len;
	}
	return len == 0;
}

/* --- What is asked for --- */

#define IN VIRTIO_BLK_T_IN
#define OUT VIRTIO_BLK_T_OUT
#define FLUSH VIRTIO_BLK_T_FLUSH
#define GET_ID VIRTIO_BLK_T_GET_ID
#define OK VIRTIO_BLK_S_OK
#define IOERR VIRTIO_BLK_S_IOERR
#define UNSUPP VIRTIO_BLK_S_UNSUPP

static const struct {
	const char *what;
	uint32_t type;
	uint64_t sector, readable, writable; /* lengths */
	enum blk_action action;
	uint8_t result;   /* with BLK_DONE */
	uint32_t written;
	bool read_only;
} requests[] = {
	{ "read", IN, 0, 16, 513, BLK_READ, 0, 0, false },
	{ "read the last", IN, 7, 16, 513, BLK_READ, 0, 0, false },
	{ "read all", IN, 0, 16, 4097, BLK_READ, 0, 0, false },
	{ "read from read-only", IN, 0, 16, 513, BLK_READ, 0, 0, true },
	{ "read nothing", IN, 0, 16, 1, BLK_DONE, OK, 0, false },
	{ "read nothing at the end", IN, 8, 16, 1, BLK_DONE, OK, 0, false },
	{ "read nothing beyond", IN, 9, 16, 1, BLK_DONE, IOERR, 0, false },
	{ "read 511", IN, 0, 16, 512, BLK_DONE, IOERR, 0, false },
	{ "read 1", IN, 0, 16, 2, BLK_DONE, IOERR, 0, false },
	{ "read 513", IN, 0, 16, 514, BLK_DONE, IOERR, 0, false },
	{ "read beyond", IN, 8, 16, 513, BLK_DONE, IOERR, 0, false },
	{ "read across the end", IN, 7, 16, 1025, BLK_DONE, IOERR, 0, false },
	{ "read more than all", IN, 0, 16, 4609, BLK_DONE, IOERR, 0, false },
	{ "read at 2^64-1", IN, UINT64_MAX, 16, 513, BLK_DONE, IOERR, 0, false },
	{ "read at 2^64-1, two", IN, UINT64_MAX, 16, 1025, BLK_DONE, IOERR, 0, false },
	{ "read at 2^55", IN, 1ULL << 55, 16, 513, BLK_DONE, IOERR, 0, false },
	{ "read at 2^55+1", IN, (1ULL << 55) + 1, 16, 513, BLK_DONE, IOERR, 0, false },
	{ "read at 2^32", IN, 1ULL << 32, 16, 513, BLK_DONE, IOERR, 0, false },
	{ "read at 2^63", IN, 1ULL << 63, 16, 513, BLK_DONE, IOERR, 0, false },
	{ "read with data to read", IN, 0, 16 + 512, 513, BLK_READ, 0, 0, false },

	{ "write", OUT, 0, 16 + 512, 1, BLK_WRITE, 0, 0, false },
	{ "write the last", OUT, 7, 16 + 512, 1, BLK_WRITE, 0, 0, false },
	{ "write all", OUT, 0, 16 + 4096, 1, BLK_WRITE, 0, 0, false },
	{ "write nothing", OUT, 0, 16, 1, BLK_DONE, OK, 0, false },
	{ "write 511", OUT, 0, 16 + 511, 1, BLK_DONE, IOERR, 0, false },
	{ "write 513", OUT, 0, 16 + 513, 1, BLK_DONE, IOERR, 0, false },
	{ "write beyond", OUT, 8, 16 + 512, 1, BLK_DONE, IOERR, 0, false },
	{ "write across the end", OUT, 7, 16 + 1024, 1, BLK_DONE, IOERR, 0, false },
	{ "write at 2^64-1", OUT, UINT64_MAX, 16 + 512, 1, BLK_DONE, IOERR, 0, false },
	{ "write at 2^55", OUT, 1ULL << 55, 16 + 512, 1, BLK_DONE, IOERR, 0, false },
	{ "write with room", OUT, 0, 16 + 512, 513, BLK_WRITE, 0, 0, false },
	{ "write to read-only", OUT, 0, 16 + 512, 1, BLK_DONE, IOERR, 0, true },
	{ "write nothing to read-only", OUT, 0, 16, 1, BLK_DONE, IOERR, 0, true },

	{ "flush", FLUSH, 0, 16, 1, BLK_FLUSH, 0, 0, false },
	{ "flush anywhere", FLUSH, UINT64_MAX, 16, 1, BLK_FLUSH, 0, 0, false },
	{ "flush with data", FLUSH, 0, 16 + 100, 100, BLK_FLUSH, 0, 0, false },
	{ "flush read-only", FLUSH, 0, 16, 1, BLK_FLUSH, 0, 0, true },

	{ "id", GET_ID, 0, 16, 21, BLK_DONE, OK, 20, false },
	{ "id anywhere", GET_ID, UINT64_MAX, 16, 21, BLK_DONE, OK, 20, true },
	{ "id of 0", GET_ID, 0, 16, 1, BLK_DONE, OK, 0, false },
	{ "id of 1", GET_ID, 0, 16, 2, BLK_DONE, OK, 1, false },
	{ "id of 19", GET_ID, 0, 16, 20, BLK_DONE, OK, 19, false },
	{ "id of 21", GET_ID, 0, 16, 22, BLK_DONE, OK, 20, false },
	{ "id of 512", GET_ID, 0, 16, 513, BLK_DONE, OK, 20, false },

	{ "header of 15", IN, 0, 15, 513, BLK_DONE, IOERR, 0, false },
	{ "header of 1", IN, 0, 1, 513, BLK_DONE, IOERR, 0, false },
	{ "no header", IN, 0, 0, 513, BLK_DONE, IOERR, 0, false },
	{ "no status", IN, 0, 16, 0, BLK_NO_STATUS, 0, 0, false },
	{ "write without status", OUT, 0, 16 + 512, 0, BLK_NO_STATUS, 0, 0, false },
	{ "nothing", IN, 0, 0, 0, BLK_NO_STATUS, 0, 0, false },
	{ "status alone", IN, 0, 0, 1, BLK_DONE, IOERR, 0, false },

	{ "type 2", 2, 0, 16 + 512, 513, BLK_DONE, UNSUPP, 0, false },
	{ "type 3", 3, 0, 16 + 512, 513, BLK_DONE, UNSUPP, 0, false },
	{ "type 5", 5, 0, 16 + 512, 513, BLK_DONE, UNSUPP, 0, false },
	{ "type 7", 7, 0, 16 + 512, 513, BLK_DONE, UNSUPP, 0, false },
	{ "type 9", 9, 0, 16 + 512, 513, BLK_DONE, UNSUPP, 0, false },
	{ "lifetime", 10, 0, 16, 7, BLK_DONE, UNSUPP, 0, false },
	{ "discard", 11, 0, 16 + 16, 1, BLK_DONE, UNSUPP, 0, false },
	{ "write zeroes", 13, 0, 16 + 16, 1, BLK_DONE, UNSUPP, 0, false },
	{ "secure erase", 14, 0, 16 + 16, 1, BLK_DONE, UNSUPP, 0, false },
	{ "zone append", 15, 0, 16 + 512, 9, BLK_DONE, UNSUPP, 0, false },
	{ "write, old barrier bit", 0x80000001, 0, 16 + 512, 1, BLK_DONE, UNSUPP, 0, false },
	{ "type 2^32-1", UINT32_MAX, 0, 16, 1, BLK_DONE, UNSUPP, 0, false },
};

/*
 * Rows: BLK-20, BLK-21, BLK-22, BLK-23, BLK-25, BLK-26, BLK-28, BLK-29,
 * BLK-35, BLK-46, BLK-47, BLK-61
 */
START_TEST(each_request)
{
	for (unsigned i = 0; i < array_size(requests); i++) {
		uint64_t sector = requests[i].sector;

		memset(readable, 0x5a, sizeof(readable));
		memset(writable, 0xa5, sizeof(writable));
		put_header(requests[i].type, sector);
		whole(requests[i].readable, requests[i].writable);
		parse(requests[i].read_only);
		ck_assert_msg(command.action == requests[i].action, "%s: action %d",
			      requests[i].what, command.action);
		if (command.action == BLK_NO_STATUS)
			continue;
		ck_assert_msg(command.status == writable + requests[i].writable - 1,
			      "%s: status byte", requests[i].what);
		if (command.action == BLK_DONE) {
			ck_assert_msg(command.result == requests[i].result, "%s: result %u",
				      requests[i].what, command.result);
			ck_assert_msg(command.written == requests[i].written, "%s: written %u",
				      requests[i].what, command.written);
		}
		if (command.action == BLK_READ)
			ck_assert_msg(command.offset == sector * 512 &&
				      data_is(writable, requests[i].writable - 1),
				      "%s: data", requests[i].what);
		if (command.action == BLK_WRITE)
			ck_assert_msg(command.offset == sector * 512 &&
				      data_is(readable + HEADER, requests[i].readable - HEADER),
				      "%s: data", requests[i].what);
		/* The header is not the device's to write, nor is what it did not claim. */
		for (unsigned n = HEADER; n < AREA; n++)
			must(readable[n] == 0x5a);
		for (unsigned n = requests[i].type == GET_ID ? command.written : 0; n < AREA; n++)
			must(writable[n] == 0xa5);
	}
}
END_TEST

/* BLK-22, BLK-34 */
/* Rows: BLK-22 */
START_TEST(flush_not_negotiated)
{
	put_header(FLUSH, 0);
	whole(HEADER, 1);
	features = 0;
	parse(false);
	ck_assert_int_eq(command.action, BLK_DONE);
	ck_assert_int_eq(command.result, UNSUPP);
}
END_TEST

/* Rows: LEGBLK-02, LEGBLK-03 */
START_TEST(legacy_types)
{
	static const uint32_t unknown[] = { 2, 3, 0x80000000, 0x80000001, 0x80000005 };

	features = VIRTIO_BIT(VIRTIO_BLK_F_FLUSH);
	put_header(5, 0);
	whole(HEADER, 1);
	parse(false);
	ck_assert_int_eq(command.action, BLK_FLUSH);
	for (unsigned i = 0; i < array_size(unknown); i++) {
		put_header(unknown[i], 0);
		whole(HEADER + 512, 1);
		parse(false);
		ck_assert_int_eq(command.action, BLK_DONE);
		ck_assert_int_eq(command.result, UNSUPP);
	}
	features = 0;
	put_header(5, 0);
	whole(HEADER, 1);
	parse(false);
	ck_assert_int_eq(command.action, BLK_DONE);
	ck_assert_int_eq(command.result, UNSUPP);
}
END_TEST

/* Lengths and places that are far from 32 bits; no byte of the data is touched. */
/* Rows: SPLIT-18, BLK-26 */
START_TEST(long_transfers)
{
	static const struct {
		uint64_t sectors, sector, len;
		bool good;
	} table[] = {
		{ UINT64_MAX / 512, 0, 0xfffffe00, true },
		{ UINT64_MAX / 512, UINT64_MAX / 512 - 0x7fffff, 0xfffffe00, true },
		{ UINT64_MAX / 512, UINT64_MAX / 512 - 0x7ffffe, 0xfffffe00, false },
		{ UINT64_MAX / 512, UINT64_MAX / 512, 512, false },
		{ UINT64_MAX / 512, 1ULL << 55, 512, false },
		/* What the used length cannot tell. */
		{ UINT64_MAX / 512, 0, 0x100000000, false },
		{ UINT64_MAX / 512, 0, 0x100000200, false },
		{ 0x7fffff, 0, 0xfffffe00, true },
		{ 0x7ffffe, 0, 0xfffffe00, false },
	};

	for (unsigned i = 0; i < array_size(table); i++)
		for (unsigned out = 0; out < 2; out++) {
			const struct blk_limits limits = { table[i].sectors, false, "", 0 };
			bool good = table[i].good && table[i].len + HEADER * out <= UINT32_MAX;

			put_header(out ? OUT : IN, table[i].sector);
			whole(HEADER, 0);
			if (out)
				add_part(readable, table[i].len, false);
			else
				add_part(readable, table[i].len, true);
			add_part(writable, 1, true);
			blk_parse(&command, &chain, &limits);
			if (good) {
				ck_assert_int_eq(command.action, out ? BLK_WRITE : BLK_READ);
				ck_assert_uint_eq(command.len, table[i].len);
				ck_assert_uint_eq(command.offset, table[i].sector * 512);
			} else {
				ck_assert_int_eq(command.action, BLK_DONE);
				ck_assert_int_eq(command.result, IOERR);
			}
		}
}
END_TEST

/* --- Discard and write zeroes (BLK-28, BLK-37 to BLK-40, HOST-66) --- */

#define DISCARD VIRTIO_BLK_T_DISCARD
#define ZEROES VIRTIO_BLK_T_WRITE_ZEROES
#define RANGES (VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES))
#define SEGMENT_MAX BLK_SEGMENT_SECTORS_MAX

static const struct {
	const char *what;
	uint32_t type;
	struct virtio_blk_discard_write_zeroes segment[2];
	unsigned len;
	int result; /* OK: it is to be done */
	bool read_only;
} ranges[] = {
	{ "one", DISCARD, { { 0, 8, 0 } }, 16, OK, false },
	{ "two", DISCARD, { { 0, 1, 0 }, { 7, 1, 0 } }, 32, OK, false },
	{ "unmap", DISCARD, { { 0, 8, 1 } }, 16, UNSUPP, false },
	{ "flag 2", DISCARD, { { 0, 8, 2 } }, 16, UNSUPP, false },
	{ "flag 31", DISCARD, { { 0, 8, 1U << 31 } }, 16, UNSUPP, false },
	{ "one", ZEROES, { { 0, 8, 0 } }, 16, OK, false },
	{ "unmap", ZEROES, { { 0, 8, 1 } }, 16, OK, false },
	{ "flag 2", ZEROES, { { 0, 8, 2 } }, 16, UNSUPP, false },
	{ "flag 2 and unmap", ZEROES, { { 0, 8, 3 } }, 16, UNSUPP, false },
	{ "flag 31", ZEROES, { { 0, 8, 1U << 31 } }, 16, UNSUPP, false },
	{ "flag in the second", ZEROES, { { 0, 8, 1 }, { 0, 8, 4 } }, 32, UNSUPP, false },
	{ "none", ZEROES, { { 0, 8, 0 } }, 0, IOERR, false },
	{ "15 bytes", ZEROES, { { 0, 8, 0 } }, 15, IOERR, false },
	{ "17 bytes", DISCARD, { { 0, 8, 0 } }, 17, IOERR, false },
	{ "31 bytes", DISCARD, { { 0, 8, 0 } }, 31, IOERR, false },
	{ "no sectors", ZEROES, { { 3, 0, 0 } }, 16, OK, false },
	{ "no sectors at the end", ZEROES, { { 8, 0, 0 } }, 16, OK, false },
	{ "no sectors beyond", ZEROES, { { 9, 0, 0 } }, 16, IOERR, false },
	{ "beyond", DISCARD, { { 8, 1, 0 } }, 16, IOERR, false },
	{ "across the end", DISCARD, { { 7, 2, 0 } }, 16, IOERR, false },
	{ "second beyond", DISCARD, { { 0, 8, 0 }, { 8, 1, 0 } }, 32, IOERR, false },
	{ "2^32-1", DISCARD, { { 0, UINT32_MAX, 0 } }, 16, IOERR, false },
	{ "limit + 1", ZEROES, { { 0, SEGMENT_MAX + 1, 0 } }, 16, IOERR, false },
	{ "at 2^64-1", ZEROES, { { UINT64_MAX, 1, 0 } }, 16, IOERR, false },
	{ "at 2^64-1, two", ZEROES, { { UINT64_MAX, 2, 0 } }, 16, IOERR, false },
	{ "at 2^55", DISCARD, { { 1ULL << 55, 1, 0 } }, 16, IOERR, false },
	{ "read-only", DISCARD, { { 0, 8, 0 } }, 16, IOERR, true },
	{ "read-only", ZEROES, { { 0, 8, 0 } }, 16, IOERR, true },
};

static void put_ranges(uint32_t type, const void *segments, unsigned len)
{
	memset(readable, 0, sizeof(readable));
	/* The sector of the header means nothing (BLK-46). */
	put_header(type, UINT64_MAX - 5);
	memcpy(readable + HEADER, segments, len);
	whole(HEADER + len, 1);
}

/* Rows: BLK-22, BLK-28, BLK-37, BLK-38, BLK-39, BLK-46 */
START_TEST(each_range)
{
	for (unsigned i = 0; i < array_size(ranges); i++) {
		uint64_t bit = VIRTIO_BIT(ranges[i].type == DISCARD ? VIRTIO_BLK_F_DISCARD :
					  VIRTIO_BLK_F_WRITE_ZEROES);

		put_ranges(ranges[i].type, ranges[i].segment, ranges[i].len);
		features = RANGES;
		parse(ranges[i].read_only);
		if (ranges[i].result == OK) {
			ck_assert_msg(command.action == (ranges[i].type == DISCARD ? BLK_DISCARD :
							 BLK_WRITE_ZEROES), "%s", ranges[i].what);
			ck_assert_uint_eq(command.segment_count, ranges[i].len / 16);
			ck_assert_mem_eq(command.segment, ranges[i].segment, ranges[i].len);
		} else {
			ck_assert_msg(command.action == BLK_DONE &&
				      command.result == ranges[i].result, "%s: %u",
				      ranges[i].what, command.result);
		}
		/* One feature does not stand for the other. */
		put_ranges(ranges[i].type, ranges[i].segment, ranges[i].len);
		features = RANGES & ~bit;
		parse(ranges[i].read_only);
		ck_assert_int_eq(command.action, BLK_DONE);
		ck_assert_int_eq(command.result, UNSUPP);
	}
	features = VIRTIO_BIT(VIRTIO_BLK_F_FLUSH);
}
END_TEST

/* As many segments as there may be, in parts of any size; and one more. */
/* Rows: BLK-39 */
START_TEST(many_ranges)
{
	struct virtio_blk_discard_write_zeroes given[BLK_SEGMENTS_MAX + 1];

	features = RANGES;
	for (unsigned i = 0; i < array_size(given); i++)
		given[i] = (struct virtio_blk_discard_write_zeroes){ i % 8, i % 2, (i / 2) % 2 };
	for (unsigned count = 1; count <= array_size(given); count++)
		for (unsigned size = 3; size < 600; size += 7) {
			unsigned len = HEADER + 16 * count;

			put_ranges(ZEROES, given, 16 * count);
			chain = (struct virtqueue_chain){ .iov = iov };
			for (unsigned at = 0; at < len; at += size)
				add_part(readable + at, min(size, len - at), false);
			add_part(writable, 1, true);
			parse(false);
			if (count > BLK_SEGMENTS_MAX) {
				must(command.action == BLK_DONE && command.result == IOERR);
			} else {
				must(command.action == BLK_WRITE_ZEROES &&
				     command.segment_count == count &&
				     !memcmp(command.segment, given, 16 * count));
			}
		}
	features = VIRTIO_BIT(VIRTIO_BLK_F_FLUSH);
}
END_TEST

/* HOST-22, HOST-64: one part outside RAM fails all of it, wherever it is. */
START_TEST(parts_outside_ram)
{
	static const uint32_t types[] = { IN, OUT, FLUSH, GET_ID };

	for (unsigned t = 0; t < array_size(types); t++)
		for (unsigned bad = 0; bad < 4; bad++) {
			put_header(types[t], 0);
			whole(HEADER, 0);
			add_part(readable + HEADER, 512, false);
			add_part(writable, 512, true);
			add_part(writable + 512, 1, true);
			iov[bad].iov_base = NULL;
			chain.bad = true;
			memset(writable, 0xa5, sizeof(writable));
			parse(false);
			if (bad == 3) {
				ck_assert_int_eq(command.action, BLK_NO_STATUS);
			} else {
				ck_assert_int_eq(command.action, BLK_DONE);
				ck_assert_int_eq(command.result, IOERR);
				ck_assert_uint_eq(command.written, 0);
				ck_assert_ptr_eq(command.status, writable + 512);
			}
			for (unsigned n = 0; n < AREA; n++)
				must(writable[n] == 0xa5);
		}
}
END_TEST

/* Every length of buffer, in parts. */
/* Rows: BLK-27, BLK-35, BLK-36 */
START_TEST(id_in_parts)
{
	static const char *const serials[] = { "", "short", "exactly-twenty-bytes" };

	for (unsigned s = 0; s < array_size(serials); s++)
		for (unsigned len = 0; len <= 64; len++) {
			const struct blk_limits limits = { 1, true, serials[s], 0 };
			char expected[20] = { 0 };
			unsigned written = min(len, 20U);

			memcpy(expected, serials[s], strlen(serials[s]));
			memset(writable, 0xa5, sizeof(writable));
			put_header(GET_ID, 0);
			whole(HEADER, 0);
			/* In parts of 7 bytes, the status in one of them. */
			for (unsigned at = 0; at < len + 1; at += 7)
				add_part(writable + at, min(7U, len + 1 - at), true);
			blk_parse(&command, &chain, &limits);
			ck_assert_int_eq(command.action, BLK_DONE);
			ck_assert_int_eq(command.result, OK);
			ck_assert_uint_eq(command.written, written);
			ck_assert_ptr_eq(command.status, writable + len);
			ck_assert_mem_eq(writable, expected, written);
			for (unsigned n = written; n < AREA; n++)
				must(writable[n] == 0xa5);
		}
}
END_TEST

/* --- Framing (section 2.7.4.1, BLK-24) --- */

/* One side of a request, cut at @cut[0..@cuts), which rises. */
static void add_cut(uint8_t *base, unsigned len, bool is_writable, const unsigned *cut,
		    unsigned cuts)
{
	unsigned at = 0;

	for (unsigned i = 0; i < cuts; i++) {
		add_part(base + at, cut[i] - at, is_writable);
		at = cut[i];
	}
	add_part(base + at, len - at, is_writable);
}

static const char padded_serial[20] = "serial";

static void check_framed(uint32_t type, unsigned readable_len, unsigned writable_len)
{
	parse(false);
	must(command.status == writable + writable_len - 1);
	if (type == IN)
		must(command.action == BLK_READ && command.offset == 3 * 512 &&
		     data_is(writable, writable_len - 1));
	else if (type == OUT)
		must(command.action == BLK_WRITE && command.offset == 3 * 512 &&
		     data_is(readable + HEADER, readable_len - HEADER));
	else if (type == FLUSH)
		must(command.action == BLK_FLUSH);
	else
		must(command.action == BLK_DONE && command.result == OK &&
		     command.written == 20 && !memcmp(writable, padded_serial, 20));
}

static const struct {
	uint32_t type;
	unsigned readable, writable;
} framed[] = {
	{ IN, HEADER, 513 },
	{ OUT, HEADER + 512, 1 },
	{ OUT, HEADER + 512, 40 },
	{ FLUSH, HEADER, 1 },
	{ GET_ID, HEADER, 21 },
	{ GET_ID, HEADER + 20, 40 },
};

/* The same request, cut at every pair of places on one side. */
/* Rows: SPLIT-04, BLK-24 */
START_TEST(cut_anywhere)
{
	for (unsigned f = 0; f < array_size(framed); f++)
		for (unsigned side = 0; side < 2; side++) {
			unsigned in = framed[f].writable, out = framed[f].readable;
			unsigned len = side ? in : out;

			for (unsigned i = 0; i <= len; i++)
				for (unsigned j = i; j <= len; j++) {
					const unsigned cut[] = { i, j };

					put_header(framed[f].type, 3);
					chain = (struct virtqueue_chain){ .iov = iov };
					add_cut(readable, out, false, cut, side ? 0 : 2);
					add_cut(writable, in, true, cut, side ? 2 : 0);
					check_framed(framed[f].type, out, in);
				}
		}
}
END_TEST

/* Cut on both sides into parts of one size, down to single bytes for header and status. */
/* Rows: SPLIT-04, BLK-24 */
START_TEST(cut_evenly)
{
	for (unsigned f = 0; f < array_size(framed); f++)
		for (unsigned size = 1; size <= 600; size++) {
			chain = (struct virtqueue_chain){ .iov = iov };
			put_header(framed[f].type, 3);
			if (framed[f].readable / size + framed[f].writable / size + 2 >
			    VIRTQUEUE_CHAIN_MAX)
				continue;
			for (unsigned at = 0; at < framed[f].readable; at += size)
				add_part(readable + at, min(size, framed[f].readable - at), false);
			for (unsigned at = 0; at < framed[f].writable; at += size)
				add_part(writable + at, min(size, framed[f].writable - at), true);
			check_framed(framed[f].type, framed[f].readable, framed[f].writable);
		}
}
END_TEST

/* The longest chain of single bytes that still is a request. */
/* Rows: SPLIT-04, BLK-24 */
START_TEST(cut_into_bytes)
{
	put_header(OUT, 3);
	chain = (struct virtqueue_chain){ .iov = iov };
	for (unsigned at = 0; at < HEADER; at++)
		add_part(readable + at, 1, false);
	for (unsigned at = 0; at < 238; at++)
		add_part(readable + HEADER + at, 1, false);
	add_part(readable + HEADER + 238, 512 - 238, false);
	add_part(writable, 1, true);
	check_framed(OUT, HEADER + 512, 1);
	ck_assert_uint_eq(command.iov_count, 239);
}
END_TEST

/* --- Used length --- */

/* Rows: SPLIT-23, SPLIT-24, BLK-27 */
START_TEST(used_length)
{
	static const struct {
		uint64_t writable;
		uint64_t data;
		uint32_t used;
	} table[] = {
		{ 513, 512, 513 },  /* a read */
		{ 513, 0, 0 },      /* that failed: the status byte stands behind a gap */
		{ 1, 0, 1 },        /* a write */
		{ 100, 0, 0 },      /* with room */
		{ 21, 20, 21 },     /* an id */
		{ 20, 19, 20 },     /* short */
		{ 513, 20, 20 },    /* with room behind it */
		{ 0, 0, 0 },
		{ UINT32_MAX, UINT32_MAX - 1, UINT32_MAX },
		{ 1ULL << 32, 0, 0 },
		{ (1ULL << 32) + 1, 0, 0 },
	};

	for (unsigned i = 0; i < array_size(table); i++)
		ck_assert_uint_eq(blk_used_len(table[i].writable, table[i].data), table[i].used);
}
END_TEST

/* --- Anything --- */

START_TEST(random_requests)
{
	static const uint32_t types[] = { IN, OUT, FLUSH, GET_ID, 11, 13 };
	uint64_t state = 5;

	features |= RANGES;
	for (unsigned i = 0; i < 500000; i++) {
		chain = (struct virtqueue_chain){ .iov = iov };
		for (unsigned n = vq_random(&state, 5); n; n--)
			add_part(readable + vq_random(&state, AREA - 1024),
				 vq_random(&state, 4) ? 16 : vq_random(&state, 1024), false);
		for (unsigned n = vq_random(&state, 5); n; n--)
			add_part(writable + vq_random(&state, AREA - 1024),
				 vq_random(&state, 2) ? 512 : vq_random(&state, 1024), true);
		/* Overlapping parts: what is read must not depend on it. */
		put_header(types[vq_random(&state, array_size(types))], vq_random(&state, 10));
		parse(vq_random(&state, 2));
		switch (command.action) {
		case BLK_READ:
		case BLK_WRITE:
			must(command.len && command.len % 512 == 0 && command.iov_count &&
			     command.offset + command.len <= SECTORS * 512);
			for (unsigned n = 0; n < command.iov_count; n++)
				command.len -= command.iov[n].iov_len;
			must(command.len == 0);
			break;
		case BLK_NO_STATUS:
			must(chain.writable == 0);
			break;
		case BLK_DONE:
			must(command.written < chain.writable_len);
			break;
		case BLK_FLUSH:
			break;
		case BLK_DISCARD:
		case BLK_WRITE_ZEROES:
			must(command.segment_count && command.segment_count <= BLK_SEGMENTS_MAX);
			for (unsigned n = 0; n < command.segment_count; n++) {
				uint64_t count = command.segment[n].num_sectors;

				must(count <= SECTORS &&
				     command.segment[n].sector <= SECTORS - count);
			}
			break;
		default:
			ck_abort_msg("action %d", command.action);
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("blk_parse");

	unit_tcase(suite, "requests", each_request, flush_not_negotiated, legacy_types,
		   long_transfers, each_range,
		   many_ranges, parts_outside_ram, id_in_parts, used_length);
	unit_tcase(suite, "framing", cut_anywhere, cut_evenly, cut_into_bytes);
	unit_tcase(suite, "random", random_requests);
	return unit_run(suite);
}
