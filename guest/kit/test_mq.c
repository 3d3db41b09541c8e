// SPDX-License-Identifier: BSD-2-Clause
/* Several queues: each has registers, rings, a doorbell and a vector of its own. */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	LANES_MAX = 7, /* with the configuration's, as many vectors as a disk has */
	ROUNDS = 8,
	IN_FLIGHT = 16,
	CANARY = 0x5a,
};

#define ALL_LANES ((1u << LANES_MAX) - 1)

/*
 * A lane is the disk with another queue in the place of queue 0: all that blk.h does works
 * with it.
 */
static unsigned lanes_make(const struct blk *disk, struct blk *lanes)
{
	unsigned count = virtio_read16(&disk->device, NUM_QUEUES);

	if (count > LANES_MAX)
		count = LANES_MAX;
	for (unsigned i = 0; i < count; i++)
		lanes[i] = *disk;
	return count;
}

/*
 * From reset to DRIVER_OK with those queues enabled whose bits are set in `enabled`, each on an
 * MSI-X entry of its own behind the configuration's, or all on the first of these.
 */
static unsigned lanes_start(struct blk *disk, struct blk *lanes, unsigned enabled, bool one_entry)
{
	struct virtio_device *device = &disk->device;
	unsigned count;

	virtio_negotiate(device, FEATURE(F_BLK_MQ) | FEATURE(F_BLK_FLUSH));
	count = lanes_make(disk, lanes);
	msix_enable(&device->msix, true);
	for (unsigned entry = ENTRY_CONFIG; entry <= count; entry++) {
		irq_expect(blk_vector(disk, entry), NULL, NULL);
		msix_route(&device->msix, entry, blk_vector(disk, entry));
	}
	virtio_config_vector(device, ENTRY_CONFIG);
	for (unsigned i = 0; i < count; i++)
		virtq_create(&lanes[i].queue, device, (uint16_t)i, blk_queue_size(disk));
	for (unsigned i = 0; i < count; i++)
		if (enabled & 1u << i)
			virtq_enable(&lanes[i].queue,
				     (uint16_t)(one_entry ? ENTRY_QUEUE : ENTRY_QUEUE + i));
	virtio_set_status(device, STATUS_LIVE);
	CHECK_EQUAL(virtio_status(device), STATUS_LIVE);
	return count;
}

/* The first `count` queues' vectors have come as often as `counts` says. */
static void check_vectors(const struct blk *disk, const unsigned *counts, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		blk_check_interrupts(disk, ENTRY_QUEUE + i, counts[i]);
}

/* By the options, by the transport, by the device configuration. */
static void count(struct blk *disk)
{
	uint64_t queues = option_number("queues", 1);
	bool offered = virtio_offered(&disk->device) & FEATURE(F_BLK_MQ);

	CHECK_EQUAL(virtio_read16(&disk->device, NUM_QUEUES), queues);
	CHECK(offered || queues == 1);
	if (offered)
		CHECK_EQUAL(blk_config(disk, BLK_NUM_QUEUES, 2), queues);
}

/* The registers of a queue are its own, whatever was selected in between. */
static void registers(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	uint16_t queues = virtio_read16(device, NUM_QUEUES), size = blk_queue_size(disk);

	for (uint16_t i = 0; i < queues; i++) {
		virtio_write16(device, QUEUE_SELECT, i);
		virtio_write16(device, QUEUE_SIZE, (uint16_t)(size >> i % 2));
		virtio_write16(device, QUEUE_VECTOR, i % 2);
		virtio_write64(device, QUEUE_DESC, 0x100000 + 0x1000ull * i);
		virtio_write64(device, QUEUE_DRIVER, 0x200000 + 0x1000ull * i);
		virtio_write64(device, QUEUE_DEVICE, 0x300000 + 0x1000ull * i);
	}
	for (uint16_t i = 0; i < queues; i++) {
		test_context("queue %u", i);
		virtio_write16(device, QUEUE_SELECT, i);
		CHECK_EQUAL(virtio_read16(device, QUEUE_SIZE), size >> i % 2);
		CHECK_EQUAL(virtio_read16(device, QUEUE_VECTOR), i % 2);
		CHECK_EQUAL(virtio_read16(device, QUEUE_ENABLE), 0);
		CHECK_EQUAL(virtio_read64(device, QUEUE_DESC), 0x100000 + 0x1000ull * i);
		CHECK_EQUAL(virtio_read64(device, QUEUE_DRIVER), 0x200000 + 0x1000ull * i);
		CHECK_EQUAL(virtio_read64(device, QUEUE_DEVICE), 0x300000 + 0x1000ull * i);
	}
}

/* A request on one queue: its ring and its vector move, and no other's. */
static void every_queue(struct blk *disk)
{
	unsigned counts[LANES_MAX] = { 0 };
	struct blk lanes[LANES_MAX];
	unsigned queues = lanes_start(disk, lanes, ALL_LANES, false);

	CHECK(disk->device.features & FEATURE(F_BLK_MQ));
	CHECK(disk->device.msix.count > queues);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < queues; i++) {
			test_context("round %u, queue %u", round, i);
			blk_check(disk, blk_read(&lanes[i], i, 1), i, 1, false);
			counts[i]++;
			check_vectors(disk, counts, queues);
		}
	}
	for (unsigned i = 0; i < queues; i++)
		CHECK(!virtq_has_used(&lanes[i].queue));
}

static void one_vector(struct blk *disk)
{
	struct blk lanes[LANES_MAX];
	unsigned queues = lanes_start(disk, lanes, ALL_LANES, true);

	for (unsigned i = 0; i < queues; i++) {
		test_context("queue %u", i);
		blk_check(disk, blk_read(&lanes[i], i, 1), i, 1, false);
		blk_check_interrupts(disk, ENTRY_QUEUE, i + 1);
	}
}

static void queue_reads(struct blk *lane, struct blk_request *requests, uint64_t sector)
{
	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		blk_request_init(&requests[i], BLK_IN, sector + i, SECTOR_SIZE);
		blk_queue(lane, &requests[i]);
	}
}

/* Takes what comes in whatever order; each must be the lane's own. */
static void collect_reads(struct blk *lane, struct blk_request *requests, uint64_t sector)
{
	struct virtq *queue = &lane->queue;

	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		struct virtq_used_element element;
		unsigned which = 0;

		CHECK(POLL_UNTIL(PATIENCE_MS, virtq_has_used(queue)));
		element = virtq_take_used(queue);
		while (which < IN_FLIGHT && requests[which].head != element.id)
			which++;
		CHECK(which < IN_FLIGHT);
		CHECK_EQUAL(blk_status(&requests[which]), BLK_OK);
		blk_check(lane, blk_data(&requests[which]), sector + which, 1, false);
		requests[which].head = 0xffff;
	}
}

/* Requests on all queues at once, and the last queue's are taken first. */
static void all_at_once(struct blk *disk)
{
	struct blk_request requests[LANES_MAX][IN_FLIGHT];
	struct blk lanes[LANES_MAX];
	unsigned queues = lanes_start(disk, lanes, ALL_LANES, false);

	for (unsigned i = 0; i < queues; i++)
		queue_reads(&lanes[i], requests[i], i * IN_FLIGHT);
	for (unsigned i = 0; i < queues; i++)
		virtq_kick(&lanes[i].queue);
	for (unsigned i = queues; i--;) {
		test_context("queue %u", i);
		collect_reads(&lanes[i], requests[i], i * IN_FLIGHT);
	}
}

/* A queue that is not enabled does nothing when kicked; the others work. */
static void one_left_out(struct blk *disk)
{
	struct blk lanes[LANES_MAX];
	unsigned queues = lanes_start(disk, lanes, ALL_LANES & ~2u, false);
	struct blk_request request;

	lanes[1].queue.doorbell = virtio_doorbell(&disk->device, 1);
	blk_request_init(&request, BLK_IN, 0, SECTOR_SIZE);
	blk_queue(&lanes[1], &request);
	virtq_kick(&lanes[1].queue);
	for (unsigned i = 0; i < queues; i++)
		if (i != 1)
			blk_check(disk, blk_read(&lanes[i], i, 1), i, 1, false);
	irq_sleep(QUIET_MS);
	CHECK(!virtq_has_used(&lanes[1].queue));
	CHECK_EQUAL(blk_status(&request), BLK_UNWRITTEN);
}

/* A queue's doorbell is known by where it is; the value that is written there means nothing. */
static void doorbell_by_place(struct blk *disk)
{
	struct blk lanes[LANES_MAX];
	unsigned queues = lanes_start(disk, lanes, ALL_LANES, false);

	if (!disk->device.notify_multiplier)
		return; /* one place for all: then it is the value that counts */
	for (unsigned i = 0; i < queues; i++) {
		struct blk_request request;

		test_context("queue %u", i);
		blk_request_init(&request, BLK_IN, i, SECTOR_SIZE);
		blk_queue(&lanes[i], &request);
		mmio_write16(lanes[i].queue.doorbell, (uint16_t)(queues - 1 - i));
		CHECK(WAIT_UNTIL(PATIENCE_MS, virtq_has_used(&lanes[i].queue)));
		blk_take(&lanes[i], &request);
		CHECK_EQUAL(blk_status(&request), BLK_OK);
	}
}

/* Without MQ the driver has one queue, and it works. */
static void not_accepted(struct blk *disk)
{
	blk_start(disk, 0);
	blk_check(disk, blk_read(disk, 3, 1), 3, 1, false);
	CHECK_EQUAL(virtio_read16(&disk->device, NUM_QUEUES), option_number("queues", 1));
}

/* What one queue wrote, all queues read. */
static void across(struct blk *disk)
{
	uint64_t sector = blk_scratch(disk) + 64;
	struct blk lanes[LANES_MAX];
	unsigned queues = lanes_start(disk, lanes, ALL_LANES, false);

	for (unsigned i = 0; i < queues; i++)
		blk_write(&lanes[i], sector + i, 1, true);
	for (unsigned i = 0; i < queues; i++)
		blk_check(disk, blk_read(&lanes[i], sector, queues), sector, queues, true);
}

/* A flush is for what any queue wrote: the runner finds area 0 on stable storage. */
static void durable_across(struct blk *disk)
{
	struct blk lanes[LANES_MAX];
	struct blk_request request;

	lanes_start(disk, lanes, ALL_LANES, false);
	blk_write(&lanes[0], blk_area(disk, 0), BLK_AREA_SECTORS, true);
	CHECK_EQUAL(blk_run(&lanes[1], &request, BLK_FLUSH, 0, 0), BLK_OK);
}

/* A broken ring breaks the device: the other queues stop, too. */
static void one_breaks_all(struct blk *disk)
{
	struct blk lanes[LANES_MAX];
	struct blk_request request;

	lanes_start(disk, lanes, ALL_LANES, false);
	virtq_set_avail_idx(&lanes[1].queue, lanes[1].queue.size + 1);
	virtq_kick(&lanes[1].queue);
	CHECK(WAIT_UNTIL(PATIENCE_MS, irq_count(blk_vector(disk, ENTRY_CONFIG)) > 0));
	CHECK_EQUAL(virtio_status(&disk->device), STATUS_LIVE | STATUS_NEEDS_RESET);
	blk_request_init(&request, BLK_IN, 0, SECTOR_SIZE);
	blk_queue(&lanes[0], &request);
	virtq_kick(&lanes[0].queue);
	irq_sleep(QUIET_MS);
	CHECK(!virtq_has_used(&lanes[0].queue));
	blk_check_alive(disk);
}

/* Reset with requests in flight on all queues: then nothing moves in any ring. */
static void reset_in_flight(struct blk *disk)
{
	struct blk_request requests[LANES_MAX][IN_FLIGHT];
	struct blk lanes[LANES_MAX];
	unsigned queues = lanes_start(disk, lanes, ALL_LANES, false);

	for (unsigned i = 0; i < queues; i++)
		queue_reads(&lanes[i], requests[i], i * IN_FLIGHT);
	for (unsigned i = 0; i < queues; i++)
		virtq_kick(&lanes[i].queue);
	virtio_reset(&disk->device);
	for (unsigned i = 0; i < queues; i++)
		memset(lanes[i].queue.used, CANARY, virtq_used_bytes(lanes[i].queue.size));
	irq_sleep(QUIET_MS);
	for (unsigned i = 0; i < queues; i++) {
		const uint8_t *used = lanes[i].queue.used;

		test_context("queue %u", i);
		CHECK_EQUAL(used[0], CANARY);
		CHECK(!memcmp(used, used + 1, virtq_used_bytes(lanes[i].queue.size) - 1));
		virtio_write16(&disk->device, QUEUE_SELECT, (uint16_t)i);
		CHECK_EQUAL(virtio_read16(&disk->device, QUEUE_ENABLE), 0);
		CHECK_EQUAL(virtio_read16(&disk->device, QUEUE_VECTOR), VIRTIO_NO_VECTOR);
	}
	test_context(NULL);
	blk_check_alive(disk);
}

const struct test mq_tests[] = {
	{ "mq/count", count, "BLK-01 BLK-13 PCI-23", NEEDS_NOTHING },
	{ "mq/registers", registers, "PCI-22", NEEDS_TWO_QUEUES },
	{ "mq/every-queue", every_queue, "BLK-01 BLK-49 MSIX-01 PCIN-06", NEEDS_TWO_QUEUES },
	{ "mq/one-vector", one_vector, "MSIX-03", NEEDS_TWO_QUEUES },
	{ "mq/all-at-once", all_at_once, "BLK-49 GEN-40", NEEDS_TWO_QUEUES },
	{ "mq/one-left-out", one_left_out, "PCI-24 HOST-39", NEEDS_TWO_QUEUES },
	{ "mq/doorbell-by-place", doorbell_by_place, "PCIN-06 PCIN-10", NEEDS_TWO_QUEUES },
	{ "mq/not-accepted", not_accepted, "BLK-01", NEEDS_TWO_QUEUES },
	{ "mq/across", across, "BLK-49", NEEDS_TWO_QUEUES | NEEDS_WRITABLE },
	{ "mq/one-breaks-all", one_breaks_all, "GEN-10 GEN-12", NEEDS_TWO_QUEUES | NEEDS_SPLIT },
	{ "mq/reset-in-flight", reset_in_flight, "GEN-02 GEN-03 GEN-04 PCI-18 MSIX-08",
	  NEEDS_TWO_QUEUES },
	{ "durable/across", durable_across, "BLK-32", NEEDS_TWO_QUEUES | NEEDS_DURABLE },
	{ NULL, NULL, NULL, 0 },
};
