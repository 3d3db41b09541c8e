// SPDX-License-Identifier: BSD-2-Clause
/*
 * The disk's size changes while the guest runs. Each test asks for that by a line on the
 * serial port, which the runner obeys, and puts the old size back.
 */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	MORE = 72, /* sectors */
	ISR_CONFIG = 2,
};

static void ask(uint64_t sectors)
{
	print("# resize please: %lu\n", sectors);
}

/* Reading the capacity is what brings a change and its generation to light. */
static bool capacity_is(const struct blk *disk, uint64_t sectors)
{
	return blk_config(disk, BLK_CAPACITY, 8) == sectors;
}

/* For a test that gets no interrupt for it. */
static void resize_unseen(struct blk *disk, uint64_t sectors)
{
	ask(sectors);
	CHECK(POLL_UNTIL(PATIENCE_MS, capacity_is(disk, sectors)));
	disk->capacity = sectors;
}

/* Asks, and reads sectors until the interrupt comes that announces it, which must be one. */
static void resize(struct blk *disk, uint64_t sectors)
{
	unsigned vector = blk_vector(disk, ENTRY_CONFIG), before = irq_count(vector);
	uint8_t generation;

	CHECK(capacity_is(disk, disk->capacity));
	generation = virtio_read8(&disk->device, CONFIG_GENERATION);
	virtio_isr(&disk->device);
	ask(sectors);
	for (unsigned i = 0; i < PATIENCE_MS && irq_count(vector) == before; i++) {
		blk_check(disk, blk_read(disk, i % 8, 1), i % 8, 1, false);
		irq_sleep(1);
	}
	CHECK_EQUAL(irq_count(vector), before + 1);
	CHECK_EQUAL(blk_config(disk, BLK_CAPACITY, 8), sectors);
	CHECK(virtio_read8(&disk->device, CONFIG_GENERATION) != generation);
	CHECK(virtio_isr(&disk->device) & ISR_CONFIG);
	disk->capacity = sectors;
}

static uint8_t read_last(struct blk *disk)
{
	struct blk_request request;

	return blk_run(disk, &request, BLK_IN, disk->capacity - 1, SECTOR_SIZE);
}

static uint8_t read_behind(struct blk *disk)
{
	struct blk_request request;

	return blk_run(disk, &request, BLK_IN, disk->capacity, SECTOR_SIZE);
}

static void grow_and_shrink(struct blk *disk)
{
	uint64_t sectors = disk->capacity;

	blk_start(disk, 0);
	for (unsigned i = 0; i < 2; i++) {
		test_context("grow, round %u", i);
		CHECK_EQUAL(read_behind(disk), BLK_IOERR);
		resize(disk, sectors + MORE);
		CHECK_EQUAL(read_last(disk), BLK_OK);
		CHECK_EQUAL(read_behind(disk), BLK_IOERR);
		test_context("shrink, round %u", i);
		resize(disk, sectors);
		CHECK_EQUAL(read_last(disk), BLK_OK);
		CHECK_EQUAL(read_behind(disk), BLK_IOERR);
	}
}

/* What happens before DRIVER_OK is told after it, or not at all. */
static void before_driver_ok(struct blk *disk)
{
	uint64_t sectors = disk->capacity;
	unsigned vector = blk_vector(disk, ENTRY_CONFIG);

	blk_prepare(disk, 0, blk_queue_size(disk));
	resize_unseen(disk, sectors + MORE);
	irq_sleep(QUIET_MS);
	CHECK_EQUAL(irq_count(vector), 0);
	virtio_set_status(&disk->device, STATUS_LIVE);
	CHECK_EQUAL(read_last(disk), BLK_OK);
	irq_sleep(QUIET_MS);
	CHECK(irq_count(vector) <= 1);
	resize(disk, sectors);
}

static void unmapped(struct blk *disk)
{
	uint64_t sectors = disk->capacity;

	blk_start(disk, 0);
	virtio_config_vector(&disk->device, VIRTIO_NO_VECTOR);
	resize_unseen(disk, sectors + MORE);
	blk_check_quiet(disk, 0);
	CHECK_EQUAL(irq_count(blk_vector(disk, ENTRY_CONFIG)), 0);
	virtio_config_vector(&disk->device, ENTRY_CONFIG);
	resize(disk, sectors);
}

/* The interrupt waits behind a mask, however many changes there were. */
static void masked(struct blk *disk)
{
	const struct msix *msix = &disk->device.msix;
	unsigned vector = blk_vector(disk, ENTRY_CONFIG);
	uint64_t sectors = disk->capacity;

	blk_start(disk, 0);
	msix_mask(msix, ENTRY_CONFIG, true);
	resize_unseen(disk, sectors + MORE);
	CHECK(POLL_UNTIL(PATIENCE_MS, msix_pending(msix, ENTRY_CONFIG)));
	resize_unseen(disk, sectors);
	irq_sleep(QUIET_MS);
	CHECK_EQUAL(irq_count(vector), 0);
	msix_mask(msix, ENTRY_CONFIG, false);
	CHECK(WAIT_UNTIL(PATIENCE_MS, irq_count(vector) > 0));
	irq_sleep(QUIET_MS);
	CHECK_EQUAL(irq_count(vector), 1);
}

static void by_line(struct blk *disk)
{
	unsigned gsi = pci_read8(disk->device.pci, PCI_INTERRUPT_LINE);
	uint64_t sectors = disk->capacity;

	blk_start_intx(disk, 0);
	for (unsigned i = 0; i < 2; i++) {
		ask(i ? sectors : sectors + MORE);
		CHECK(irq_line_asserted(gsi, PATIENCE_MS));
		CHECK(virtio_isr(&disk->device) & ISR_CONFIG);
		CHECK(!irq_line_asserted(gsi, QUIET_MS));
		CHECK(capacity_is(disk, i ? sectors : sectors + MORE));
	}
}

/* The image loses its end and nobody tells the monitor: such reads fail, others do not. */
static void image_cut(struct blk *disk)
{
	uint64_t sectors = disk->capacity;

	blk_start(disk, 0);
	resize(disk, sectors + MORE);
	print("# cut the image please: %lu\n", sectors);
	for (unsigned i = 0; i < PATIENCE_MS && read_last(disk) == BLK_OK; i++)
		irq_sleep(1);
	CHECK_EQUAL(read_last(disk), BLK_IOERR);
	blk_check(disk, blk_read(disk, 5, 1), 5, 1, false);
	resize(disk, sectors);
}

const struct test resize_tests[] = {
	{ "resize/grow-and-shrink", grow_and_shrink, "GEN-29 GEN-30 PCI-16 ISR-02 BLK-14 BLK-26",
	  NEEDS_RESIZE },
	{ "resize/before-driver-ok", before_driver_ok, "GEN-31", NEEDS_RESIZE },
	{ "resize/unmapped", unmapped, "MSIX-04 MSIX-10", NEEDS_RESIZE },
	{ "resize/masked", masked, "MSIX-12", NEEDS_RESIZE },
	{ "resize/by-line", by_line, "GEN-30 ISR-02 ISR-05 ISR-08", NEEDS_RESIZE | NEEDS_INTX },
	{ "resize/image-cut", image_cut, "HOST-68", NEEDS_RESIZE },
	{ NULL, NULL, NULL, 0 },
};
