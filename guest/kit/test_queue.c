// SPDX-License-Identifier: BSD-2-Clause
/* Queues of either ring: reset of one, several of them, order of use, and notifications. */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	READS = 5,
	PAIRS = 8,
	SLOW_SECTORS = 64,
	ENTRY_OTHER = 2, /* MSI-X, of the second queue */
};

/* --- Reset of one queue --- */

static void start_resettable(struct blk *disk, uint16_t size)
{
	blk_start_size(disk, FEATURE(F_RING_RESET), size);
	CHECK(disk->device.features & FEATURE(F_RING_RESET));
}

static void reset_register(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	uint16_t size = blk_queue_size(disk);

	CHECK_EQUAL(virtio_read16(device, QUEUE_RESET), 0);
	start_resettable(disk, size);
	CHECK_EQUAL(virtio_read16(device, QUEUE_RESET), 0);
	blk_read(disk, 0, 1);
	virtio_queue_reset(device, 0);
	CHECK_EQUAL(virtio_status(device), STATUS_LIVE);
}

static void reset_forgets(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	uint16_t size = blk_queue_size(disk), notify_off;

	notify_off = virtio_read16(device, QUEUE_NOTIFY_OFF);
	start_resettable(disk, size / 2);
	virtio_queue_reset(device, 0);
	CHECK_EQUAL(blk_queue_size(disk), size);
	CHECK_EQUAL(virtio_read16(device, QUEUE_VECTOR), VIRTIO_NO_VECTOR);
	CHECK_EQUAL(virtio_read16(device, QUEUE_NOTIFY_OFF), notify_off);
	CHECK_EQUAL(virtio_read64(device, QUEUE_DESC), 0);
	CHECK_EQUAL(virtio_read64(device, QUEUE_DRIVER), 0);
	CHECK_EQUAL(virtio_read64(device, QUEUE_DEVICE), 0);
}

static void read_some(struct blk *disk)
{
	for (unsigned i = 0; i < READS; i++)
		blk_check(disk, blk_read(disk, i, 1), i, 1, false);
}

/* Elsewhere and with another size it starts from its first slot; the old ring is left alone. */
static void reset_and_again(struct blk *disk)
{
	struct virtio_device *device = &disk->device;
	uint16_t size = blk_queue_size(disk);

	start_resettable(disk, size);
	for (unsigned round = 0; round < 3; round++) {
		struct virtq old = disk->queue;

		test_context("round %u", round);
		read_some(disk);
		virtio_queue_reset(device, 0);
		virtq_paint(&old);
		size /= 2;
		virtq_create(&disk->queue, device, 0, size);
		virtq_enable(&disk->queue, ENTRY_QUEUE);
		CHECK_EQUAL(virtio_read16(device, QUEUE_SIZE), size);
		CHECK_EQUAL(virtio_read16(device, QUEUE_RESET), 0);
		read_some(disk);
		virtq_check_painted(&old);
	}
}

/* --- Two queues --- */

/* Makes `other` the queue that blk_...() works with, and back. */
static void swap(struct blk *disk, struct virtq *other)
{
	struct virtq queue = disk->queue;

	disk->queue = *other;
	*other = queue;
}

/* From reset to just before DRIVER_OK with both queues created, the second not enabled. */
static void prepare_two(struct blk *disk, struct virtq *other, uint64_t features)
{
	struct virtio_device *device = &disk->device;
	uint16_t size = blk_queue_size(disk);

	CHECK(virtio_read16(device, NUM_QUEUES) >= 2);
	blk_prepare(disk, features | FEATURE(F_BLK_MQ), size);
	irq_expect(blk_vector(disk, ENTRY_OTHER), NULL, NULL);
	msix_route(&device->msix, ENTRY_OTHER, blk_vector(disk, ENTRY_OTHER));
	virtq_create(other, device, 1, size / 2);
}

static void start_two(struct blk *disk, struct virtq *other, uint64_t features)
{
	prepare_two(disk, other, features);
	virtq_enable(other, ENTRY_OTHER);
	virtio_set_status(&disk->device, STATUS_LIVE);
}

/* Each register of a queue is its own, whatever the order of writes. */
static void registers_apart(struct blk *disk)
{
	static const struct {
		enum virtio_register at;
		uint16_t value[2];
	} writes[] = {
		{ QUEUE_SIZE, { 8, 4 } },
		{ QUEUE_VECTOR, { 1, 2 } },
		{ QUEUE_DESC, { 0x1000, 0x4000 } },
		{ QUEUE_DRIVER, { 0x2000, 0x5000 } },
		{ QUEUE_DEVICE, { 0x3000, 0x6000 } },
	};
	const struct virtio_device *device = &disk->device;

	for (unsigned i = 0; i < 2 * sizeof(writes) / sizeof(writes[0]); i++) {
		virtio_write16(device, QUEUE_SELECT, i % 2);
		if (writes[i / 2].at < QUEUE_DESC)
			virtio_write16(device, writes[i / 2].at, writes[i / 2].value[i % 2]);
		else
			virtio_write64(device, writes[i / 2].at, writes[i / 2].value[i % 2]);
	}
	for (unsigned i = 0; i < 2 * sizeof(writes) / sizeof(writes[0]); i++) {
		test_context("queue %u, register %u", i % 2, writes[i / 2].at);
		virtio_write16(device, QUEUE_SELECT, i % 2);
		CHECK_EQUAL(virtio_read16(device, writes[i / 2].at), writes[i / 2].value[i % 2]);
	}
}

/* Requests in turn: each is served by its own ring, and announced by its own vector. */
static void two_at_once(struct blk *disk)
{
	struct virtq other;

	start_two(disk, &other, 0);
	for (unsigned i = 0; i < READS; i++) {
		blk_check(disk, blk_read(disk, i, 1), i, 1, false);
		blk_check_interrupts(disk, ENTRY_QUEUE, i + 1);
		blk_check_interrupts(disk, ENTRY_OTHER, i);
		swap(disk, &other);
		blk_check(disk, blk_read(disk, i, 1), i, 1, false);
		blk_check_interrupts(disk, ENTRY_OTHER, i + 1);
		swap(disk, &other);
	}
}

/* All but enabled it does nothing; enabled with the device live, it runs. */
static void disabled_queue(struct blk *disk)
{
	struct virtio_device *device = &disk->device;
	struct blk_request request;
	struct virtq other;

	prepare_two(disk, &other, 0);
	other.doorbell = virtio_doorbell(device, 1);
	virtio_write16(device, QUEUE_SIZE, other.size);
	virtio_write64(device, QUEUE_DESC, (uintptr_t)other.desc);
	virtio_write64(device, QUEUE_DRIVER, (uintptr_t)other.avail);
	virtio_write64(device, QUEUE_DEVICE, (uintptr_t)other.used);
	CHECK_EQUAL(virtio_read16(device, QUEUE_ENABLE), 0);
	virtio_set_status(device, STATUS_LIVE);
	swap(disk, &other);
	blk_request_init(&request, BLK_IN, 3, SECTOR_SIZE);
	blk_queue(disk, &request);
	virtq_kick(&disk->queue);
	blk_check_quiet(disk, 0);
	CHECK_EQUAL(blk_status(&request), BLK_UNWRITTEN);
	virtq_enable(&disk->queue, ENTRY_OTHER);
	blk_finish(disk, &request);
	CHECK_EQUAL(blk_status(&request), BLK_OK);
}

/* The place of a doorbell names the queue, whatever value is written there. */
static void doorbell_by_place(struct blk *disk)
{
	struct blk_request request;
	struct virtq other;

	start_two(disk, &other, 0);
	if (other.doorbell == disk->queue.doorbell)
		return; /* one doorbell for all: then the value does, as two_at_once() shows */
	for (unsigned i = 0; i < 2; i++, swap(disk, &other)) {
		test_context("queue %u", disk->queue.index);
		blk_request_init(&request, BLK_IN, 3, SECTOR_SIZE);
		blk_queue(disk, &request);
		mmio_write16(disk->queue.doorbell, other.index);
		CHECK(WAIT_UNTIL(PATIENCE_MS, virtq_has_used(&disk->queue)));
		blk_take(disk, &request);
		CHECK_EQUAL(blk_status(&request), BLK_OK);
		CHECK_EQUAL(mmio_read16(disk->queue.doorbell), 0);
	}
}

static void reset_beside_another(struct blk *disk)
{
	struct blk_request requests[PAIRS];
	struct virtq other;

	start_two(disk, &other, FEATURE(F_RING_RESET));
	CHECK(disk->device.features & FEATURE(F_RING_RESET));
	read_some(disk);
	swap(disk, &other);
	blk_publish_reads(disk, requests, PAIRS);
	virtq_kick(&disk->queue);
	virtio_queue_reset(&disk->device, 0);
	blk_collect_reads(disk, requests, PAIRS);
	read_some(disk);
	virtq_create(&other, &disk->device, 0, other.size);
	virtq_enable(&other, ENTRY_QUEUE);
	swap(disk, &other);
	read_some(disk);
}

/* --- Order of use --- */

/* A slow request before each fast one: both are used in the order of their publication. */
static void in_order(struct blk *disk)
{
	struct virtq *queue = &disk->queue;
	struct blk_request requests[2 * PAIRS];

	blk_start(disk, 0);
	for (unsigned i = 0; i < 2 * PAIRS; i++) {
		if (i % 2)
			blk_request_init(&requests[i], BLK_GET_ID, 0, BLK_ID_SIZE);
		else
			blk_request_init(&requests[i], BLK_IN, i, SLOW_SECTORS * SECTOR_SIZE);
		blk_queue(disk, &requests[i]);
	}
	virtq_kick(queue);
	for (unsigned i = 0; i < 2 * PAIRS; i++) {
		test_context("request %u", i);
		CHECK(POLL_UNTIL(PATIENCE_MS, virtq_has_used(queue)));
		blk_take(disk, &requests[i]);
		CHECK_EQUAL(blk_status(&requests[i]), BLK_OK);
		CHECK_EQUAL(requests[i].used_length, requests[i].writable_length);
	}
}

/* --- Notifications --- */

/* 16 bits: the index. */
static void plain_notification(struct blk *disk)
{
	struct blk_request request;

	blk_start(disk, 0);
	blk_request_init(&request, BLK_IN, 1, SECTOR_SIZE);
	blk_queue(disk, &request);
	mmio_write16(disk->queue.doorbell, disk->queue.index);
	CHECK(WAIT_UNTIL(PATIENCE_MS, virtq_has_used(&disk->queue)));
	blk_take(disk, &request);
	CHECK_EQUAL(blk_status(&request), BLK_OK);
}

/* 32 bits: the upper half is a hint, right or wrong, and the ring decides. */
static void notification_data(struct blk *disk)
{
	static const uint32_t nonsense[] = { 0, 1, 0x7fff, 0x8000, 0xffff };
	const unsigned count = sizeof(nonsense) / sizeof(nonsense[0]);

	blk_start(disk, 0);
	blk_check(disk, blk_read(disk, 0, 1), 0, 1, false);
	blk_check_interrupts(disk, ENTRY_QUEUE, 1);
	for (unsigned i = 0; i < count; i++) {
		struct blk_request request;

		test_context("0x%x", nonsense[i]);
		mmio_write32(disk->queue.doorbell, disk->queue.index | nonsense[i] << 16);
		blk_check_quiet(disk, i + 1);
		blk_request_init(&request, BLK_IN, i, SECTOR_SIZE);
		blk_queue(disk, &request);
		mmio_write32(disk->queue.doorbell, disk->queue.index | nonsense[i] << 16);
		CHECK(WAIT_UNTIL(PATIENCE_MS, virtq_has_used(&disk->queue)));
		blk_take(disk, &request);
		CHECK_EQUAL(blk_status(&request), BLK_OK);
		blk_check_interrupts(disk, ENTRY_QUEUE, i + 2);
	}
}

const struct test queue_tests[] = {
	{ "queue/reset-register", reset_register, "PCI-28 PCI-29", NEEDS_NOTHING },
	{ "queue/reset-forgets", reset_forgets, "GEN-34", NEEDS_NOTHING },
	{ "queue/reset-and-again", reset_and_again, "GEN-34 GEN-35 PCI-28 PACKED-03",
	  NEEDS_NOTHING },
	{ "queue/reset-beside-another", reset_beside_another, "GEN-33", NEEDS_TWO_QUEUES },
	{ "queue/registers-apart", registers_apart, "PCI-22", NEEDS_TWO_QUEUES },
	{ "queue/two-at-once", two_at_once, "PCIN-06", NEEDS_TWO_QUEUES },
	{ "queue/disabled", disabled_queue, "PCI-24", NEEDS_TWO_QUEUES },
	{ "queue/doorbell-by-place", doorbell_by_place, "PCIN-10",
	  NEEDS_TWO_QUEUES | NEEDS_PLAIN_NOTIFICATION },
	{ "queue/in-order", in_order, "GEN-23", NEEDS_IN_ORDER },
	{ "queue/plain-notification", plain_notification, "PCIN-07", NEEDS_PLAIN_NOTIFICATION },
	{ "queue/notification-data", notification_data, "GEN-37 PCIN-08 PACKED-31",
	  NEEDS_NOTIFICATION_DATA },
	{ NULL, NULL, NULL, 0 },
};
