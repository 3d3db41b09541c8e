// SPDX-License-Identifier: BSD-2-Clause
/*
 * What every virtio device owes: status, features, queue registers, reset, configuration
 * space.
 */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	IN_FLIGHT = 32,
	RENEGOTIATIONS = 100,
	EMPTY_KICKS = 1000,
	CONFIG_SHOWN = BLK_DISCARD_LIMITS, /* capacity to num_queues */
	CONFIG_END = 96,
};

/* Feature bits that a block device on PCI may offer (GEN-17). */
#define BLK_FEATURES                                                                               \
	(FEATURE(F_BLK_SIZE_MAX) | FEATURE(F_BLK_SEG_MAX) | FEATURE(F_BLK_GEOMETRY) |              \
	 FEATURE(F_BLK_RO) | FEATURE(F_BLK_BLK_SIZE) | FEATURE(F_BLK_FLUSH) |                      \
	 FEATURE(F_BLK_TOPOLOGY) | FEATURE(F_BLK_CONFIG_WCE) | FEATURE(F_BLK_MQ) |                 \
	 FEATURE(F_BLK_DISCARD) | FEATURE(F_BLK_WRITE_ZEROES) | FEATURE(F_BLK_LIFETIME) |          \
	 FEATURE(F_BLK_SECURE_ERASE) | FEATURE(F_BLK_ZONED))
#define RING_FEATURES                                                                              \
	(FEATURE(F_INDIRECT_DESC) | FEATURE(F_EVENT_IDX) | FEATURE(F_VERSION_1) |                  \
	 FEATURE(F_ACCESS_PLATFORM) | FEATURE(F_RING_PACKED) | FEATURE(F_IN_ORDER) |               \
	 FEATURE(F_ORDER_PLATFORM) | FEATURE(F_SR_IOV) | FEATURE(F_NOTIFICATION_DATA) |            \
	 FEATURE(F_NOTIF_CONFIG_DATA) | FEATURE(F_RING_RESET) | FEATURE(F_ADMIN_VQ) |              \
	 FEATURE(F_SUSPEND))

static void status_at_boot(struct blk *disk)
{
	CHECK_EQUAL(disk->status_at_boot, 0);
}

static void status_reads_back(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;

	virtio_set_status(device, STATUS_ACKNOWLEDGE);
	CHECK_EQUAL(virtio_status(device), STATUS_ACKNOWLEDGE);
	virtio_set_status(device, STATUS_FOUND);
	CHECK_EQUAL(virtio_status(device), STATUS_FOUND);
	virtio_accept(device, FEATURE(F_VERSION_1));
	virtio_set_status(device, STATUS_NEGOTIATED);
	CHECK_EQUAL(virtio_status(device), STATUS_NEGOTIATED);
	virtio_set_status(device, STATUS_LIVE);
	CHECK_EQUAL(virtio_status(device), STATUS_LIVE);
	virtio_set_status(device, STATUS_LIVE | STATUS_FAILED);
	CHECK_EQUAL(virtio_status(device), STATUS_LIVE | STATUS_FAILED);
}

/* Clearing bits and setting undefined ones is a driver's mistake that must stay harmless. */
static void status_nonsense(struct blk *disk)
{
	static const uint8_t values[] = { STATUS_NEGOTIATED, 0x20, STATUS_FAILED, 0x10, 0xff };

	for (unsigned i = 0; i < sizeof(values); i++) {
		test_context("status 0x%x", values[i]);
		blk_start(disk, 0);
		virtio_set_status(&disk->device, values[i]);
		CHECK(virtio_status(&disk->device) != 0);
		blk_check_alive(disk);
	}
}

static void reset_from_any_state(struct blk *disk)
{
	static const uint8_t states[] = {
		0,           STATUS_ACKNOWLEDGE, STATUS_FOUND,     STATUS_NEGOTIATED,
		STATUS_LIVE, STATUS_FAILED,      STATUS_DRIVER_OK,
	};

	for (unsigned i = 0; i < sizeof(states); i++) {
		test_context("status 0x%x", states[i]);
		virtio_reset(&disk->device);
		virtio_set_status(&disk->device, states[i]);
		blk_check_alive(disk);
	}
}

static void features_offered(struct blk *disk)
{
	uint64_t offered = virtio_offered(&disk->device);

	CHECK(offered & FEATURE(F_VERSION_1));
	CHECK_EQUAL(offered & ~(BLK_FEATURES | RING_FEATURES), 0);
	CHECK(offered & FEATURE(F_INDIRECT_DESC));
	CHECK(offered & FEATURE(F_EVENT_IDX));
	CHECK_EQUAL(!!(offered & FEATURE(F_BLK_RO)), list_has(option("disk", "rw"), "ro"));
}

/* No machine of the kit has a disk that is zoned, worn out or erased, or virtual functions. */
static void features_not_had(struct blk *disk)
{
	static const unsigned bits[] = { F_SR_IOV, F_BLK_LIFETIME, F_BLK_SECURE_ERASE,
					 F_BLK_ZONED };
	uint64_t offered = virtio_offered(&disk->device);

	for (unsigned i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		test_context("bit %u", bits[i]);
		CHECK(!(offered & FEATURE(bits[i])));
	}
}

/* Nothing translates addresses: each page of RAM is one for a buffer, and comes to no harm. */
static void memory_ends(struct blk *disk)
{
	uint64_t top = option_number("memory", 0) << 20;
	uintptr_t pages[] = { 0, top - PAGE_SIZE };
	void *kept = heap_alloc(PAGE_SIZE, 8);

	CHECK(!(virtio_offered(&disk->device) & FEATURE(F_ACCESS_PLATFORM)));
	blk_start(disk, 0);
	for (unsigned i = 0; i < (top ? 2 : 1); i++) {
		struct virtq_buffer pieces[3];
		struct blk_request request;
		uint64_t *page;

		test_context("page at 0x%lx", pages[i]);
		asm("" : "=r"(page) : "0"(pages[i])); /* for once, address 0 is a place */
		blk_request_init(&request, BLK_IN, 9, PAGE_SIZE);
		pieces[0] = (struct virtq_buffer){ request.readable, BLK_HEADER_SIZE, false };
		pieces[1] = (struct virtq_buffer){ page, PAGE_SIZE, true };
		pieces[2] = (struct virtq_buffer){ request.writable + PAGE_SIZE, 1, true };
		memcpy(kept, page, PAGE_SIZE);
		request.head = virtq_add(&disk->queue, pieces, 3);
		virtq_publish(&disk->queue, request.head);
		blk_finish(disk, &request);
		memcpy(blk_data(&request), page, PAGE_SIZE);
		memcpy(page, kept, PAGE_SIZE);
		CHECK_EQUAL(blk_status(&request), BLK_OK);
		blk_check(disk, blk_data(&request), 9, PAGE_SIZE / SECTOR_SIZE, false);
	}
}

static void features_words(struct blk *disk)
{
	static const uint32_t beyond[] = { 2, 3, 4, 0x7fffffff, 0xffffffff };
	uint32_t low = virtio_offered_word(&disk->device, 0);

	for (unsigned i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++) {
		test_context("word 0x%x", beyond[i]);
		CHECK_EQUAL(virtio_offered_word(&disk->device, beyond[i]), 0);
		virtio_write32(&disk->device, DRIVER_FEATURE_SELECT, beyond[i]);
		virtio_write32(&disk->device, DRIVER_FEATURE, 0xffffffff);
	}
	CHECK_EQUAL(virtio_offered_word(&disk->device, 0), low);
	blk_check_alive(disk);
}

static void features_read_back(struct blk *disk)
{
	uint64_t offered = virtio_offered(&disk->device);

	virtio_set_status(&disk->device, STATUS_FOUND);
	virtio_accept(&disk->device, offered);
	CHECK_EQUAL(virtio_accepted(&disk->device), offered);
	virtio_accept(&disk->device, FEATURE(F_VERSION_1));
	CHECK_EQUAL(virtio_accepted(&disk->device), FEATURE(F_VERSION_1));
}

/*
 * The lowest bit in each word that the device does not offer. After the refusal a good set
 * is taken.
 */
static void features_refused(struct blk *disk)
{
	struct virtio_device *device = &disk->device;
	uint64_t offered = virtio_offered(device);

	for (unsigned word = 0; word < VIRTIO_FEATURE_WORDS; word++) {
		unsigned bit = 32 * word;

		while (offered & FEATURE(bit))
			bit++;
		test_context("bit %u", bit);
		CHECK(!virtio_try_features(device, FEATURE(F_VERSION_1) | FEATURE(bit)));
		CHECK_EQUAL(virtio_status(device), STATUS_FOUND);
		virtio_accept(device, FEATURE(F_VERSION_1));
		virtio_set_status(device, STATUS_NEGOTIATED);
		CHECK_EQUAL(virtio_status(device), STATUS_NEGOTIATED);
	}
}

static void features_subsets(struct blk *disk)
{
	uint64_t offered = virtio_offered(&disk->device);

	CHECK(virtio_try_features(&disk->device, FEATURE(F_VERSION_1)));
	for (unsigned bit = 0; bit < 64; bit++) {
		if (!(offered & FEATURE(bit)))
			continue;
		test_context("bit %u", bit);
		CHECK(virtio_try_features(&disk->device, FEATURE(F_VERSION_1) | FEATURE(bit)));
	}
	test_context("all");
	CHECK(virtio_try_features(&disk->device, offered));
}

static void features_again(struct blk *disk)
{
	uint64_t offered = virtio_offered(&disk->device);

	for (unsigned i = 0; i < RENEGOTIATIONS; i++)
		CHECK(virtio_try_features(&disk->device, offered));
}

/* A device may refuse to go on without VERSION_1; one that does not refuse must then work. */
static void features_without_version_1(struct blk *disk)
{
	struct virtio_device *device = &disk->device;
	uint64_t offered = virtio_offered(device);

	if (!virtio_try_features(device, offered & ~FEATURE(F_VERSION_1))) {
		CHECK_EQUAL(virtio_status(device), STATUS_FOUND);
		return;
	}
	virtq_create(&disk->queue, device, 0, blk_queue_size(disk));
	virtq_enable(&disk->queue, VIRTIO_NO_VECTOR);
	virtio_set_status(device, STATUS_LIVE);
	blk_check(disk, blk_read(disk, 4, 1), 4, 1, false);
}

/*
 * EVENT_IDX was not accepted at FEATURES_OK: taking it on later must not change how
 * interrupts work.
 */
static void features_latched(struct blk *disk)
{
	blk_start(disk, 0);
	virtio_accept(&disk->device, FEATURE(F_VERSION_1) | FEATURE(F_EVENT_IDX));
	CHECK_EQUAL(virtio_status(&disk->device), STATUS_LIVE);
	virtq_set_used_event(&disk->queue, 0x4000);
	blk_check(disk, blk_read(disk, 5, 1), 5, 1, false);
	blk_check_interrupts(disk, ENTRY_QUEUE, 1);
}

static void queue_sizes(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	uint16_t count = virtio_read16(device, NUM_QUEUES);

	CHECK(count >= 1);
	for (uint16_t i = 0; i < count; i++) {
		uint16_t size;

		test_context("queue %u", i);
		virtio_write16(device, QUEUE_SELECT, i);
		size = virtio_read16(device, QUEUE_SIZE);
		CHECK(size != 0 && size <= 32768);
		CHECK_EQUAL(size & (size - 1), 0);
		CHECK_EQUAL(virtio_read16(device, QUEUE_ENABLE), 0);
		virtio_write16(device, QUEUE_SIZE, size / 2);
		CHECK_EQUAL(virtio_read16(device, QUEUE_SIZE), size / 2);
		virtio_reset(device);
		virtio_write16(device, QUEUE_SELECT, i);
		CHECK_EQUAL(virtio_read16(device, QUEUE_SIZE), size);
	}
}

static void queue_missing(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	const uint16_t missing[] = { virtio_read16(device, NUM_QUEUES), 0x7fff, 0xffff };

	for (unsigned i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
		test_context("queue %u", missing[i]);
		virtio_write16(device, QUEUE_SELECT, missing[i]);
		CHECK_EQUAL(virtio_read16(device, QUEUE_SIZE), 0);
		virtio_write16(device, QUEUE_SIZE, 16);
		virtio_write16(device, QUEUE_VECTOR, 0);
		virtio_write64(device, QUEUE_DESC, 0x1000);
		virtio_write16(device, QUEUE_ENABLE, 1);
		CHECK_EQUAL(virtio_read16(device, QUEUE_SIZE), 0);
		CHECK_EQUAL(virtio_read16(device, QUEUE_ENABLE), 0);
	}
	test_context(NULL);
	blk_check_alive(disk);
}

/* A bad size is either not taken or keeps the queue from being enabled. */
static void queue_size_bad(struct blk *disk)
{
	struct virtio_device *device = &disk->device;
	uint16_t maximum = blk_queue_size(disk);
	const uint16_t sizes[] = { 0, 3, 0xffff, maximum - 1, (uint16_t)(maximum + 1) };

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		test_context("size %u", sizes[i]);
		virtio_negotiate(device, 0);
		virtq_create(&disk->queue, device, 0, maximum);
		if (disk->queue.packed && sizes[i] && sizes[i] < maximum)
			continue;
		virtio_write16(device, QUEUE_SELECT, 0);
		virtio_write64(device, QUEUE_DESC, (uintptr_t)disk->queue.desc);
		virtio_write64(device, QUEUE_DRIVER, (uintptr_t)disk->queue.avail);
		virtio_write64(device, QUEUE_DEVICE, (uintptr_t)disk->queue.used);
		virtio_write16(device, QUEUE_SIZE, sizes[i]);
		virtio_write16(device, QUEUE_ENABLE, 1);
		CHECK(virtio_read16(device, QUEUE_SIZE) != sizes[i] ||
		      virtio_read16(device, QUEUE_ENABLE) == 0);
	}
	test_context(NULL);
	blk_check_alive(disk);
}

static void queue_address_halves(struct blk *disk)
{
	static const enum virtio_register fields[] = { QUEUE_DESC, QUEUE_DRIVER, QUEUE_DEVICE };
	const struct virtio_device *device = &disk->device;

	virtio_write16(device, QUEUE_SELECT, 0);
	for (unsigned i = 0; i < 3; i++) {
		test_context("field at %u", fields[i]);
		virtio_write32(device, fields[i] + 4, 0x00000012);
		virtio_write32(device, fields[i], 0x3456f000);
		CHECK_EQUAL(virtio_read64(device, fields[i]), 0x123456f000);
		virtio_write32(device, fields[i], 0x9abcd000);
		CHECK_EQUAL(virtio_read64(device, fields[i]), 0x129abcd000);
		virtio_write32(device, fields[i] + 4, 0);
		CHECK_EQUAL(virtio_read64(device, fields[i]), 0x9abcd000);
	}
}

static void queue_stays_enabled(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;

	blk_start(disk, 0);
	virtio_write16(device, QUEUE_SELECT, 0);
	virtio_write16(device, QUEUE_ENABLE, 0);
	CHECK_EQUAL(virtio_read16(device, QUEUE_ENABLE), 1);
	virtio_write16(device, QUEUE_ENABLE, 1);
	CHECK_EQUAL(virtio_read16(device, QUEUE_ENABLE), 1);
	blk_check(disk, blk_read(disk, 0, 1), 0, 1, false);
}

/*
 * While enabled, a queue's size and addresses are settled: what is written to them does
 * not count.
 */
static void queue_settled(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;

	blk_start(disk, 0);
	virtio_write16(device, QUEUE_SELECT, 0);
	virtio_write16(device, QUEUE_SIZE, disk->queue.size / 2);
	virtio_write64(device, QUEUE_DESC, (uintptr_t)heap_alloc(PAGE_SIZE, PAGE_SIZE));
	virtio_write64(device, QUEUE_DRIVER, (uintptr_t)heap_alloc(PAGE_SIZE, PAGE_SIZE));
	virtio_write64(device, QUEUE_DEVICE, (uintptr_t)heap_alloc(PAGE_SIZE, PAGE_SIZE));
	virtio_write16(device, QUEUE_ENABLE, 1);
	for (unsigned i = 0; i < disk->queue.size / 2u + 1; i++)
		blk_check(disk, blk_read(disk, i, 1), i, 1, false);
}

static void read_only_registers(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	uint32_t features = virtio_offered_word(device, 0);
	uint16_t queues = virtio_read16(device, NUM_QUEUES), notify_off;
	uint8_t generation = virtio_read8(device, CONFIG_GENERATION);

	virtio_write32(device, DEVICE_FEATURE, ~features);
	CHECK_EQUAL(virtio_read32(device, DEVICE_FEATURE), features);
	virtio_write16(device, NUM_QUEUES, queues + 1);
	CHECK_EQUAL(virtio_read16(device, NUM_QUEUES), queues);
	virtio_write8(device, CONFIG_GENERATION, generation + 1);
	CHECK_EQUAL(virtio_read8(device, CONFIG_GENERATION), generation);
	virtio_write16(device, QUEUE_SELECT, 0);
	notify_off = virtio_read16(device, QUEUE_NOTIFY_OFF);
	virtio_write16(device, QUEUE_NOTIFY_OFF, notify_off + 1);
	CHECK_EQUAL(virtio_read16(device, QUEUE_NOTIFY_OFF), notify_off);
}

/* Registers of features that were not accepted read 0 and ignore writes. */
static void absent_registers(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	static const enum virtio_register registers[] = { QUEUE_NOTIFY_DATA, QUEUE_RESET };

	blk_start(disk, 0);
	virtio_write16(device, QUEUE_SELECT, 0);
	for (unsigned i = 0; i < 2; i++) {
		if (registers[i] + 2u > device->of_type[VIRTIO_CAP_COMMON]->length)
			continue;
		test_context("register %u", registers[i]);
		CHECK_EQUAL(virtio_read16(device, registers[i]), 0);
		virtio_write16(device, registers[i], 1);
		CHECK_EQUAL(virtio_read16(device, registers[i]), 0);
	}
	test_context(NULL);
	CHECK_EQUAL(virtio_read16(device, QUEUE_ENABLE), 1);
	blk_check(disk, blk_read(disk, 0, 1), 0, 1, false);
}

/* All of a device's registers that a reset brings back to what they were. */
struct registers {
	uint64_t accepted, desc, driver, device;
	uint16_t config_vector, size, vector, enable, notify_off;
	uint8_t status, isr;
};

static void registers_read(const struct virtio_device *device, uint16_t queue,
			   struct registers *all)
{
	memset(all, 0, sizeof(*all));
	all->accepted = virtio_accepted(device);
	all->config_vector = virtio_read16(device, CONFIG_VECTOR);
	all->status = virtio_status(device);
	all->isr = virtio_isr(device);
	virtio_write16(device, QUEUE_SELECT, queue);
	all->size = virtio_read16(device, QUEUE_SIZE);
	all->vector = virtio_read16(device, QUEUE_VECTOR);
	all->enable = virtio_read16(device, QUEUE_ENABLE);
	all->notify_off = virtio_read16(device, QUEUE_NOTIFY_OFF);
	all->desc = virtio_read64(device, QUEUE_DESC);
	all->driver = virtio_read64(device, QUEUE_DRIVER);
	all->device = virtio_read64(device, QUEUE_DEVICE);
}

static void registers_check(const struct registers *got, const struct registers *want)
{
	CHECK_EQUAL(got->accepted, want->accepted);
	CHECK_EQUAL(got->config_vector, want->config_vector);
	CHECK_EQUAL(got->status, want->status);
	CHECK_EQUAL(got->isr, want->isr);
	CHECK_EQUAL(got->size, want->size);
	CHECK_EQUAL(got->vector, want->vector);
	CHECK_EQUAL(got->enable, want->enable);
	CHECK_EQUAL(got->notify_off, want->notify_off);
	CHECK_EQUAL(got->desc, want->desc);
	CHECK_EQUAL(got->driver, want->driver);
	CHECK_EQUAL(got->device, want->device);
}

static void reset_forgets(struct blk *disk)
{
	struct virtio_device *device = &disk->device;
	struct registers before, after;

	registers_read(device, 0, &before);
	CHECK_EQUAL(before.accepted, 0);
	CHECK_EQUAL(before.config_vector, VIRTIO_NO_VECTOR);
	CHECK_EQUAL(before.vector, VIRTIO_NO_VECTOR);
	CHECK_EQUAL(before.enable, 0);
	CHECK_EQUAL(before.desc | before.driver | before.device, 0);
	blk_prepare(disk, ~0ull, blk_queue_size(disk) / 2);
	virtio_set_status(device, STATUS_LIVE);
	blk_read(disk, 0, 1);
	virtio_reset(device);
	registers_read(device, 0, &after);
	registers_check(&after, &before);
}

/*
 * Ring positions go back to 0: the first completion after a reset lies in slot 0 of a
 * fresh ring.
 */
static void reset_forgets_positions(struct blk *disk)
{
	for (unsigned round = 0; round < 3; round++) {
		test_context("round %u", round);
		blk_start(disk, 0);
		for (unsigned i = 0; i < 5; i++) {
			blk_read(disk, i, 1);
			blk_check_interrupts(disk, ENTRY_QUEUE, i + 1);
		}
	}
}

static void start_many(struct blk *disk, struct blk_request *requests, uint32_t type)
{
	blk_start(disk, FEATURE(F_RING_RESET));
	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		uint64_t sector = blk_scratch(disk) + 8 * i;

		blk_request_init(&requests[i], type, sector, 8 * SECTOR_SIZE);
		blk_queue(disk, &requests[i]);
	}
	virtq_kick(&disk->queue);
}

/* Nothing moves any more: no ring or buffer byte, no interrupt. */
static void check_still(struct blk *disk, struct blk_request *requests)
{
	unsigned count;

	blk_paint(disk, requests, IN_FLIGHT);
	count = irq_count(blk_vector(disk, ENTRY_QUEUE));
	irq_sleep(QUIET_MS);
	CHECK_EQUAL(irq_count(blk_vector(disk, ENTRY_QUEUE)), count);
	blk_check_painted(disk, requests, IN_FLIGHT);
}

static void reset_in_flight(struct blk *disk)
{
	struct blk_request requests[IN_FLIGHT];

	start_many(disk, requests, BLK_IN);
	virtio_reset(&disk->device);
	check_still(disk, requests);
	blk_check_alive(disk);
}

/* Once queue_reset reads 0 the same holds for that queue, while the device lives on. */
static void queue_reset_in_flight(struct blk *disk)
{
	struct blk_request requests[IN_FLIGHT];
	struct virtio_device *device = &disk->device;

	start_many(disk, requests, BLK_IN);
	CHECK(device->features & FEATURE(F_RING_RESET));
	virtio_queue_reset(device, 0);
	check_still(disk, requests);
	CHECK_EQUAL(virtio_status(device), STATUS_LIVE);
	virtq_create(&disk->queue, device, 0, blk_queue_size(disk));
	virtq_enable(&disk->queue, ENTRY_QUEUE);
	blk_check(disk, blk_read(disk, 7, 1), 7, 1, false);
}

/*
 * Writes that were cut short may have reached the disk or not; each sector holds old or
 * new, whole.
 */
static void reset_in_flight_writes(struct blk *disk)
{
	struct blk_request requests[IN_FLIGHT];
	uint64_t first = blk_scratch(disk);
	const uint64_t *data;

	blk_start(disk, 0);
	blk_write(disk, first, 8 * IN_FLIGHT, true);
	start_many(disk, requests, BLK_OUT);
	virtio_reset(&disk->device);
	blk_start(disk, 0);
	data = blk_read(disk, first, 8 * IN_FLIGHT);
	for (unsigned i = 0; i < 8 * IN_FLIGHT; i++) {
		const uint64_t *sector = data + i * SECTOR_WORDS;

		test_context("sector %u of the range", i);
		if (sector[0] == 0)
			for (unsigned word = 0; word < SECTOR_WORDS; word++)
				CHECK_EQUAL(sector[word], 0);
		else
			blk_check(disk, sector, first + i, 1, true);
	}
}

static void before_driver_ok(struct blk *disk)
{
	struct blk_request request;

	blk_prepare(disk, 0, blk_queue_size(disk));
	blk_request_init(&request, BLK_IN, 6, SECTOR_SIZE);
	blk_queue(disk, &request);
	virtq_kick(&disk->queue);
	blk_check_quiet(disk, 0);
	CHECK_EQUAL(blk_status(&request), BLK_UNWRITTEN);
}

static void driver_ok_looks(struct blk *disk)
{
	struct blk_request request;

	blk_prepare(disk, 0, blk_queue_size(disk));
	blk_request_init(&request, BLK_IN, 6, SECTOR_SIZE);
	blk_queue(disk, &request);
	virtio_set_status(&disk->device, STATUS_LIVE);
	CHECK(WAIT_UNTIL(PATIENCE_MS, virtq_has_used(&disk->queue)));
	blk_take(disk, &request);
	CHECK_EQUAL(blk_status(&request), BLK_OK);
	blk_check(disk, blk_data(&request), 6, 1, false);
}

/* DRIVER_OK out of turn: nothing runs, and nothing breaks. */
static void driver_ok_early(struct blk *disk)
{
	struct virtio_device *device = &disk->device;
	struct blk_request request;

	virtq_create(&disk->queue, device, 0, blk_queue_size(disk));
	virtq_enable(&disk->queue, VIRTIO_NO_VECTOR);
	blk_request_init(&request, BLK_IN, 0, SECTOR_SIZE);
	blk_queue(disk, &request);
	virtio_set_status(device, STATUS_FOUND | STATUS_DRIVER_OK);
	virtq_kick(&disk->queue);
	irq_sleep(QUIET_MS);
	CHECK(!virtq_has_used(&disk->queue));
	blk_check_alive(disk);
	virtio_negotiate(device, 0);
	virtio_set_status(device, STATUS_LIVE);
	blk_check_alive(disk);
}

static void kicks_are_hints(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	const struct virtio_cap *notify = device->of_type[VIRTIO_CAP_NOTIFY];
	uintptr_t area = virtio_address(device, VIRTIO_CAP_NOTIFY);

	blk_start(disk, 0);
	for (unsigned i = 0; i < EMPTY_KICKS; i++)
		virtq_kick(&disk->queue);
	blk_check_quiet(disk, 0);
	for (uint32_t at = 0; at < notify->length && at < PAGE_SIZE; at += 2)
		mmio_write16(area + at, 0xffff);
	mmio_write8(disk->queue.doorbell, 0);
	mmio_write32(disk->queue.doorbell, 0);
	blk_check_quiet(disk, 0);
	blk_check(disk, blk_read(disk, 0, 1), 0, 1, false);
	for (unsigned i = 0; i < EMPTY_KICKS; i++)
		virtq_kick(&disk->queue);
	blk_check_quiet(disk, 1);
	blk_check(disk, blk_read(disk, 1, 1), 1, 1, false);
}

/* More available than the ring holds breaks the device, not the monitor. */
static void needs_reset(struct blk *disk)
{
	struct virtio_device *device = &disk->device;

	blk_start(disk, 0);
	virtq_break(&disk->queue);
	CHECK(WAIT_UNTIL(PATIENCE_MS, irq_count(blk_vector(disk, ENTRY_CONFIG)) > 0));
	CHECK_EQUAL(virtio_status(device), STATUS_LIVE | STATUS_NEEDS_RESET);
	virtio_set_status(device, STATUS_LIVE);
	CHECK_EQUAL(virtio_status(device), STATUS_LIVE | STATUS_NEEDS_RESET);
	virtq_kick(&disk->queue);
	blk_check_quiet(disk, 0);
	CHECK(!virtq_has_used(&disk->queue));
	blk_check_alive(disk);
	virtio_set_status(device, STATUS_LIVE | STATUS_NEEDS_RESET);
	CHECK_EQUAL(virtio_status(device), STATUS_LIVE);
}

static void config_early(struct blk *disk)
{
	uint8_t early[CONFIG_SHOWN];

	virtio_set_status(&disk->device, STATUS_FOUND);
	for (unsigned i = 0; i < CONFIG_SHOWN; i++)
		early[i] = (uint8_t)blk_config(disk, i, 1);
	blk_start(disk, ~0ull);
	for (unsigned i = 0; i < CONFIG_SHOWN; i++) {
		test_context("offset %u", i);
		if (i != BLK_WRITEBACK)
			CHECK_EQUAL(blk_config(disk, i, 1), early[i]);
	}
}

static void config_widths(struct blk *disk)
{
	for (unsigned at = 0; at < CONFIG_SHOWN; at += 4) {
		uint32_t bytes = 0;

		test_context("offset %u", at);
		for (unsigned i = 0; i < 4; i++)
			bytes |= (uint32_t)blk_config(disk, at + i, 1) << 8 * i;
		CHECK_EQUAL(blk_config(disk, at, 4), bytes);
		CHECK_EQUAL(blk_config(disk, at, 2), bytes & 0xffff);
		CHECK_EQUAL(blk_config(disk, at + 2, 2), bytes >> 16);
	}
}

/* capacity to num_queues; of these, writeback could be written had CONFIG_WCE been accepted. */
static void config_read_only(struct blk *disk)
{
	uintptr_t config = virtio_address(&disk->device, VIRTIO_CAP_DEVICE);

	blk_start(disk, 0);
	for (unsigned at = 0; at < CONFIG_SHOWN; at++) {
		uint8_t before = (uint8_t)blk_config(disk, at, 1);

		test_context("offset %u", at);
		mmio_write8(config + at, (uint8_t)~before);
		CHECK_EQUAL(blk_config(disk, at, 1), before);
	}
	mmio_write32(config + BLK_CAPACITY, 1);
	CHECK_EQUAL(blk_config(disk, BLK_CAPACITY, 8), disk->capacity);
}

/*
 * Behind the last field that there is, or else that version 1.4 of the specification defines.
 * Every structure has a page of its own at least.
 */
static void config_beyond_end(struct blk *disk)
{
	uintptr_t config = virtio_address(&disk->device, VIRTIO_CAP_DEVICE);
	uint32_t length = disk->device.of_type[VIRTIO_CAP_DEVICE]->length;
	uint32_t end = length < CONFIG_END ? length : CONFIG_END;

	for (uint32_t at = end; at < end + 64; at++) {
		test_context("offset %u", at);
		CHECK_EQUAL(mmio_read8(config + at), 0);
		mmio_write8(config + at, 0xff);
		CHECK_EQUAL(mmio_read8(config + at), 0);
	}
	test_context(NULL);
	blk_check_alive(disk);
}

static void config_generation(struct blk *disk)
{
	uint8_t generation;

	/* Negotiation may change the configuration: the cache mode. */
	blk_start(disk, 0);
	CHECK_EQUAL(blk_config(disk, BLK_CAPACITY, 8), disk->capacity);
	generation = virtio_read8(&disk->device, CONFIG_GENERATION);
	for (unsigned i = 0; i < 16; i++) {
		CHECK_EQUAL(blk_config(disk, BLK_CAPACITY, 8), disk->capacity);
		CHECK_EQUAL(virtio_read8(&disk->device, CONFIG_GENERATION), generation);
	}
}

const struct test device_tests[] = {
	{ "device/status-at-boot", status_at_boot, "GEN-01", NEEDS_NOTHING },
	{ "device/status-reads-back", status_reads_back, "GEN-09", NEEDS_NOTHING },
	{ "device/status-nonsense", status_nonsense, "GEN-13", NEEDS_NOTHING },
	{ "device/reset-from-any-state", reset_from_any_state, "GEN-06 PCI-17", NEEDS_NOTHING },
	{ "device/features-offered", features_offered, "GEN-14 GEN-17 PCI-07",
	  NEEDS_NOTHING },
	{ "device/features-not-had", features_not_had, "GEN-25 BLK-47 BLK-60", NEEDS_NOTHING },
	{ "device/memory-ends", memory_ends, "GEN-22", NEEDS_NOTHING },
	{ "device/features-words", features_words, "PCI-14 PCI-15 GEN-17 HOST-52", NEEDS_NOTHING },
	{ "device/features-read-back", features_read_back, "PCI-15", NEEDS_NOTHING },
	{ "device/features-refused", features_refused, "GEN-18 GEN-21", NEEDS_NOTHING },
	{ "device/features-subsets", features_subsets, "GEN-19", NEEDS_NOTHING },
	{ "device/features-again", features_again, "GEN-20", NEEDS_NOTHING },
	{ "device/features-without-version-1", features_without_version_1, "GEN-15",
	  NEEDS_NOTHING },
	{ "device/features-latched", features_latched, "GEN-21", NEEDS_SPLIT },
	{ "device/queue-sizes", queue_sizes, "PCI-18 PCI-20 PCI-21 PCI-23 SPLIT-02",
	  NEEDS_NOTHING },
	{ "device/queue-missing", queue_missing, "PCI-19 GEN-39 HOST-52", NEEDS_NOTHING },
	{ "device/queue-size-bad", queue_size_bad, "PCI-26 HOST-33", NEEDS_NOTHING },
	{ "device/queue-address-halves", queue_address_halves, "PCI-06", NEEDS_NOTHING },
	{ "device/queue-stays-enabled", queue_stays_enabled, "PCI-24 PCI-25 HOST-38",
	  NEEDS_NOTHING },
	{ "device/queue-settled", queue_settled, "HOST-35", NEEDS_NOTHING },
	{ "device/read-only-registers", read_only_registers, "PCI-27", NEEDS_NOTHING },
	{ "device/absent-registers", absent_registers, "PCI-30 GEN-36", NEEDS_NOTHING },
	{ "device/reset-forgets", reset_forgets, "GEN-04 PCI-17 PCI-18 PCI-21 MSIX-08",
	  NEEDS_NOTHING },
	{ "device/reset-forgets-positions", reset_forgets_positions, "GEN-04", NEEDS_NOTHING },
	{ "device/reset-in-flight", reset_in_flight, "GEN-02 GEN-03 GEN-05", NEEDS_NOTHING },
	{ "device/queue-reset-in-flight", queue_reset_in_flight, "GEN-33", NEEDS_NOTHING },
	{ "device/reset-in-flight-writes", reset_in_flight_writes, "GEN-02 GEN-05",
	  NEEDS_WRITABLE },
	{ "device/before-driver-ok", before_driver_ok, "GEN-07", NEEDS_NOTHING },
	{ "device/driver-ok-looks", driver_ok_looks, "GEN-08", NEEDS_NOTHING },
	{ "device/driver-ok-early", driver_ok_early, "GEN-07 HOST-36 HOST-37", NEEDS_NOTHING },
	{ "device/kicks-are-hints", kicks_are_hints, "GEN-38 SPLIT-38 HOST-39 PCIN-11",
	  NEEDS_NOTHING },
	{ "device/needs-reset", needs_reset, "GEN-10 GEN-11 GEN-12", NEEDS_NOTHING },
	{ "device/config-early", config_early, "GEN-26", NEEDS_NOTHING },
	{ "device/config-widths", config_widths, "GEN-27", NEEDS_NOTHING },
	{ "device/config-read-only", config_read_only, "GEN-32 BLK-11", NEEDS_NOTHING },
	{ "device/config-beyond-end", config_beyond_end, "HOST-51", NEEDS_NOTHING },
	{ "device/config-generation", config_generation, "PCI-16", NEEDS_NOTHING },
	{ NULL, NULL, NULL, 0 },
};
