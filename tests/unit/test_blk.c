// SPDX-License-Identifier: BSD-2-Clause
#include "devices/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/blk_parse.h"
#include "hw/base/clock.h"
#include "hw/base/fence.h"
#include "hw/base/util.h"
#include "tests/unit/blk-rig.h"
#include "tests/unit/fault.h"
#include "tests/unit/files.h"
#include "tests/unit/leaks.h"
#include "tests/unit/on-thread.h"
#include "tests/unit/unit.h"

#define SECTORS 2048
#define QUEUES 4
#define SIZE (SECTORS * 512)
#define WCE offsetof(struct virtio_blk_config, wce)
#define NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET
#define ALL (RIG_EVENT | RIG_INDIRECT | RIG_FLUSH)

/* Who does the I/O. */
static const bool kinds[] = { true, false }; /* io_uring, poll(2) */

static const uint64_t feature_sets[] = {
	0, RIG_EVENT, RIG_INDIRECT, RIG_FLUSH, RIG_EVENT | RIG_INDIRECT, ALL,
	ALL | RIG_IN_ORDER, RIG_PACKED | RIG_FLUSH, ALL | RIG_PACKED,
	ALL | RIG_PACKED | RIG_IN_ORDER, ALL | RIG_RANGES,
};

static char *folder;
static struct io_thread *thread, *second; /* NULL: one serves all */
static struct blk_threads pool;
static struct blk_rig rig;
static uint64_t state;

static void setup(void)
{
	folder = files_folder();
}

static void teardown(void)
{
	files_remove(folder);
}

static uint8_t image_byte(uint64_t at)
{
	return (uint8_t)(at * 13 + at / 512);
}

static struct blk_config config_of(const char *name, size_t size, bool uring)
{
	uint8_t *bytes = malloc(size);

	for (size_t i = 0; i < size; i++)
		bytes[i] = image_byte(i);
	files_write(folder, name, bytes, size);
	free(bytes);
	return (struct blk_config){
		.disk = {
			.path = files_path(folder, name),
			.aio = uring ? DISK_AIO_IO_URING : DISK_AIO_SYNC,
		},
		.serial = "a serial",
		.queues = 1,
		.queue_size = 256,
		/* The poll(2) kind of thread is tested without. */
		.poll_max_us = uring ? BLK_POLL_US_DEFAULT : 0,
		.packed = true,
		.in_order = true,
		.discard = true,
	};
}

/* All threads have nothing to do, whatever stands in the rings. */
static void check_idle(void)
{
	struct timespec before, after;
	int64_t used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	poll(NULL, 0, 200);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	used = (after.tv_sec - before.tv_sec) * NS_PER_S + after.tv_nsec - before.tv_nsec;
	ck_assert_int_lt(used, 70 * NS_PER_MS);
}

static struct io_thread *thread_begin(bool uring)
{
	const struct io_thread_config config = {
		.name = "io-test", .queues = QUEUES, .use_uring = uring,
	};
	struct io_thread *made;

	ck_assert_int_eq(io_thread_create(&made, &config), 0);
	return made;
}

static void begin_with(const struct blk_config *config, bool uring, uint16_t size,
		       uint64_t features)
{
	static struct io_thread *both[2];

	state = size;
	thread = thread_begin(uring);
	both[0] = thread;
	both[1] = second;
	pool = (struct blk_threads){ .thread = both, .count = second ? 2 : 1 };
	rig_create_on(&rig, config, &pool, size);
	rig_prepare(&rig, features);
	rig_go(&rig);
}

static void begin(bool uring, uint16_t size, uint64_t features)
{
	const struct blk_config config = config_of("image", SIZE, uring);

	begin_with(&config, uring, size, features);
}

static void end(void)
{
	rig_stop(&rig);
	io_thread_destroy(thread);
	if (second)
		io_thread_destroy(second);
	second = NULL;
	rig_free(&rig);
}

/* The file that the disk uses is replaced by one that behaves otherwise. */
static int replace_file(struct disk *disk, int fd)
{
	int before = fcntl(disk->fd, F_DUPFD_CLOEXEC, 0);

	on_thread_replace_file(thread, disk->fd, fd);
	if (second)
		on_thread_renew_file(second, disk->fd);
	return before;
}

static const struct rig_request read_one = { .type = VIRTIO_BLK_T_IN, .in = 512 };
static const struct rig_request write_one = { .type = VIRTIO_BLK_T_OUT, .out = 512 };
static const struct rig_request flush = { .type = VIRTIO_BLK_T_FLUSH };

/* --- Requests --- */

/* Random requests of all kinds, some at once, against a copy in memory. */
static uint8_t model[SIZE];

static bool is_range(uint32_t type)
{
	return type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES;
}

/* Up to 8 segments in what a slot may touch; some that are wrong. */
static void random_segments(const struct rig_request *r, void *to)
{
	struct virtio_blk_discard_write_zeroes segment[BLK_SEGMENTS_MAX] = { 0 };

	for (unsigned i = 0; i < r->out / 16; i++) {
		segment[i].num_sectors = vq_random(&state, 16);
		segment[i].sector = (r->sector & ~31U) + vq_random(&state, 16);
		segment[i].flags = r->type == VIRTIO_BLK_T_WRITE_ZEROES && vq_random(&state, 2);
		if (vq_random(&state, 64) == 0)
			segment[i].flags ^= 1U << vq_random(&state, 32);
		if (vq_random(&state, 64) == 0)
			segment[i].sector = SECTORS - vq_random(&state, 4) + 4;
	}
	memcpy(to, segment, r->out);
}

/* What a range must come to; one that is done is done in the model, too. */
static uint8_t range_model(const struct rig_request *r, const void *data, bool read_only)
{
	struct virtio_blk_discard_write_zeroes segment[BLK_SEGMENTS_MAX];
	uint32_t allowed = r->type == VIRTIO_BLK_T_WRITE_ZEROES;

	memcpy(segment, data, r->out);
	if (!(rig.features & RIG_RANGES))
		return VIRTIO_BLK_S_UNSUPP;
	if (read_only || !r->out || r->out % 16)
		return VIRTIO_BLK_S_IOERR;
	for (unsigned i = 0; i < r->out / 16; i++) {
		if (segment[i].flags & ~allowed)
			return VIRTIO_BLK_S_UNSUPP;
		if (segment[i].sector > SECTORS ||
		    segment[i].num_sectors > SECTORS - segment[i].sector)
			return VIRTIO_BLK_S_IOERR;
	}
	/* What is discarded from a file reads as zeros. */
	for (unsigned i = 0; i < r->out / 16; i++)
		memset(model + segment[i].sector * 512, 0, segment[i].num_sectors * 512);
	return VIRTIO_BLK_S_OK;
}

static bool check_result(const struct rig_result *result, bool read_only)
{
	const struct rig_request *r = &result->request;
	const uint8_t *data = rig_data(&rig, result->slot);
	bool inside = r->sector <= SECTORS && (r->in + r->out) / 512 <= SECTORS - r->sector;
	bool whole = (r->in + r->out) % 512 == 0;

	switch (r->type) {
	case VIRTIO_BLK_T_IN:
		return result->status == (inside && whole ? 0 : 1) &&
			(result->status || !memcmp(data, model + r->sector * 512, r->in));
	case VIRTIO_BLK_T_OUT:
		if (result->status == 0)
			memcpy(model + r->sector * 512, data, r->out);
		return result->status == (inside && whole && !read_only ? 0 : 1);
	case VIRTIO_BLK_T_FLUSH:
		return result->status == (rig.features & RIG_FLUSH ? 0 : VIRTIO_BLK_S_UNSUPP);
	case VIRTIO_BLK_T_GET_ID:
		return result->status == 0 &&
			!memcmp(data, "a serial\0\0\0\0\0\0\0\0\0\0\0\0", min(r->in, 20U));
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return result->status == range_model(r, data, read_only);
	default:
		return result->status == VIRTIO_BLK_S_UNSUPP;
	}
}

/* Slots have sectors of their own, so that the order does not matter. */
static struct rig_request random_request(unsigned slot)
{
	struct rig_request r = {
		.sector = slot * 32 + vq_random(&state, 16),
		.cut = vq_random(&state, RIG_CUTS),
	};
	uint32_t len = 512 * (1 + vq_random(&state, 16));

	if (!(rig.features & RIG_INDIRECT) && r.cut == RIG_TABLE)
		r.cut = RIG_PLAIN;
	if (vq_random(&state, 16) == 0)
		len = vq_random(&state, 1024);
	if (vq_random(&state, 32) == 0)
		r.sector = vq_random(&state, 2) ? SECTORS : UINT64_MAX;
	switch (vq_random(&state, 8)) {
	case 0: r.type = VIRTIO_BLK_T_FLUSH; break;
	case 1: r.type = VIRTIO_BLK_T_GET_ID; r.in = vq_random(&state, 40); break;
	case 2: r.type = 9 + vq_random(&state, 30); r.in = vq_random(&state, 64); break;
	case 3:
		r.type = vq_random(&state, 2) ? VIRTIO_BLK_T_DISCARD : VIRTIO_BLK_T_WRITE_ZEROES;
		r.sector = slot * 32;
		r.out = vq_random(&state, 16) ? 16 * vq_random(&state, 8) : vq_random(&state, 64);
		break;
	case 4: r.type = VIRTIO_BLK_T_OUT; r.out = len; break;
	default: r.type = VIRTIO_BLK_T_IN; r.in = len; break;
	}
	return r;
}

static void random_requests(unsigned count, unsigned depth, bool read_only)
{
	unsigned added = 0, done = 0;
	struct rig_result result;

	while (done < count) {
		while (added < count && added - done < depth) {
			unsigned slot = rig_free_slot(&rig);
			struct rig_request r;
			uint8_t data[RIG_DATA];

			if (slot == RIG_SLOTS)
				break;
			r = random_request(slot);
			memset(data, (int)vq_random(&state, 256), sizeof(data));
			if (is_range(r.type))
				random_segments(&r, data);
			rig_fill(&rig, slot, data, r.out);
			if (rig_add(&rig, &r) < 0)
				break;
			added++;
			if (vq_random(&state, 3) == 0)
				rig_kick(&rig);
		}
		rig_kick(&rig);
		if (vq_random(&state, 4) == 0)
			vq_driver_mute(rig.driver);
		for (rig_wait(&rig, &result); ; ) {
			done++;
			must(check_result(&result, read_only));
			if (!rig_poll(&rig, &result))
				break;
		}
	}
}

static void image_is_model(void)
{
	static uint8_t now[SIZE];

	ck_assert_int_eq(pread(rig.disk.fd, now, SIZE, 0), SIZE);
	ck_assert(!memcmp(now, model, SIZE));
}

static void reset_model(void)
{
	for (unsigned i = 0; i < SIZE; i++)
		model[i] = image_byte(i);
}

/*
 * Rows: SPLIT-04, SPLIT-07, SPLIT-08, SPLIT-24, PACKED-10, PACKED-11, BLK-20,
 * BLK-21, BLK-22, BLK-23, BLK-24, BLK-25, BLK-26, BLK-27, BLK-29, BLK-36,
 * BLK-37, BLK-42, BLK-43, BLK-46, BLK-61
 */
START_TEST(all_kinds_of_requests)
{
	for (unsigned k = 0; k < array_size(kinds); k++)
		for (unsigned f = 0; f < array_size(feature_sets); f++)
			for (unsigned depth = 1; depth <= 64; depth *= 8) {
				begin(kinds[k], depth == 1 ? 16 : 256, feature_sets[f]);
				reset_model();
				/* Without FLUSH each write waits for the host's disk. */
				random_requests(feature_sets[f] & RIG_FLUSH ? 2000 : 150, depth,
						false);
				rig_check(&rig);
				image_is_model();
				end();
			}
}
END_TEST

/* Rows: BLK-28 */
START_TEST(read_only)
{
	for (unsigned k = 0; k < array_size(kinds); k++) {
		struct blk_config config = config_of("image", SIZE, kinds[k]);

		config.disk.read_only = true;
		begin_with(&config, kinds[k], 256, ALL);
		ck_assert(rig.dev->offered & VIRTIO_BIT(VIRTIO_BLK_F_RO));
		reset_model();
		random_requests(2000, 16, true);
		rig_check(&rig);
		image_is_model();
		end();
	}
}
END_TEST

/* Small queues, and more requests than positions. */
/* Rows: SPLIT-02, SPLIT-19 */
START_TEST(positions_wrap)
{
	static const struct {
		uint16_t size;
		uint64_t features;
	} table[] = {
		{ 1, ALL }, { 2, RIG_INDIRECT }, { 256, ALL }, { 1, ALL | RIG_PACKED },
		{ 2, RIG_INDIRECT | RIG_PACKED }, { 5, ALL | RIG_PACKED },
		{ 255, RIG_INDIRECT | RIG_PACKED }, { 256, ALL | RIG_PACKED | RIG_IN_ORDER },
	};
	const struct rig_request id = { VIRTIO_BLK_T_GET_ID, 0, 0, 20, RIG_TABLE, false };

	for (unsigned s = 0; s < array_size(table); s++) {
		unsigned added = 0, done = 0;

		begin(kinds[s % 2], table[s].size, table[s].features);
		while (done < 70000) {
			struct rig_result result;

			while (added < 70000 && rig_add(&rig, &id) >= 0)
				added++;
			rig_kick(&rig);
			rig_wait(&rig, &result);
			do {
				must(result.status == 0);
				done++;
			} while (rig_poll(&rig, &result));
		}
		rig_check(&rig);
		end();
	}
}
END_TEST

/* Rows: GEN-32, BLK-02, BLK-04, BLK-05, BLK-07, BLK-11, BLK-15, BLK-16 */
START_TEST(configuration)
{
	static const struct {
		uint16_t size;
		uint32_t segments;
	} table[] = { { 2, 1 }, { 4, 2 }, { 128, 126 }, { 256, 254 }, { 1024, 254 } };

	for (unsigned i = 0; i < array_size(table); i++) {
		struct blk_config config = config_of("image", SIZE + 100, true);

		config.queue_size = table[i].size;
		files_capture();
		begin_with(&config, true, table[i].size, ALL);
		free(files_captured());
		ck_assert_uint_eq(virtio_config_read(rig.dev, 0, 8), SECTORS);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 12, 4), table[i].segments);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 20, 4), 512);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 8, 4), DISK_STEP_MAX);
		/* Discard and write zeroes: sectors, segments, alignment; may unmap. */
		ck_assert_uint_eq(virtio_config_read(rig.dev, 36, 4), BLK_SEGMENT_SECTORS_MAX);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 40, 4), BLK_SEGMENTS_MAX);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 44, 4) * 512,
				  rig.disk.geometry.physical);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 48, 4), BLK_SEGMENT_SECTORS_MAX);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 52, 4), BLK_SEGMENTS_MAX);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 56, 4), 1);
		/* Without CONFIG_WCE nothing there is the driver's (BLK-11). */
		ck_assert_uint_eq(virtio_config_read(rig.dev, WCE, 1), 1);
		for (unsigned n = 0; n < rig.dev->config_len; n++)
			virtio_config_write(rig.dev, n, 0, 1);
		ck_assert_uint_eq(virtio_config_read(rig.dev, WCE, 2), 1);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 0, 8), SECTORS);
		ck_assert(!(rig.dev->offered & VIRTIO_BIT(VIRTIO_BLK_F_RO)));
		end();
	}
}
END_TEST

/* BLK-06 to BLK-08: in units of logical blocks, which change no other unit. */
/* Rows: BLK-06, BLK-07, BLK-08 */
START_TEST(topology)
{
	static const struct {
		struct disk_geometry geometry;
		uint32_t block, optimal;
		uint8_t exponent, alignment;
		uint16_t minimal;
	} table[] = {
		{ { 512, 512, 0, 0, 0 }, 512, 0, 0, 0, 0 },
		{ { 512, 4096, 0, 0, 0 }, 512, 0, 3, 0, 0 },
		{ { 512, 4096, 3584, 4096, 1 << 20 }, 512, 2048, 3, 7, 8 },
		{ { 4096, 4096, 0, 4096, 65536 }, 4096, 16, 0, 0, 1 },
		{ { 4096, 65536, 0, 1U << 31, 0 }, 4096, 0, 4, 0, 65535 },
	};

	begin(true, 256, ALL);
	for (unsigned i = 0; i < array_size(table); i++) {
		rig.disk.geometry = table[i].geometry;
		virtio_notify_config(rig.dev);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 0, 8), SECTORS);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 20, 4), table[i].block);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 24, 1), table[i].exponent);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 25, 1), table[i].alignment);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 26, 2), table[i].minimal);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 28, 4), table[i].optimal);
		ck_assert_uint_eq(rig_do(&rig, &(struct rig_request){ .type = VIRTIO_BLK_T_OUT,
					 .sector = 1, .out = 512 }), 0);
	}
	end();
}
END_TEST

/* As many segments as seg_max tells, in the ring and in a table. */
/* Rows: SPLIT-05, SPLIT-17, PACKED-18, BLK-04, BLK-05 */
START_TEST(most_segments)
{
	static struct vq_part part[VIRTQUEUE_CHAIN_MAX];
	const struct virtio_blk_outhdr header = { .type = VIRTIO_BLK_T_IN };
	uint64_t gpa, table;

	for (unsigned k = 0; k < array_size(kinds); k++)
		for (unsigned kind = 0; kind < 4; kind++) {
			bool indirect = kind % 2, packed = kind / 2;
			struct vq_chain chain = { .part = part, .count = VIRTQUEUE_CHAIN_MAX };
			struct vq_used used;
			const uint8_t *data;

			begin(kinds[k], indirect ? 16 : 256, ALL | (packed ? RIG_PACKED : 0));
			gpa = vq_ram_alloc(&rig.ram, 254 * 512 + 17, 1);
			table = vq_ram_alloc(&rig.ram, 16 * VIRTQUEUE_CHAIN_MAX, 1);
			vq_ram_put(&rig.ram, gpa, &header, 16);
			part[0] = (struct vq_part){ gpa, 16, false };
			for (unsigned i = 0; i < 254; i++)
				part[i + 1] = (struct vq_part){ gpa + 16 + 512 * i, 512, true };
			part[255] = (struct vq_part){ gpa + 16 + 254 * 512, 1, true };
			if (indirect) {
				chain.entries = VIRTQUEUE_CHAIN_MAX;
				chain.table = table;
			}
			ck_assert_int_ge(vq_driver_add(rig.driver, &chain), 0);
			rig_kick(&rig);
			ck_assert(rig_told(&rig, RIG_DEADLINE_MS));
			ck_assert(vq_driver_get(rig.driver, &used));
			ck_assert_uint_eq(used.len, 254 * 512 + 1);
			data = vq_ram_ptr(&rig.ram, gpa + 16);
			for (unsigned i = 0; i < 254 * 512; i++)
				must(data[i] == image_byte(i));
			rig_check(&rig);
			end();
		}
}
END_TEST

/* GEN-07, GEN-08 */
/* Rows: GEN-07, GEN-08 */
START_TEST(nothing_before_driver_ok)
{
	for (unsigned k = 0; k < array_size(kinds); k++) {
		struct rig_result result;

		begin(kinds[k], 256, ALL);
		rig_reset_order(&rig);
		rig_reset_wait(&rig);
		rig_prepare(&rig, ALL);
		rig_add(&rig, &read_one);
		rig_kick(&rig);
		ck_assert(!rig_told(&rig, 50));
		ck_assert(!rig_poll(&rig, &result));
		/* Nobody rings again. */
		rig_go(&rig);
		rig_wait(&rig, &result);
		ck_assert_uint_eq(result.status, 0);
		rig_check(&rig);
		end();
	}
}
END_TEST

/* HOST-61: there is no place for a status; the chain comes back all the same. */
START_TEST(no_place_for_a_status)
{
	struct rig_request r = write_one;
	struct rig_result result;

	for (unsigned k = 0; k < array_size(kinds); k++) {
		begin(kinds[k], 256, ALL);
		r.without_status = true;
		for (unsigned i = 0; i < 600; i++) {
			must(rig_add(&rig, &r) >= 0);
			rig_kick(&rig);
			rig_wait(&rig, &result);
			must(result.used == 0);
		}
		ck_assert_uint_eq(rig_do(&rig, &read_one), 0);
		rig_check(&rig);
		reset_model();
		image_is_model();
		end();
	}
}
END_TEST

/* --- Stable writes (section 5.2.6.2) --- */

/* Rows: BLK-30 */
START_TEST(writes_are_stable_without_flush)
{
	for (unsigned f = 0; f < array_size(feature_sets); f++) {
		unsigned before = fault_count_dsync();
		bool can_flush = feature_sets[f] & RIG_FLUSH;

		begin(false, 256, feature_sets[f]);
		for (unsigned i = 0; i < 10; i++)
			ck_assert_uint_eq(rig_do(&rig, &write_one), 0);
		ck_assert_uint_eq(fault_count_dsync() - before, can_flush ? 0 : 10);
		/* A new driver, a new choice. */
		rig_reset_order(&rig);
		rig_reset_wait(&rig);
		rig_prepare(&rig, feature_sets[f] ^ RIG_FLUSH);
		rig_go(&rig);
		before = fault_count_dsync();
		ck_assert_uint_eq(rig_do(&rig, &write_one), 0);
		ck_assert_uint_eq(fault_count_dsync() - before, can_flush ? 1 : 0);
		rig_check(&rig);
		end();
	}
}
END_TEST

/* Do ten writes reach stable storage before they complete? */
static bool writes_are_stable(void)
{
	unsigned before = fault_count_dsync();

	for (unsigned i = 0; i < 10; i++)
		ck_assert_uint_eq(rig_do(&rig, &write_one), 0);
	before = fault_count_dsync() - before;
	ck_assert(before == 0 || before == 10);
	return before;
}

/* Each mode with each driver: the three cases of section 5.2.6.2 (BLK-30 to BLK-32). */
/* Rows: GEN-16, BLK-09, BLK-10, BLK-11, BLK-30, BLK-31, BLK-34 */
START_TEST(cache_modes)
{
	static const struct {
		enum blk_cache cache;
		uint64_t features;
		bool stable;
	} table[] = {
		{ BLK_CACHE_WRITEBACK, 0, true },
		{ BLK_CACHE_WRITEBACK, RIG_FLUSH, false },
		{ BLK_CACHE_WRITEBACK, RIG_WCE, true },
		{ BLK_CACHE_WRITEBACK, RIG_FLUSH | RIG_WCE, false },
		{ BLK_CACHE_WRITETHROUGH, 0, true },
		{ BLK_CACHE_WRITETHROUGH, RIG_FLUSH, true },
		{ BLK_CACHE_WRITETHROUGH, RIG_WCE, true },
		{ BLK_CACHE_WRITETHROUGH, RIG_FLUSH | RIG_WCE, true },
		{ BLK_CACHE_UNSAFE, 0, false },
	};

	for (unsigned i = 0; i < array_size(table); i++) {
		struct blk_config config = config_of("image", SIZE, false);
		bool unsafe = table[i].cache == BLK_CACHE_UNSAFE;

		config.cache = table[i].cache;
		begin_with(&config, false, 256, table[i].features);
		ck_assert_uint_eq(rig.dev->offered & (RIG_FLUSH | RIG_WCE),
				  unsafe ? 0 : RIG_FLUSH | RIG_WCE);
		ck_assert_int_eq(writes_are_stable(), table[i].stable);
		ck_assert_uint_eq(virtio_config_read(rig.dev, WCE, 1),
				  !unsafe && !table[i].stable);
		/* What the driver writes counts if CONFIG_WCE is there (BLK-11). */
		virtio_config_write(rig.dev, WCE, table[i].stable, 1);
		ck_assert_int_eq(writes_are_stable(),
				 table[i].stable ^ !!(table[i].features & RIG_WCE));
		rig_check(&rig);
		end();
	}
}
END_TEST

/* HOST-69: any byte is a boolean; wide and partial writes. */
/* Rows: GEN-32, BLK-11, BLK-31 */
START_TEST(writeback_toggled)
{
	static const struct {
		unsigned offset, len;
		uint64_t value;
		bool writeback;
	} table[] = {
		{ WCE, 1, 0, false },      { WCE, 1, 1, true },
		{ WCE, 1, 0, false },      { WCE, 1, 2, true },
		{ WCE, 2, 0xff00, false }, { WCE, 1, 0x80, true },
		{ WCE, 4, 0xffffff00, false }, { WCE - 2, 4, 0x10000, true },
		{ WCE - 2, 2, 0, true },   { WCE + 1, 1, 0, true },
		{ WCE - 7, 8, UINT64_MAX >> 8, false }, { WCE - 7, 8, 1ULL << 63, true },
		{ WCE - 8, 8, 0, true },   { WCE, 8, 0, false },
	};

	begin(false, 256, RIG_FLUSH | RIG_WCE);
	for (unsigned i = 0; i < array_size(table); i++) {
		virtio_config_write(rig.dev, table[i].offset, table[i].value, table[i].len);
		ck_assert_uint_eq(virtio_config_read(rig.dev, WCE, 1), table[i].writeback);
		ck_assert_uint_eq(virtio_config_read(rig.dev, WCE + 1, 1), 0);
		ck_assert_int_eq(writes_are_stable(), !table[i].writeback);
	}
	/* The next driver begins where the user said. */
	rig_reset_order(&rig);
	rig_reset_wait(&rig);
	rig_prepare(&rig, RIG_FLUSH | RIG_WCE);
	rig_go(&rig);
	ck_assert_uint_eq(virtio_config_read(rig.dev, WCE, 1), 1);
	ck_assert(!writes_are_stable());
	end();
}
END_TEST

/* The mode changes while the I/O thread writes; for the thread sanitizer. */
START_TEST(writeback_toggled_under_load)
{
	for (unsigned k = 0; k < array_size(kinds); k++) {
		begin(kinds[k], 256, ALL | RIG_WCE);
		reset_model();
		for (unsigned i = 0; i < 50; i++) {
			virtio_config_write(rig.dev, WCE, i % 8 != 0, 1);
			random_requests(16, 16, false);
		}
		image_is_model();
		rig_check(&rig);
		end();
	}
}
END_TEST

/* Rows: BLK-32 */
START_TEST(flush_reaches_the_disk)
{
	unsigned before;

	begin(false, 256, ALL);
	before = fault_count(FAULT_FLUSH);
	for (unsigned i = 0; i < 10; i++)
		ck_assert_uint_eq(rig_do(&rig, &flush), 0);
	ck_assert_uint_eq(fault_count(FAULT_FLUSH) - before, 10);
	end();
}
END_TEST

/*
 * The kernel tells of lost data once: a stable write that hears of it may have
 * been told for an earlier write, so no later one is believed.
 */
/* Rows: BLK-33 */
START_TEST(failed_stable_write_is_not_forgotten)
{
	begin(false, 256, ALL | RIG_WCE);
	ck_assert_uint_eq(rig_do(&rig, &write_one), 0);
	virtio_config_write(rig.dev, WCE, 0, 1);
	fault_inject(FAULT_WRITE, 1, EIO, 0);
	files_capture();
	ck_assert_uint_eq(rig_do(&rig, &write_one), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(rig_do(&rig, &flush), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(rig_do(&rig, &write_one), VIRTIO_BLK_S_IOERR);
	free(files_captured());
	ck_assert_uint_eq(rig_do(&rig, &read_one), 0);
	end();
}
END_TEST

/* --- Discard and write zeroes --- */

static uint8_t do_range(uint32_t type, const struct virtio_blk_discard_write_zeroes *segment,
			unsigned count)
{
	const struct rig_request r = { .type = type, .out = 16 * count };

	rig_fill(&rig, rig_free_slot(&rig), segment, 16 * count);
	return rig_do(&rig, &r);
}

static uint64_t allocated(int fd)
{
	struct stat st;

	fsync(fd);
	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* discard=off: nothing is deallocated, and the driver is told so (BLK-15, BLK-22). */
/* Rows: BLK-03, BLK-15, BLK-22, BLK-43 */
START_TEST(no_discard)
{
	static const struct virtio_blk_discard_write_zeroes all = { 0, SECTORS, 1 };

	for (unsigned k = 0; k < array_size(kinds); k++) {
		struct blk_config config = config_of("image", SIZE, kinds[k]);
		uint64_t before;

		config.discard = false;
		begin_with(&config, kinds[k], 256, ALL | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES));
		ck_assert(!(rig.dev->offered & VIRTIO_BIT(VIRTIO_BLK_F_DISCARD)));
		ck_assert_uint_eq(virtio_config_read(rig.dev, 36, 8), 0);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 44, 4), 0);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 52, 8), BLK_SEGMENTS_MAX);
		before = allocated(rig.disk.fd);
		ck_assert_uint_eq(do_range(VIRTIO_BLK_T_DISCARD, &all, 1), VIRTIO_BLK_S_UNSUPP);
		ck_assert_uint_eq(do_range(VIRTIO_BLK_T_WRITE_ZEROES, &all, 1), 0);
		ck_assert_uint_ge(allocated(rig.disk.fd), before);
		memset(model, 0, SIZE);
		image_is_model();
		end();
	}
}
END_TEST

/* A bad segment after good ones: nothing is done (BLK-40). */
/* Rows: BLK-37, BLK-40 */
START_TEST(bad_segment_last)
{
	struct virtio_blk_discard_write_zeroes segment[BLK_SEGMENTS_MAX];

	begin(true, 256, ALL | RIG_RANGES);
	reset_model();
	for (unsigned i = 0; i < BLK_SEGMENTS_MAX; i++)
		segment[i] = (struct virtio_blk_discard_write_zeroes){ i * 8, 8, 0 };
	segment[BLK_SEGMENTS_MAX - 1].flags = 2;
	ck_assert_uint_eq(do_range(VIRTIO_BLK_T_WRITE_ZEROES, segment, BLK_SEGMENTS_MAX),
			  VIRTIO_BLK_S_UNSUPP);
	image_is_model();
	segment[BLK_SEGMENTS_MAX - 1].flags = 0;
	ck_assert_uint_eq(do_range(VIRTIO_BLK_T_WRITE_ZEROES, segment, BLK_SEGMENTS_MAX), 0);
	memset(model, 0, BLK_SEGMENTS_MAX * 8 * 512);
	image_is_model();
	end();
}
END_TEST

/* Zeros are a write: without FLUSH they are stable, too, by one flush after them. */
/* Rows: BLK-30 */
START_TEST(zeroes_are_stable_without_flush)
{
	static const struct virtio_blk_discard_write_zeroes two[] = { { 0, 8, 0 }, { 9, 1, 1 } };

	for (unsigned f = 0; f < 2; f++) {
		unsigned before;
		char *text;

		begin(false, 256, RIG_RANGES | (f ? RIG_FLUSH : 0));
		before = fault_count(FAULT_FLUSH);
		ck_assert_uint_eq(do_range(VIRTIO_BLK_T_WRITE_ZEROES, two, 2), 0);
		ck_assert_uint_eq(fault_count(FAULT_FLUSH) - before, f ? 0 : 1);
		fault_inject(FAULT_FLUSH, 1, EIO, 0);
		files_capture();
		ck_assert_uint_eq(do_range(VIRTIO_BLK_T_WRITE_ZEROES, two, 2), f ? 0 : 1);
		text = files_captured();
		ck_assert_str_eq(text, f ? "" : "vmm: warning: disk 'test': cannot flush: "
						"Input/output error\n");
		free(text);
		fault_inject(FAULT_FLUSH, 0, 0, 0);
		end();
	}
}
END_TEST

/* The host turns out to know no holes: the driver is told (BLK-15). */
/* Rows: GEN-30, BLK-15, BLK-43 */
START_TEST(holes_refused)
{
	static const struct virtio_blk_discard_write_zeroes one = { 0, 8, 1 };
	unsigned generation;

	begin(false, 256, ALL | RIG_RANGES);
	reset_model();
	ck_assert_uint_eq(virtio_config_read(rig.dev, 56, 1), 1);
	generation = rig.dev->generation;
	fault_inject(FAULT_RANGE, UINT32_MAX, EOPNOTSUPP, 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(do_range(VIRTIO_BLK_T_WRITE_ZEROES, &one, 1), 0);
	fault_inject(FAULT_RANGE, 0, 0, 0);
	ck_assert_uint_eq(load_acquire(&rig.notices), 1);
	ck_assert_uint_eq(virtio_config_read(rig.dev, 56, 1), 0);
	ck_assert_uint_ne(rig.dev->generation, generation);
	memset(model, 0, 4096);
	image_is_model();
	end();
}
END_TEST

/* Wait for one call more than @before: it stands at the gate. */
static void wait_at_gate(enum fault_call call, unsigned before)
{
	uint64_t deadline = clock_ns() + RIG_DEADLINE_MS * 1000000ULL;

	while (fault_count(call) == before) {
		must(clock_ns() < deadline);
		poll(NULL, 0, 0);
	}
}

/* HOST-66: the longest request is given up for a reset, and then nothing moves. */
START_TEST(reset_ends_long_zeroes)
{
	static const struct virtio_blk_discard_write_zeroes most = {
		0, BLK_SEGMENT_SECTORS_MAX, 0
	};
	static const uint64_t two_gib = 512ULL * BLK_SEGMENT_SECTORS_MAX;
	struct rig_request r = { .type = VIRTIO_BLK_T_WRITE_ZEROES, .out = 16 };
	unsigned before;
	int gate;

	begin(false, 256, ALL | RIG_RANGES);
	/* Written zeros of which most never are. */
	ck_assert_int_eq(ftruncate(rig.disk.fd, (off_t)two_gib), 0);
	store_relaxed(&rig.disk.sectors, two_gib / 512);
	fault_inject(FAULT_RANGE, UINT32_MAX, EOPNOTSUPP, 0);
	gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
	before = fault_count(FAULT_WRITE);
	fault_gate(gate);
	rig_fill(&rig, rig_free_slot(&rig), &most, 16);
	must(rig_add(&rig, &r) >= 0);
	rig_kick(&rig);
	eventfd_write(gate, 1); /* the host's refusal */
	wait_at_gate(FAULT_WRITE, before);
	rig_reset_order(&rig);
	eventfd_write(gate, 1000);
	rig_reset_wait(&rig);
	fault_gate(-1);
	fault_inject(FAULT_RANGE, 0, 0, 0);
	ck_assert_uint_eq(fault_count(FAULT_WRITE) - before, 1);
	rig_check(&rig);
	close(gate);
	end();
}
END_TEST

/*
 * One queue full of discards, each of which is a call of its own: an order waits
 * for those of one round, not for all.
 */
START_TEST(reset_between_rounds)
{
	static const struct virtio_blk_discard_write_zeroes one = { 0, 8, 0 };
	struct rig_request r = { .type = VIRTIO_BLK_T_DISCARD, .out = 16 };
	unsigned before = fault_count(FAULT_RANGE), calls;
	int gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);

	begin(false, 256, ALL | RIG_RANGES);
	fault_gate(gate);
	for (unsigned i = 0; i < RIG_SLOTS; i++) {
		rig_fill(&rig, rig_free_slot(&rig), &one, 16);
		must(rig_add(&rig, &r) >= 0);
	}
	rig_kick(&rig);
	wait_at_gate(FAULT_RANGE, before);
	rig_reset_order(&rig);
	eventfd_write(gate, 1000);
	rig_reset_wait(&rig);
	fault_gate(-1);
	calls = fault_count(FAULT_RANGE) - before;
	ck_assert_uint_le(calls, IO_ROUND_BYTES / DISK_STEP_MAX);
	rig_check(&rig);
	close(gate);
	end();
}
END_TEST

/* The same with discards of many segments, after some rounds: those are no exception. */
START_TEST(reset_between_segments)
{
	struct virtio_blk_discard_write_zeroes many[BLK_SEGMENTS_MAX];
	struct rig_request r = { .type = VIRTIO_BLK_T_DISCARD, .out = sizeof(many) };

	for (unsigned i = 0; i < BLK_SEGMENTS_MAX; i++)
		many[i] = (struct virtio_blk_discard_write_zeroes){ i, 1, 0 };
	for (unsigned calls = 400; calls < 440; calls += 10) {
		unsigned before = fault_count(FAULT_RANGE) + calls;
		int gate = eventfd(calls, EFD_SEMAPHORE | EFD_CLOEXEC);

		begin(false, 256, ALL | RIG_RANGES);
		fault_gate(gate);
		for (unsigned i = 0; i < RIG_SLOTS; i++) {
			rig_fill(&rig, rig_free_slot(&rig), many, sizeof(many));
			must(rig_add(&rig, &r) >= 0);
		}
		rig_kick(&rig);
		for (unsigned i = before - calls; i <= before; i++)
			wait_at_gate(FAULT_RANGE, i);
		rig_reset_order(&rig);
		eventfd_write(gate, 10000);
		rig_reset_wait(&rig);
		fault_gate(-1);
		ck_assert_uint_le(fault_count(FAULT_RANGE) - before,
				  IO_ROUND_BYTES / DISK_STEP_MAX);
		rig_check(&rig);
		close(gate);
		end();
	}
}
END_TEST

/* The host answers a flush with EINTR while the queue stops: the next one counts. */
/* Rows: BLK-33 */
START_TEST(cancelled_flush)
{
	unsigned before = fault_count(FAULT_FLUSH);
	int gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);

	begin(false, 256, ALL);
	fault_gate(gate);
	fault_inject(FAULT_FLUSH, UINT32_MAX, EINTR, 0);
	must(rig_add(&rig, &flush) >= 0);
	rig_kick(&rig);
	wait_at_gate(FAULT_FLUSH, before);
	rig_reset_order(&rig);
	eventfd_write(gate, 1000);
	rig_reset_wait(&rig);
	fault_gate(-1);
	fault_inject(FAULT_FLUSH, 0, 0, 0);
	rig_prepare(&rig, ALL);
	rig_go(&rig);
	ck_assert_uint_eq(rig_do(&rig, &flush), 0);
	close(gate);
	end();
}
END_TEST

/* --- Resize (BLK-14) --- */

/* Rows: GEN-29, GEN-30, BLK-07, BLK-14 */
START_TEST(resized)
{
	for (unsigned k = 0; k < array_size(kinds); k++) {
		struct rig_request last = { .type = VIRTIO_BLK_T_IN, .in = 512 };

		begin(kinds[k], 256, ALL);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 0, 8), SECTORS);
		for (unsigned i = 1; i <= 20; i++) {
			uint64_t sectors = i % 2 ? SECTORS + i : SECTORS - i;
			uint8_t generation = rig.dev->generation;

			ck_assert_int_eq(ftruncate(rig.disk.fd, (off_t)sectors * 512), 0);
			ck_assert(blk_set_capacity(rig.blk, sectors));
			ck_assert(!blk_set_capacity(rig.blk, sectors));
			ck_assert_uint_eq(load_acquire(&rig.notices), i);
			ck_assert_uint_eq(virtio_config_read(rig.dev, 0, 8), sectors);
			ck_assert_uint_eq(rig.dev->generation, (uint8_t)(generation + 1));
			last.sector = sectors - 1;
			ck_assert_uint_eq(rig_do(&rig, &last), 0);
			last.sector = sectors;
			ck_assert_uint_eq(rig_do(&rig, &last), VIRTIO_BLK_S_IOERR);
		}
		/* No less than a block. */
		rig.disk.geometry.logical = rig.disk.geometry.physical = 4096;
		blk_set_capacity(rig.blk, 1001);
		ck_assert_uint_eq(virtio_config_read(rig.dev, 0, 8), 1000);
		rig_check(&rig);
		end();
	}
}
END_TEST

/* The image shrinks under a long request: what is left of it does not make it grow. */
/* Rows: BLK-14 */
START_TEST(shrunk_under_a_request)
{
	enum { LARGE = 64 << 20, SMALL = 1 << 20 };
	static const struct virtio_blk_discard_write_zeroes all = { 0, LARGE / 512, 0 };
	struct rig_request r = { .type = VIRTIO_BLK_T_WRITE_ZEROES, .out = 16 };
	unsigned before = fault_count(FAULT_WRITE);
	int gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
	struct rig_result result;
	struct stat st;

	begin(false, 256, ALL | RIG_RANGES);
	ck_assert_int_eq(ftruncate(rig.disk.fd, LARGE), 0);
	ck_assert(blk_set_capacity(rig.blk, LARGE / 512));
	fault_inject(FAULT_RANGE, UINT32_MAX, EOPNOTSUPP, 0);
	fault_gate(gate);
	rig_fill(&rig, rig_free_slot(&rig), &all, 16);
	must(rig_add(&rig, &r) >= 0);
	rig_kick(&rig);
	eventfd_write(gate, 1); /* the host's refusal */
	wait_at_gate(FAULT_WRITE, before);
	eventfd_write(gate, 1);
	wait_at_gate(FAULT_WRITE, before + 1);
	ck_assert(blk_set_capacity(rig.blk, SMALL / 512));
	eventfd_write(gate, 1000);
	files_capture();
	rig_wait(&rig, &result);
	free(files_captured());
	fault_gate(-1);
	fault_inject(FAULT_RANGE, 0, 0, 0);
	ck_assert_uint_eq(result.status, VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(fault_count(FAULT_WRITE) - before, 2);
	ck_assert_int_eq(fstat(rig.disk.fd, &st), 0);
	ck_assert_int_eq(st.st_size, LARGE);
	close(gate);
	end();
}
END_TEST

/* While the I/O thread judges requests by it; the driver's part keeps its size. */
START_TEST(resized_under_load)
{
	for (unsigned k = 0; k < array_size(kinds); k++) {
		begin(kinds[k], 256, ALL);
		reset_model();
		for (unsigned i = 0; i < 200; i++) {
			must(rig_add(&rig, &read_one) >= 0 && rig_add(&rig, &write_one) >= 0);
			rig_kick(&rig);
			blk_set_capacity(rig.blk, SECTORS / (1 + i % 2));
			for (unsigned n = 0; n < 2; n++) {
				struct rig_result result;

				rig_wait(&rig, &result);
				must(result.status == 0);
			}
		}
		rig_check(&rig);
		end();
	}
}
END_TEST

/* Before the driver is ready it is not told; then it is, once (GEN-31). */
/* Rows: GEN-31 */
START_TEST(resized_before_driver_ok)
{
	begin(true, 256, ALL);
	rig_reset_order(&rig);
	rig_reset_wait(&rig);
	rig_prepare(&rig, ALL);
	blk_set_capacity(rig.blk, SECTORS - 8);
	blk_set_capacity(rig.blk, SECTORS - 16);
	ck_assert_uint_eq(load_acquire(&rig.notices), 0);
	rig_go(&rig);
	ck_assert_uint_eq(load_acquire(&rig.notices), 1);
	ck_assert_uint_eq(virtio_config_read(rig.dev, 0, 8), SECTORS - 16);
	end();
}
END_TEST

/* --- Host errors: the guest sees IOERR, and the device goes on --- */

START_TEST(host_errors)
{
	struct rig_request beyond = { .type = VIRTIO_BLK_T_IN, .sector = 8, .in = 4096 };

	for (unsigned k = 0; k < array_size(kinds); k++) {
		int file;

		begin(kinds[k], 256, ALL);
		files_capture();
		ck_assert_int_eq(ftruncate(rig.disk.fd, 5000), 0);
		ck_assert_uint_eq(rig_do(&rig, &beyond), VIRTIO_BLK_S_IOERR);
		ck_assert_uint_eq(rig_do(&rig, &read_one), 0);
		file = replace_file(&rig.disk, open("/dev/full", O_RDWR | O_CLOEXEC));
		for (unsigned i = 0; i < 100; i++) {
			must(rig_do(&rig, &write_one) == VIRTIO_BLK_S_IOERR);
			must(rig_do(&rig, &read_one) == 0);
		}
		ck_assert_uint_eq(rig_do(&rig, &flush), VIRTIO_BLK_S_IOERR);
		close(replace_file(&rig.disk, file));
		ck_assert_uint_eq(rig_do(&rig, &write_one), 0);
		free(files_captured());
		ck_assert_uint_eq(virtio_get_status(rig.dev), 0xf);
		rig_check(&rig);
		end();
	}
}
END_TEST

/* --- Rings without sense --- */

/* The device stops, says so once, and recovers by a reset. */
/* Rows: GEN-10, GEN-11, GEN-12 */
START_TEST(broken_ring)
{
	for (unsigned k = 0; k < array_size(kinds); k++)
		for (unsigned round = 0; round < 20; round++) {
			char *text;

			begin(kinds[k], 256, ALL);
			ck_assert_uint_eq(rig_do(&rig, &read_one), 0);
			files_capture();
			vq_split_avail(rig.driver, 0, 1000, 0);
			virtio_queue_kick(virtio_queue_at(rig.dev, 0));
			for (unsigned n = 0; !(virtio_get_status(rig.dev) & NEEDS_RESET); n++) {
				must(n < RIG_DEADLINE_MS);
				poll(NULL, 0, 1);
			}
			/* It takes no more, however often it is rung. */
			virtio_queue_kick(virtio_queue_at(rig.dev, 0));
			if (round == 0)
				check_idle();
			rig_reset_order(&rig);
			rig_reset_wait(&rig);
			text = files_captured();
			ck_assert_str_eq(text, "vmm: warning: disk 'test': needs a reset: "
					 "available index moved by more than the queue size\n");
			free(text);
			ck_assert_uint_eq(load_acquire(&rig.notices), 1);
			rig_prepare(&rig, ALL);
			rig_go(&rig);
			ck_assert_uint_eq(rig_do(&rig, &read_one), 0);
			rig_check(&rig);
			end();
		}
}
END_TEST

/* --- Requests that go together --- */

/* Requests like @r for eight sectors from its own on; reads find the image's bytes. */
static void do_eight(struct rig_request r, uint8_t status)
{
	struct rig_result result;

	for (unsigned i = 0; i < 8; i++, r.sector++) {
		rig_fill(&rig, rig_free_slot(&rig), model + r.sector * 512, r.out);
		must(rig_add(&rig, &r) >= 0);
	}
	rig_kick(&rig);
	for (unsigned i = 0; i < 8; i++) {
		rig_wait(&rig, &result);
		must(result.status == status);
		must(status || !memcmp(rig_data(&rig, result.slot),
				       model + result.request.sector * 512, 512));
	}
}

static void read_eight(uint64_t sector, uint8_t status)
{
	do_eight((struct rig_request){ VIRTIO_BLK_T_IN, .sector = sector, .in = 512 }, status);
}

/* One call for all; if it fails, one for each, so that those succeed that can. */
START_TEST(adjacent_requests)
{
	for (unsigned k = 0; k < array_size(kinds); k++) {
		unsigned before = fault_count(FAULT_READ);

		begin(kinds[k], 256, ALL);
		reset_model();
		read_eight(16, 0);
		read_eight(SECTORS - 8, 0);
		if (!kinds[k]) {
			ck_assert_uint_eq(fault_count(FAULT_READ) - before, 2);
			fault_inject(FAULT_READ, 1, EIO, 0);
			read_eight(32, 0);
			ck_assert_uint_eq(fault_count(FAULT_READ) - before, 2 + 1 + 8);
			/* A short one goes on where it ended. */
			fault_inject(FAULT_READ, 1, 0, 700);
			read_eight(40, 0);
			ck_assert_uint_eq(fault_count(FAULT_READ) - before, 11 + 2);
			fault_inject(FAULT_READ, 9, EIO, 0);
			files_capture();
			read_eight(48, VIRTIO_BLK_S_IOERR);
			free(files_captured());
		}
		memset(model + 64 * 512, 0x5a, 3 * 512);
		memset(model + 67 * 512, 0xa5, 5 * 512);
		do_eight((struct rig_request){ VIRTIO_BLK_T_OUT, .sector = 64, .out = 512 }, 0);
		image_is_model();
		rig_check(&rig);
		end();
	}
}
END_TEST

/* One call for all fails, and the image has shrunk meanwhile: it does not grow again. */
START_TEST(adjacent_requests_in_a_shrunk_image)
{
	const uint64_t left = SECTORS - 4;
	struct rig_request r = write_one;
	unsigned before = fault_count(FAULT_WRITE);
	int gate = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
	struct rig_result result;

	begin(false, 256, ALL);
	fault_gate(gate);
	for (r.sector = SECTORS - 8; r.sector < SECTORS; r.sector++)
		must(rig_add(&rig, &r) >= 0);
	rig_kick(&rig);
	wait_at_gate(FAULT_WRITE, before);
	ck_assert_int_eq(ftruncate(rig.disk.fd, (off_t)left * 512), 0);
	ck_assert(blk_set_capacity(rig.blk, left));
	fault_inject(FAULT_WRITE, 1, EIO, 0);
	fault_gate(-1);
	files_capture();
	eventfd_write(gate, 1);
	for (unsigned i = 0; i < 8; i++) {
		rig_wait(&rig, &result);
		must(result.status == (result.request.sector < left ? VIRTIO_BLK_S_OK :
				       VIRTIO_BLK_S_IOERR));
	}
	free(files_captured());
	ck_assert_uint_eq(fault_count(FAULT_WRITE) - before, 1 + 4);
	ck_assert_int_eq(lseek(rig.disk.fd, 0, SEEK_END), (off_t)left * 512);
	rig_check(&rig);
	close(gate);
	end();
}
END_TEST

/* --- A disk that takes its time --- */

/*
 * Reads wait until they are let go: with io_uring the file is an empty pipe,
 * otherwise the calls wait at a gate, one after the other.
 */
struct slow {
	bool uring;
	int let_go; /* the pipe's other end, or the gate */
	int file;   /* the image meanwhile */
};

static void slow_begin(struct slow *slow, struct disk *disk, bool uring)
{
	int ends[2];

	slow->uring = uring;
	if (uring) {
		ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
		slow->let_go = ends[1];
		slow->file = replace_file(disk, ends[0]);
	} else {
		slow->let_go = eventfd(0, EFD_SEMAPHORE | EFD_CLOEXEC);
		fault_gate(slow->let_go);
	}
}

/* Let @count reads of a sector go. */
static void slow_let_go(struct slow *slow, unsigned count)
{
	static const uint8_t sector[512];

	if (!slow->uring)
		eventfd_write(slow->let_go, count);
	while (slow->uring && count--)
		ck_assert_int_eq(write(slow->let_go, sector, 512), 512);
}

static void slow_end(struct slow *slow, struct disk *disk)
{
	fault_gate(-1);
	if (slow->uring)
		close(replace_file(disk, slow->file));
	close(slow->let_go);
}

/* The queue was served up to what was added. */
static void wait_until_popped(struct blk_rig *r)
{
	uint64_t deadline = clock_ns() + RIG_DEADLINE_MS * 1000000ULL;

	/* With EVENT_IDX, avail_event follows what was popped. */
	while (vq_driver_publish(r->driver) || !vq_driver_all_popped(r->driver)) {
		must(clock_ns() < deadline);
		poll(NULL, 0, 1);
	}
}

/* GEN-02, GEN-03, GEN-05: the reset waits, and then the memory is the driver's. */
/* Rows: GEN-02, GEN-03, GEN-05, GEN-06 */
START_TEST(reset_with_requests_in_flight)
{
	for (unsigned k = 0; k < array_size(kinds); k++)
		for (unsigned round = 0; round < 10; round++) {
			struct slow slow;
			unsigned interrupts;

			begin(kinds[k], 256, ALL | (round % 2 ? RIG_PACKED : 0));
			slow_begin(&slow, &rig.disk, kinds[k]);
			for (unsigned i = 0; i < 32; i++)
				must(rig_add(&rig, &read_one) >= 0);
			rig_kick(&rig);
			if (kinds[k])
				wait_until_popped(&rig);
			rig_reset_order(&rig);
			if (kinds[k]) {
				/* Ordered again, and written to meanwhile. */
				rig_reset_order(&rig);
				virtio_set_status(rig.dev, 1);
				ck_assert_uint_eq(virtio_get_status(rig.dev), 0xf);
				/* Rung for by a short-cut that is late: it is not taken. */
				must(rig_add(&rig, &read_one) >= 0);
				vq_driver_publish(rig.driver);
				eventfd_write(virtio_queue_at(rig.dev, 0)->doorbell, 1);
			}
			slow_let_go(&slow, 32);
			rig_reset_wait(&rig);
			/* Acknowledged: nothing moves any more. */
			interrupts = load_acquire(&rig.interrupts);
			vq_ram_fill(&rig.ram, rig.slot[0].status, 0x77, RIG_DATA + 1);
			ck_assert(!rig_told(&rig, 5));
			ck_assert_uint_eq(load_acquire(&rig.interrupts), interrupts);
			rig_check(&rig);
			slow_end(&slow, &rig.disk);
			rig_prepare(&rig, rig.features);
			rig_go(&rig);
			ck_assert_uint_eq(rig_do(&rig, &read_one), 0);
			rig_check(&rig);
			end();
		}
}
END_TEST

/* GEN-23: what is done early waits for its turn; the mock checks the order. */
/* Rows: GEN-23 */
START_TEST(in_order)
{
	const struct rig_request id = { VIRTIO_BLK_T_GET_ID, 0, 0, 20, RIG_PLAIN, false };

	for (unsigned packed = 0; packed < 2; packed++) {
		struct rig_result result;
		struct slow slow;

		begin(true, 16, ALL | RIG_IN_ORDER | (packed ? RIG_PACKED : 0));
		slow_begin(&slow, &rig.disk, true);
		must(rig_add(&rig, &read_one) == 0);
		must(rig_add(&rig, &id) == 1);
		rig_kick(&rig);
		/* The second needs no disk, so it is done; but it is not given back. */
		wait_until_popped(&rig);
		ck_assert(!rig_told(&rig, 20));
		ck_assert(!rig_poll(&rig, &result));
		slow_let_go(&slow, 1);
		for (unsigned slot = 0; slot < 2; slot++) {
			rig_wait(&rig, &result);
			ck_assert_uint_eq(result.slot, slot);
			ck_assert_uint_eq(result.status, 0);
		}
		rig_check(&rig);
		slow_end(&slow, &rig.disk);
		end();
	}
}
END_TEST

/* Does @when, a text of the tables of features, hold? */
static bool is_when(const char *when, const struct blk_config *config)
{
	bool is_ro = config->disk.read_only;
	const struct {
		const char *when;
		bool holds;
	} conditions[] = {
		{ "always", true },
		{ "to legacy drivers", false },
		{ "with readonly", is_ro },
		{ "unless readonly", !is_ro },
		{ "unless readonly or discard=off", !is_ro && config->discard },
		{ "unless cache=unsafe", config->cache != BLK_CACHE_UNSAFE },
		{ "with more than one queue", config->queues > 1 },
		{ "with packed=on", config->packed },
		{ "with in-order=on", config->in_order },
		{ "with notification-data=on", config->notification_data },
	};

	for (unsigned i = 0; i < array_size(conditions); i++)
		if (!strcmp(when, conditions[i].when))
			return conditions[i].holds;
	ck_abort_msg("features: unknown condition '%s'", when);
}

static uint64_t bits_when(const struct virtio_feature *table, const struct blk_config *config)
{
	uint64_t bits = 0;

	for (; table->name; table++)
		bits |= is_when(table->when, config) ? VIRTIO_BIT(table->bit) : 0;
	return bits;
}

/* In each configuration: what the tables of features say, and nothing else. */
START_TEST(features_by_configuration)
{
	const struct guest_memory none = { 0 };

	thread = thread_begin(false);
	pool = (struct blk_threads){ .thread = &thread, .count = 1 };
	for (unsigned i = 0; i < 1 << 8; i++) {
		struct blk_config config = config_of("image", 512, false);
		struct disk disk;
		struct blk *blk;

		config.disk.read_only = i & 1;
		config.discard = i & 2;
		config.queues = i & 4 ? QUEUES : 1;
		config.packed = i & 8;
		config.in_order = i & 16;
		config.notification_data = i & 32;
		config.cache = (enum blk_cache)min(i >> 6, 2u);
		ck_assert_int_eq(disk_open(&disk, &config.disk), 0);
		ck_assert_int_eq(blk_create(&blk, "disk", &config, &disk, &pool, &none), 0);
		ck_assert_uint_eq(blk_virtio(blk)->offered, bits_when(blk_features, &config) |
				  bits_when(virtio_features, &config));
		blk_destroy(blk);
		config.queues = 0;
		ck_assert_int_eq(blk_create(&blk, "disk", &config, &disk, &pool, &none),
				 -EINVAL);
		disk_close(&disk);
	}
	io_thread_destroy(thread);
}
END_TEST

/*
 * With all that a user may ask for: what a machine without an IOMMU, SR-IOV or
 * administration queues has no use for is not offered, nor what no disk has.
 * Rows: GEN-17, GEN-22, GEN-25, BLK-47, BLK-60
 */
START_TEST(no_other_features)
{
	const uint64_t known = ALL | RIG_PACKED | RIG_IN_ORDER | RIG_WCE | RIG_RANGES |
		VIRTIO_BIT(VIRTIO_F_VERSION_1) | VIRTIO_BIT(VIRTIO_F_RING_RESET) |
		VIRTIO_BIT(VIRTIO_F_NOTIFICATION_DATA) | VIRTIO_BIT(VIRTIO_BLK_F_MQ) |
		VIRTIO_BIT(VIRTIO_BLK_F_SEG_MAX) | VIRTIO_BIT(VIRTIO_BLK_F_SIZE_MAX) |
		VIRTIO_BIT(VIRTIO_BLK_F_BLK_SIZE) | VIRTIO_BIT(VIRTIO_BLK_F_TOPOLOGY);

	for (unsigned ro = 0; ro < 2; ro++) {
		struct blk_config config = config_of("image", SIZE, true);

		config.notification_data = true;
		config.queues = QUEUES;
		config.disk.read_only = ro;
		begin_with(&config, true, 16, ALL);
		ck_assert_uint_eq(rig.dev->offered, ro ?
				  (known & ~RIG_RANGES) | VIRTIO_BIT(VIRTIO_BLK_F_RO) : known);
		end();
	}
}
END_TEST

/* --- Many queues --- */

static struct blk_rig lane[QUEUES - 1]; /* the queues after the first */

static void begin_queues(bool uring)
{
	struct blk_config config = config_of("image", SIZE, uring);

	config.queues = QUEUES;
	begin_with(&config, uring, 64, ALL | VIRTIO_BIT(VIRTIO_BLK_F_MQ) |
		   VIRTIO_BIT(VIRTIO_F_RING_RESET));
	for (unsigned i = 0; i < QUEUES - 1; i++)
		rig_join(&lane[i], &rig, i + 1);
}

/* The second thread serves every other queue. */
static void begin_queues_on_two(bool uring)
{
	second = thread_begin(uring);
	begin_queues(uring);
}

static void end_queues(void)
{
	/* Nothing rings a lane's eventfd once it is closed. */
	virtio_device_shut_down(rig.dev);
	for (unsigned i = 0; i < QUEUES - 1; i++)
		rig_leave(&lane[i]);
	end();
}

/* BLK-01, BLK-13, BLK-49: what came by a queue goes back by it. */
/* Rows: BLK-01, BLK-13, BLK-49 */
START_TEST(many_queues)
{
	for (unsigned k = 0; k < 2 * array_size(kinds); k++) {
		if (k % 2)
			begin_queues_on_two(kinds[k / 2]);
		else
			begin_queues(kinds[k / 2]);
		ck_assert(rig.dev->offered & VIRTIO_BIT(VIRTIO_BLK_F_MQ));
		ck_assert_uint_eq(virtio_config_read(rig.dev, 34, 2), QUEUES);
		for (unsigned round = 0; round < 500; round++) {
			unsigned added[QUEUES] = { 0 };

			/* No request sees a difference. */
			blk_set_capacity(rig.blk, SECTORS - round % 2);
			for (unsigned n = vq_random(&state, 40); n; n--) {
				unsigned q = vq_random(&state, QUEUES);
				struct blk_rig *r = q ? &lane[q - 1] : &rig;

				if (rig_add(r, n % 3 ? &read_one : &write_one) < 0)
					continue;
				added[q]++;
				rig_kick(r);
			}
			for (unsigned q = 0; q < QUEUES; q++) {
				struct blk_rig *r = q ? &lane[q - 1] : &rig;
				struct rig_result result;

				for (; added[q]; added[q]--) {
					rig_wait(r, &result);
					must(result.status == 0);
				}
				must(!rig_poll(r, &result));
			}
		}
		/* The used rings of the others are the device's to write, until now. */
		rig_reset_order(&rig);
		rig_reset_wait(&rig);
		for (unsigned i = 0; i < QUEUES - 1; i++)
			vq_ram_allow(&rig.ram, vq_driver_config(lane[i].driver)->device, 6 + 8 * 64);
		rig_check(&rig);
		end_queues();
	}
}
END_TEST

static pid_t noted;

static void note_thread(struct virtio_notifier *notifier)
{
	noted = gettid();
	eventfd_write(container_of(notifier, struct blk_rig, notifier)->interrupt, 1);
}

/* Who serves the queue, which is new: so its first request interrupts. */
static pid_t thread_of(struct blk_rig *r)
{
	struct virtio_queue *queue = virtio_queue_at(r->dev, r->queue);
	uint64_t deadline = clock_ns() + RIG_DEADLINE_MS * 1000000ULL;

	r->notifier.raise = note_thread;
	must(rig_do(r, &write_one) == 0);
	virtio_queue_reset(r->dev, queue);
	/* The acknowledgement comes after the interrupt. */
	while (virtio_queue_settle(r->dev, queue)) {
		must(clock_ns() < deadline);
		poll(NULL, 0, 0);
	}
	return noted;
}

START_TEST(queues_are_dealt_round)
{
	static struct blk_rig other[2];
	pid_t on[2];

	begin_queues_on_two(true);
	on[0] = thread_of(&rig);
	on[1] = thread_of(&lane[0]);
	ck_assert_int_ne(on[0], on[1]);
	ck_assert_int_eq(thread_of(&lane[1]), on[0]);
	ck_assert_int_eq(thread_of(&lane[2]), on[1]);
	/* The queues of other disks go on in turn. */
	for (unsigned i = 0; i < 2; i++) {
		struct blk_config config = config_of(i ? "third" : "other", SIZE, true);

		rig_create_on(&other[i], &config, &pool, 64);
		rig_prepare(&other[i], ALL | VIRTIO_BIT(VIRTIO_F_RING_RESET));
		rig_go(&other[i]);
		ck_assert_int_eq(thread_of(&other[i]), on[i]);
		rig_stop(&other[i]);
	}
	end_queues();
	rig_free(&other[0]);
	rig_free(&other[1]);
}
END_TEST

/* A thread that waits for the host, or to stop a queue, keeps no other from its work. */
START_TEST(stop_on_one_of_two_threads)
{
	const struct rig_request id = { .type = VIRTIO_BLK_T_GET_ID, .in = 20 };

	for (unsigned k = 0; k < array_size(kinds); k++) {
		uint64_t deadline = clock_ns() + RIG_DEADLINE_MS * 1000000ULL;
		struct virtio_queue *queue;
		struct slow slow;

		begin_queues_on_two(kinds[k]);
		queue = virtio_queue_at(rig.dev, 1);
		slow_begin(&slow, &rig.disk, kinds[k]);
		must(rig_add(&lane[0], &read_one) >= 0);
		rig_kick(&lane[0]);
		if (kinds[k])
			wait_until_popped(&lane[0]);
		for (unsigned i = 0; i < 100; i++)
			must(rig_do(&rig, &id) == 0);
		virtio_queue_reset(rig.dev, queue);
		for (unsigned i = 0; i < 100; i++)
			must(rig_do(&lane[1], &id) == 0);
		ck_assert(!kinds[k] || virtio_queue_settle(rig.dev, queue));
		slow_let_go(&slow, 1);
		while (virtio_queue_settle(rig.dev, queue)) {
			must(clock_ns() < deadline);
			poll(NULL, 0, 0);
		}
		slow_end(&slow, &rig.disk);
		must(rig_do(&rig, &read_one) == 0);
		must(rig_do(&lane[2], &read_one) == 0);
		end_queues();
	}
}
END_TEST

/* BLK-32: a flush is for what any queue wrote. */
/* Rows: BLK-32, BLK-33 */
START_TEST(flush_on_another_queue)
{
	unsigned before;

	begin_queues_on_two(false);
	before = fault_count(FAULT_FLUSH);
	ck_assert_uint_eq(rig_do(&rig, &write_one), 0);
	ck_assert_uint_eq(rig_do(&lane[0], &flush), 0);
	ck_assert_uint_eq(fault_count(FAULT_FLUSH) - before, 1);
	/* BLK-33: its failure is known on every queue. */
	fault_inject(FAULT_FLUSH, 1, EIO, 0);
	files_capture();
	ck_assert_uint_eq(rig_do(&lane[0], &flush), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(rig_do(&lane[1], &flush), VIRTIO_BLK_S_IOERR);
	free(files_captured());
	end_queues();
}
END_TEST

/* One queue waits for the host, the others do not; a reset waits for all. */
/* Rows: BLK-49 */
START_TEST(slow_queue)
{
	const struct rig_request id = { .type = VIRTIO_BLK_T_GET_ID, .in = 20 };
	struct slow slow;

	begin_queues(true);
	slow_begin(&slow, &rig.disk, true);
	must(rig_add(&lane[0], &read_one) >= 0);
	rig_kick(&lane[0]);
	wait_until_popped(&lane[0]);
	for (unsigned i = 0; i < 100; i++) {
		must(rig_do(&rig, &id) == 0);
		must(rig_do(&lane[1 + i % 2], &id) == 0);
	}
	rig_reset_order(&rig);
	ck_assert_uint_eq(virtio_get_status(rig.dev), 0xf);
	slow_let_go(&slow, 1);
	rig_reset_wait(&rig);
	slow_end(&slow, &rig.disk);
	end_queues();
}
END_TEST

/* The end of the VM waits just so. */
START_TEST(end_with_requests_in_flight)
{
	for (unsigned k = 0; k < array_size(kinds); k++)
		for (unsigned round = 0; round < 20; round++) {
			begin(kinds[k], 256, ALL);
			for (unsigned i = 0; i < 32; i++)
				must(rig_add(&rig, i % 2 ? &read_one : &write_one) >= 0);
			rig_kick(&rig);
			rig_stop(&rig);
			vq_driver_reset(rig.driver);
			rig_check(&rig);
			io_thread_destroy(thread);
			rig_free(&rig);
		}
}
END_TEST

/* HOST-13 made large: more chains than requests, since heads are given twice. */
START_TEST(more_chains_than_requests)
{
	struct vring_used *used;
	struct slow slow;
	uint64_t deadline;

	begin(true, 16, ALL);
	slow_begin(&slow, &rig.disk, true);
	for (unsigned i = 0; i < 16; i++) {
		struct rig_request r = read_one;

		r.cut = RIG_TABLE;
		ck_assert_int_ge(rig_add(&rig, &r), 0);
	}
	rig_kick(&rig);
	used = vq_ram_ptr(&rig.ram, vq_driver_config(rig.driver)->device);
	deadline = clock_ns() + RIG_DEADLINE_MS * 1000000ULL;
	for (unsigned i = 1; i <= 32; i++) {
		slow_let_go(&slow, 1);
		while (load_acquire(&used->idx) != i)
			must(clock_ns() < deadline);
		if (i > 1)
			continue;
		/* The same sixteen again, and rung for while one request is free. */
		wait_until_popped(&rig);
		vq_split_avail(rig.driver, 0, 32, 0);
		for (unsigned n = 0; n < 10; n++)
			virtio_queue_kick(virtio_queue_at(rig.dev, 0));
		/* No request is free by now, and the ring is not empty. */
		check_idle();
	}
	ck_assert_uint_eq(virtio_get_status(rig.dev), 0xf);
	slow_end(&slow, &rig.disk);
	end();
}
END_TEST

/* --- The last thing that a driver sees of a request is that it was told of it --- */

static void (*told)(struct virtio_notifier *notifier);
static unsigned early, completed; /* the latter atomic */

/* On the I/O thread: the request is that in the first slot, whose data was 0xcc. */
static void look_before_told(struct virtio_notifier *notifier)
{
	const uint8_t *data = rig_data(&rig, 0);
	const struct vring_used *used =
		vq_ram_ptr(&rig.ram, vq_driver_config(rig.driver)->device);

	early += used->idx != completed + 1 || used->ring[completed].len != 513 ||
		data[0] != image_byte(0) || data[511] != image_byte(511) || data[512] != 0;
	told(notifier);
	store_release(&completed, completed + 1);
}

/* Rows: SPLIT-23, MSIX-16 */
START_TEST(told_when_all_is_there)
{
	uint64_t deadline = clock_ns() + RIG_DEADLINE_MS * 1000000ULL;

	for (unsigned k = 0; k < array_size(kinds); k++) {
		begin(kinds[k], 256, RIG_INDIRECT);
		told = rig.notifier.raise;
		completed = early = 0;
		rig.notifier.raise = look_before_told;
		for (unsigned i = 0; i < 100; i++) {
			vq_ram_fill(&rig.ram, rig.slot[0].status, 0xcc, 512);
			ck_assert_uint_eq(rig_do(&rig, &read_one), 0);
			/* A driver may see it in the ring before it is told. */
			while (load_acquire(&completed) != i + 1) {
				must(clock_ns() < deadline);
				poll(NULL, 0, 0);
			}
		}
		rig.notifier.raise = told;
		end();
		ck_assert_uint_eq(early, 0);
	}
}
END_TEST

/* --- Many lives --- */

static void many_resets(bool uring, unsigned count)
{
	unsigned fds, threads;

	begin(uring, 64, ALL);
	ck_assert_uint_eq(rig_do(&rig, &read_one), 0);
	fds = leaks_fds();
	threads = leaks_threads();
	for (unsigned i = 0; i < count; i++) {
		unsigned in_flight = vq_random(&state, 16), interrupts;

		for (unsigned n = 0; n < in_flight; n++)
			must(rig_add(&rig, n % 4 ? &read_one : &write_one) >= 0);
		rig_kick(&rig);
		if (vq_random(&state, 4) == 0 && in_flight) {
			struct rig_result result;

			rig_wait(&rig, &result);
		}
		rig_reset_order(&rig);
		rig_reset_wait(&rig);
		interrupts = load_acquire(&rig.interrupts);
		/* Once in a while, is all of memory as it should be? */
		if (i % 64 == 0) {
			rig_check(&rig);
			must(interrupts == load_acquire(&rig.interrupts));
		}
		/* Seldom without FLUSH: each write would wait for the host's disk. */
		rig_prepare(&rig, feature_sets[vq_random(&state, array_size(feature_sets))] |
			    (i % 64 ? RIG_FLUSH : 0));
		rig_go(&rig);
	}
	ck_assert_uint_eq(rig_do(&rig, &read_one), 0);
	ck_assert_uint_eq(leaks_fds(), fds);
	ck_assert_uint_eq(leaks_threads(), threads);
	rig_check(&rig);
	end();
}

START_TEST(ten_thousand_resets)
{
	for (unsigned k = 0; k < array_size(kinds); k++)
		many_resets(kinds[k], 10000);
}
END_TEST

START_TEST(devices_come_and_go)
{
	unsigned fds = 0, threads = 0;

	for (unsigned i = 0; i < 100; i++) {
		/* The first may make what stays, such as a sanitizer's own thread. */
		if (i == 1) {
			fds = leaks_fds();
			threads = leaks_threads();
		}
		begin(kinds[i % 2], 64, ALL);
		ck_assert_uint_eq(rig_do(&rig, &read_one), 0);
		end();
	}
	ck_assert_uint_eq(leaks_fds(), fds);
	ck_assert_uint_eq(leaks_threads(), threads);
}
END_TEST

/* --- Speed and races --- */

/* The driver adds while the device drains, at full speed. */
/* Rows: SPLIT-23 */
START_TEST(racing_driver)
{
	for (unsigned k = 0; k < array_size(kinds); k++)
		for (unsigned f = 0; f < 4; f++) {
			uint64_t until = clock_ns() + 500 * 1000000ULL;

			begin(kinds[k], 256, (f % 2 ? ALL : RIG_INDIRECT) |
			      (f / 2 ? RIG_PACKED : 0));
			reset_model();
			while (clock_ns() < until)
				random_requests(64, 1 + vq_random(&state, 64), false);
			rig_check(&rig);
			image_is_model();
			end();
		}
}
END_TEST

/* Two devices on one thread; one of them is slow, or reset, the other served. */
START_TEST(two_devices_on_a_thread)
{
	static struct blk_rig other;

	for (unsigned k = 0; k < array_size(kinds); k++) {
		struct blk_config config = config_of("other", SIZE, kinds[k]);
		struct rig_result result;
		struct slow slow;

		begin(kinds[k], 256, ALL);
		rig_create(&other, &config, thread, 64);
		rig_prepare(&other, ALL);
		rig_go(&other);
		for (unsigned i = 0; i < 200; i++) {
			must(rig_add(&rig, &read_one) >= 0 && rig_add(&other, &write_one) >= 0);
			rig_kick(&rig);
			rig_kick(&other);
			rig_wait(&rig, &result);
			must(result.status == 0);
			rig_wait(&other, &result);
			must(result.status == 0);
		}
		if (kinds[k]) {
			slow_begin(&slow, &other.disk, true);
			must(rig_add(&other, &read_one) >= 0);
			rig_kick(&other);
			wait_until_popped(&other);
			ck_assert_uint_eq(rig_do(&rig, &read_one), 0);
			rig_reset_order(&other);
			for (unsigned i = 0; i < 100; i++)
				must(rig_do(&rig, &read_one) == 0);
			ck_assert_uint_eq(virtio_get_status(other.dev), 0xf);
			slow_let_go(&slow, 1);
			rig_reset_wait(&other);
			slow_end(&slow, &other.disk);
		}
		ck_assert_uint_eq(rig_do(&rig, &read_one), 0);
		rig_check(&rig);
		rig_check(&other);
		rig_stop(&other);
		end();
		rig_free(&other);
	}
}
END_TEST

/* Rings of garbage: the device serves, refuses or breaks; the process stands. */
START_TEST(garbage)
{
	for (unsigned k = 0; k < array_size(kinds); k++) {
		begin(kinds[k], 16, ALL | RIG_RANGES);
		files_capture();
		for (unsigned round = 0; round < 3000; round++) {
			for (unsigned i = 0; i < 16; i++) {
				struct vring_desc desc = {
					.addr = RIG_GPA + vq_random(&state, 4 << 20),
					.len = vq_random(&state, 2) ? 16 : vq_random(&state, 9000),
					.flags = (uint16_t)vq_random(&state, 8),
					.next = (uint16_t)vq_random(&state, 17),
				};
				struct virtio_blk_outhdr header = {
					.type = vq_random(&state, 16),
					.sector = vq_random(&state, 4096),
				};

				if (desc.addr + 16 < RIG_GPA + (4 << 20))
					vq_ram_put(&rig.ram, desc.addr, &header, 16);
				vq_split_desc(rig.driver, i, &desc);
				vq_split_head(rig.driver, i, (uint16_t)vq_random(&state, 16));
			}
			vq_split_avail(rig.driver, 0, (uint16_t)vq_random(&state, 17), 0);
			virtio_queue_kick(virtio_queue_at(rig.dev, 0));
			rig_reset_order(&rig);
			rig_reset_wait(&rig);
			rig_prepare(&rig, ALL | RIG_RANGES);
			rig_go(&rig);
		}
		free(files_captured());
		end();
	}
}
END_TEST

static unsigned told_ok, told_read; /* atomic */

static void count_ok(void *opaque)
{
	ck_assert_ptr_eq(opaque, &told_ok);
	__atomic_fetch_add(&told_ok, 1, __ATOMIC_RELAXED);
}

static void count_read(void *opaque)
{
	ck_assert_ptr_eq(opaque, &told_ok);
	__atomic_fetch_add(&told_read, 1, __ATOMIC_RELAXED);
}

/* The observer hears of each start of a queue, and of its first read that succeeds. */
START_TEST(observer)
{
	const struct blk_observer who = { count_ok, count_read, &told_ok };
	const struct rig_request beyond = { .type = VIRTIO_BLK_T_IN, .sector = SECTORS, .in = 512 };

	for (unsigned k = 0; k < array_size(kinds); k++) {
		const struct blk_config config = config_of("image", SIZE, kinds[k]);

		told_ok = told_read = 0;
		thread = thread_begin(kinds[k]);
		rig_create(&rig, &config, thread, 256);
		blk_observe(rig.blk, &who);
		rig_prepare(&rig, ALL);
		ck_assert_uint_eq(load_relaxed(&told_ok), 0);
		rig_go(&rig);
		ck_assert_uint_eq(load_relaxed(&told_ok), 1);
		ck_assert_uint_eq(rig_do(&rig, &write_one), 0);
		ck_assert_uint_eq(rig_do(&rig, &flush), 0);
		ck_assert_uint_eq(rig_do(&rig, &beyond), 1);
		ck_assert_uint_eq(load_relaxed(&told_read), 0);
		for (unsigned i = 0; i < 3; i++) {
			ck_assert_uint_eq(rig_do(&rig, &read_one), 0);
			ck_assert_uint_eq(load_relaxed(&told_read), 1);
		}
		rig_reset_order(&rig);
		rig_reset_wait(&rig);
		rig_prepare(&rig, ALL);
		rig_go(&rig);
		ck_assert_uint_eq(rig_do(&rig, &read_one), 0);
		ck_assert_uint_eq(load_relaxed(&told_ok), 2);
		ck_assert_uint_eq(load_relaxed(&told_read), 1);
		rig_check(&rig);
		end();
	}
}
END_TEST

static void add_case(Suite *suite, const char *name, const TTest *const *tests, size_t count)
{
	TCase *tcase = tcase_create(name);

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, setup, teardown);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
}

int main(void)
{
	const TTest *const requests[] = {
		all_kinds_of_requests, read_only, positions_wrap, configuration, topology,
		most_segments,
		nothing_before_driver_ok, no_place_for_a_status, writes_are_stable_without_flush,
		cache_modes, writeback_toggled, writeback_toggled_under_load, flush_reaches_the_disk,
		failed_stable_write_is_not_forgotten, host_errors, adjacent_requests,
		adjacent_requests_in_a_shrunk_image,
	};
	const TTest *const ranges[] = {
		no_discard, bad_segment_last, zeroes_are_stable_without_flush, holes_refused,
		reset_ends_long_zeroes, reset_between_rounds, reset_between_segments,
		cancelled_flush,
	};
	const TTest *const resizing[] = {
		resized, shrunk_under_a_request, resized_under_load, resized_before_driver_ok,
	};
	const TTest *const queues[] = {
		many_queues, queues_are_dealt_round, flush_on_another_queue, slow_queue,
		stop_on_one_of_two_threads,
	};
	const TTest *const life[] = {
		broken_ring, reset_with_requests_in_flight, in_order, told_when_all_is_there,
		features_by_configuration, no_other_features, end_with_requests_in_flight,
		more_chains_than_requests, ten_thousand_resets, devices_come_and_go, observer,
	};
	const TTest *const races[] = { racing_driver, two_devices_on_a_thread, garbage };
	Suite *suite = suite_create("blk");

	add_case(suite, "requests", requests, array_size(requests));
	add_case(suite, "ranges", ranges, array_size(ranges));
	add_case(suite, "resizing", resizing, array_size(resizing));
	add_case(suite, "queues", queues, array_size(queues));
	add_case(suite, "life", life, array_size(life));
	add_case(suite, "races", races, array_size(races));
	return unit_run(suite);
}
