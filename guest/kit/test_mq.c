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
};

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
 * From reset to DRIVER_OK with all queues enabled, each on an MSI-X entry of its own behind the
 * configuration's, or all on the first of these.
 */
static unsigned lanes_start(struct blk *disk, struct blk *lanes, bool one_entry)
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
	for (unsigned i = 0; i < count; i++) {
		virtq_create(&lanes[i].queue, device, (uint16_t)i, blk_queue_size(disk));
		virtq_enable(&lanes[i].queue, (uint16_t)(ENTRY_QUEUE + (one_entry ? 0 : i)));
	}
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

/* A request on one queue: its ring and its vector move, and no other's. */
static void every_queue(struct blk *disk)
{
	unsigned counts[LANES_MAX] = { 0 };
	struct blk lanes[LANES_MAX];
	unsigned queues = lanes_start(disk, lanes, false);

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
}

static void one_vector(struct blk *disk)
{
	struct blk lanes[LANES_MAX];
	unsigned queues = lanes_start(disk, lanes, true);

	for (unsigned i = 0; i < queues; i++) {
		test_context("queue %u", i);
		blk_check(disk, blk_read(&lanes[i], i, 1), i, 1, false);
		blk_check_interrupts(disk, ENTRY_QUEUE, i + 1);
	}
}

/* Requests on all queues at once, and the last queue's are taken first. */
static void all_at_once(struct blk *disk)
{
	struct blk_request requests[LANES_MAX][IN_FLIGHT];
	struct blk lanes[LANES_MAX];
	unsigned queues = lanes_start(disk, lanes, false);

	for (unsigned i = 0; i < queues; i++)
		blk_publish_reads(&lanes[i], requests[i], IN_FLIGHT);
	for (unsigned i = 0; i < queues; i++)
		virtq_kick(&lanes[i].queue);
	for (unsigned i = queues; i--;) {
		test_context("queue %u", i);
		blk_collect_reads(&lanes[i], requests[i], IN_FLIGHT);
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
	unsigned queues = lanes_start(disk, lanes, false);

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

	lanes_start(disk, lanes, false);
	blk_write(&lanes[0], blk_area(disk, 0), BLK_AREA_SECTORS, true);
	CHECK_EQUAL(blk_run(&lanes[1], &request, BLK_FLUSH, 0, 0), BLK_OK);
}

/* A broken ring breaks the device: the other queues stop, too. */
static void one_breaks_all(struct blk *disk)
{
	struct blk lanes[LANES_MAX];
	struct blk_request request;

	lanes_start(disk, lanes, false);
	virtq_break(&lanes[1].queue);
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
	unsigned queues = lanes_start(disk, lanes, false);

	for (unsigned i = 0; i < queues; i++)
		blk_publish_reads(&lanes[i], requests[i], IN_FLIGHT);
	for (unsigned i = 0; i < queues; i++)
		virtq_kick(&lanes[i].queue);
	virtio_reset(&disk->device);
	for (unsigned i = 0; i < queues; i++)
		virtq_paint(&lanes[i].queue);
	irq_sleep(QUIET_MS);
	for (unsigned i = 0; i < queues; i++) {
		test_context("queue %u", i);
		virtq_check_painted(&lanes[i].queue);
		virtio_write16(&disk->device, QUEUE_SELECT, (uint16_t)i);
		CHECK_EQUAL(virtio_read16(&disk->device, QUEUE_ENABLE), 0);
		CHECK_EQUAL(virtio_read16(&disk->device, QUEUE_VECTOR), VIRTIO_NO_VECTOR);
	}
	test_context(NULL);
	blk_check_alive(disk);
}

const struct test mq_tests[] = {
	{ "mq/count", count, "BLK-01 BLK-13 PCI-23", NEEDS_NOTHING },
	{ "mq/every-queue", every_queue, "BLK-01 BLK-49 MSIX-01 PCIN-06", NEEDS_TWO_QUEUES },
	{ "mq/one-vector", one_vector, "MSIX-03", NEEDS_TWO_QUEUES },
	{ "mq/all-at-once", all_at_once, "BLK-49 GEN-40", NEEDS_TWO_QUEUES },
	{ "mq/not-accepted", not_accepted, "BLK-01", NEEDS_TWO_QUEUES },
	{ "mq/across", across, "BLK-49", NEEDS_TWO_QUEUES | NEEDS_WRITABLE },
	{ "mq/one-breaks-all", one_breaks_all, "GEN-10 GEN-12", NEEDS_TWO_QUEUES },
	{ "mq/reset-in-flight", reset_in_flight, "GEN-02 GEN-03 GEN-04 PCI-18 MSIX-08",
	  NEEDS_TWO_QUEUES },
	{ "durable/across", durable_across, "BLK-32", NEEDS_TWO_QUEUES | NEEDS_DURABLE },
	{ NULL, NULL, NULL, 0 },
};
