// SPDX-License-Identifier: BSD-2-Clause
/* MSI-X: the capability, masking and pending bits, and the mapping of events to vectors. */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	MASKED_COMPLETIONS = 5,
	REMAPS = 1000,
	MSIX_TABLE_MAX = 0x800,
};

static void table_size(struct blk *disk)
{
	const struct msix *msix = &disk->device.msix;

	CHECK(msix->count >= 2 && msix->count <= MSIX_TABLE_MAX);
}

static void at_boot(struct blk *disk)
{
	CHECK(disk->msix_masked_at_boot);
	CHECK_EQUAL(disk->msix_control_at_boot & (MSIX_CONTROL_ENABLE | MSIX_CONTROL_FUNCTION_MASK),
		    0);
}

static void table_access(struct blk *disk)
{
	const struct msix *msix = &disk->device.msix;

	for (unsigned i = 0; i < msix->count; i++) {
		uintptr_t entry = msix_entry(msix, i);

		test_context("entry %u", i);
		mmio_write64(entry + MSIX_ENTRY_ADDRESS, 0x00000000fee01000 + 16 * i);
		mmio_write64(entry + MSIX_ENTRY_DATA, (uint64_t)MSIX_ENTRY_MASKED << 32 | i);
		CHECK_EQUAL(mmio_read32(entry + MSIX_ENTRY_ADDRESS), 0xfee01000 + 16 * i);
		CHECK_EQUAL(mmio_read32(entry + MSIX_ENTRY_ADDRESS + 4), 0);
		CHECK_EQUAL(mmio_read32(entry + MSIX_ENTRY_DATA), i);
		CHECK_EQUAL(mmio_read64(entry + MSIX_ENTRY_DATA),
			    (uint64_t)MSIX_ENTRY_MASKED << 32 | i);
		mmio_write32(entry + MSIX_ENTRY_DATA, ~i & 0xff);
		CHECK_EQUAL(mmio_read32(entry + MSIX_ENTRY_DATA), ~i & 0xff);
	}
}

static void pba_read_only(struct blk *disk)
{
	const struct msix *msix = &disk->device.msix;

	mmio_write64(msix_pba_word(msix, 0), ~0ull);
	CHECK_EQUAL(mmio_read64(msix_pba_word(msix, 0)), 0);
	mmio_write32(msix_pba_word(msix, 0), ~0u);
	CHECK_EQUAL(mmio_read32(msix_pba_word(msix, 0)), 0);
}

/* At status 0, with MSI-X off: Linux unmaps there after its reset. */
static void vector_registers(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	const uint16_t count = (uint16_t)device->msix.count;

	for (uint16_t entry = 0; entry < count; entry++) {
		test_context("entry %u", entry);
		virtio_config_vector(device, entry);
		virtio_queue_vector(device, 0, entry);
	}
	virtio_config_vector(device, VIRTIO_NO_VECTOR);
	virtio_queue_vector(device, 0, VIRTIO_NO_VECTOR);
}

static void vector_out_of_range(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	const uint16_t bad[] = { (uint16_t)device->msix.count, 0x7ff, 0x800, 0xfffe };

	virtio_write16(device, QUEUE_SELECT, 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		test_context("entry %u", bad[i]);
		virtio_write16(device, CONFIG_VECTOR, 0);
		virtio_write16(device, CONFIG_VECTOR, bad[i]);
		CHECK_EQUAL(virtio_read16(device, CONFIG_VECTOR), VIRTIO_NO_VECTOR);
		virtio_write16(device, QUEUE_VECTOR, 0);
		virtio_write16(device, QUEUE_VECTOR, bad[i]);
		CHECK_EQUAL(virtio_read16(device, QUEUE_VECTOR), VIRTIO_NO_VECTOR);
	}
}

/* Puts the queue on `entry` before DRIVER_OK. */
static void start_on_entry(struct blk *disk, uint16_t entry)
{
	virtio_reset(&disk->device);
	blk_prepare(disk, 0, blk_queue_size(disk));
	virtio_queue_vector(&disk->device, 0, entry);
	virtio_set_status(&disk->device, STATUS_LIVE);
}

/*
 * Routes the first entries, as many as there are vectors for, and counts from 0. Returns
 * how many.
 */
static unsigned route_all(const struct blk *disk)
{
	const struct msix *msix = &disk->device.msix;
	unsigned count = msix->count < 4 ? msix->count : 4;

	for (unsigned i = 0; i < count; i++) {
		irq_expect(blk_vector(disk, i), NULL, NULL);
		msix_route(msix, i, blk_vector(disk, i));
	}
	return count;
}

/* One completion comes at `entry`, once, and at no other. */
static void check_comes_at(struct blk *disk, unsigned entry)
{
	unsigned count = route_all(disk);

	blk_check(disk, blk_read(disk, entry, 1), entry, 1, false);
	for (unsigned i = 0; i < count; i++)
		blk_check_interrupts(disk, i, i == entry);
}

static void every_entry(struct blk *disk)
{
	unsigned count = route_all(disk);

	for (unsigned entry = 0; entry < count; entry++) {
		test_context("entry %u", entry);
		start_on_entry(disk, (uint16_t)entry);
		check_comes_at(disk, entry);
	}
}

static void remap_while_live(struct blk *disk)
{
	blk_start(disk, 0);
	for (unsigned i = 0; i < REMAPS; i++)
		virtio_queue_vector(&disk->device, 0, i % 3 ? i % 2 : VIRTIO_NO_VECTOR);
	for (unsigned entry = 0; entry < 2; entry++) {
		test_context("entry %u", entry);
		virtio_queue_vector(&disk->device, 0, (uint16_t)entry);
		check_comes_at(disk, entry);
	}
}

/* Completes a request that no interrupt announces. */
static void read_by_polling(struct blk *disk, uint64_t sector)
{
	struct blk_request request;

	blk_request_init(&request, BLK_IN, sector, SECTOR_SIZE);
	blk_queue(disk, &request);
	virtq_kick(&disk->queue);
	CHECK(POLL_UNTIL(PATIENCE_MS, virtq_has_used(&disk->queue)));
	blk_take(disk, &request);
	CHECK_EQUAL(blk_status(&request), BLK_OK);
	blk_check(disk, blk_data(&request), sector, 1, false);
}

static void unmapped_queue(struct blk *disk)
{
	start_on_entry(disk, VIRTIO_NO_VECTOR);
	read_by_polling(disk, 3);
	blk_check_quiet(disk, 0);
	CHECK_EQUAL(pci_read16(disk->device.pci, PCI_STATUS) & PCI_STATUS_INTERRUPT, 0);
}

/* The event is NEEDS_RESET. */
static void unmapped_config(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;

	blk_start(disk, 0);
	virtio_config_vector(device, VIRTIO_NO_VECTOR);
	virtq_break(&disk->queue);
	CHECK(POLL_UNTIL(PATIENCE_MS, virtio_status(device) & STATUS_NEEDS_RESET));
	blk_check_quiet(disk, 0);
	CHECK_EQUAL(irq_count(blk_vector(disk, ENTRY_CONFIG)), 0);
	CHECK_EQUAL(pci_read16(device->pci, PCI_STATUS) & PCI_STATUS_INTERRUPT, 0);
}

static void complete_masked(struct blk *disk)
{
	const struct msix *msix = &disk->device.msix;

	for (unsigned i = 0; i < MASKED_COMPLETIONS; i++)
		read_by_polling(disk, i);
	CHECK(POLL_UNTIL(PATIENCE_MS, msix_pending(msix, ENTRY_QUEUE)));
	irq_sleep(QUIET_MS);
	CHECK_EQUAL(irq_count(blk_vector(disk, ENTRY_QUEUE)), 0);
	CHECK(!msix_pending(msix, ENTRY_CONFIG));
}

static void check_one_message(struct blk *disk, unsigned vector)
{
	CHECK(WAIT_UNTIL(PATIENCE_MS, irq_count(vector) > 0));
	CHECK(!msix_pending(&disk->device.msix, ENTRY_QUEUE));
	irq_sleep(QUIET_MS);
	CHECK_EQUAL(irq_count(vector), 1);
}

static void entry_mask(struct blk *disk)
{
	const struct msix *msix = &disk->device.msix;

	blk_start(disk, 0);
	msix_mask(msix, ENTRY_QUEUE, true);
	complete_masked(disk);
	msix_mask(msix, ENTRY_QUEUE, false);
	check_one_message(disk, blk_vector(disk, ENTRY_QUEUE));
	blk_check(disk, blk_read(disk, 7, 1), 7, 1, false);
	blk_check_interrupts(disk, ENTRY_QUEUE, 2);
}

static void function_mask(struct blk *disk)
{
	const struct msix *msix = &disk->device.msix;

	blk_start(disk, 0);
	msix_function_mask(msix, true);
	complete_masked(disk);
	msix_function_mask(msix, false);
	check_one_message(disk, blk_vector(disk, ENTRY_QUEUE));
}

/* The function mask does not undo the entry's: both must be clear. */
static void both_masks(struct blk *disk)
{
	const struct msix *msix = &disk->device.msix;

	blk_start(disk, 0);
	msix_mask(msix, ENTRY_QUEUE, true);
	msix_function_mask(msix, true);
	complete_masked(disk);
	msix_function_mask(msix, false);
	irq_sleep(QUIET_MS);
	CHECK_EQUAL(irq_count(blk_vector(disk, ENTRY_QUEUE)), 0);
	CHECK(msix_pending(msix, ENTRY_QUEUE));
	msix_mask(msix, ENTRY_QUEUE, false);
	check_one_message(disk, blk_vector(disk, ENTRY_QUEUE));
}

static void mask_without_event(struct blk *disk)
{
	const struct msix *msix = &disk->device.msix;

	blk_start(disk, 0);
	for (unsigned i = 0; i < MASKED_COMPLETIONS; i++) {
		msix_mask(msix, ENTRY_QUEUE, true);
		msix_mask(msix, ENTRY_QUEUE, false);
	}
	blk_check_quiet(disk, 0);
}

static void retarget_while_pending(struct blk *disk)
{
	const struct msix *msix = &disk->device.msix;
	unsigned other = blk_vector(disk, ENTRY_QUEUE + 1);

	blk_start(disk, 0);
	irq_expect(other, NULL, NULL);
	msix_mask(msix, ENTRY_QUEUE, true);
	complete_masked(disk);
	mmio_write32(msix_entry(msix, ENTRY_QUEUE) + MSIX_ENTRY_DATA, other);
	msix_mask(msix, ENTRY_QUEUE, false);
	check_one_message(disk, other);
	CHECK_EQUAL(irq_count(blk_vector(disk, ENTRY_QUEUE)), 0);
}

/* A virtio reset drops what is pending and leaves the table and the enable bit alone. */
static void reset_drops_pending(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	const struct msix *msix = &device->msix;

	blk_start(disk, 0);
	msix_mask(msix, ENTRY_QUEUE, true);
	complete_masked(disk);
	virtio_reset(device);
	CHECK(!msix_pending(msix, ENTRY_QUEUE));
	CHECK_EQUAL(mmio_read32(msix_entry(msix, ENTRY_QUEUE)), irq_msi_address());
	CHECK_EQUAL(mmio_read32(msix_entry(msix, ENTRY_QUEUE) + MSIX_ENTRY_DATA),
		    blk_vector(disk, ENTRY_QUEUE));
	CHECK(pci_read16(msix->pci, msix->at + MSIX_CONTROL) & MSIX_CONTROL_ENABLE);
	CHECK_EQUAL(virtio_read16(device, CONFIG_VECTOR), VIRTIO_NO_VECTOR);
	virtio_write16(device, QUEUE_SELECT, 0);
	CHECK_EQUAL(virtio_read16(device, QUEUE_VECTOR), VIRTIO_NO_VECTOR);
	msix_mask(msix, ENTRY_QUEUE, false);
	irq_sleep(QUIET_MS);
	CHECK_EQUAL(irq_count(blk_vector(disk, ENTRY_QUEUE)), 0);
}

/* So does a reset of the only queue that uses the entry. */
static void queue_reset_drops_pending(struct blk *disk)
{
	struct virtio_device *device = &disk->device;

	blk_start(disk, FEATURE(F_RING_RESET));
	CHECK(device->features & FEATURE(F_RING_RESET));
	msix_mask(&device->msix, ENTRY_QUEUE, true);
	complete_masked(disk);
	virtio_queue_reset(device, 0);
	CHECK(!msix_pending(&device->msix, ENTRY_QUEUE));
	msix_mask(&device->msix, ENTRY_QUEUE, false);
	irq_sleep(QUIET_MS);
	CHECK_EQUAL(irq_count(blk_vector(disk, ENTRY_QUEUE)), 0);
	virtq_create(&disk->queue, device, 0, blk_queue_size(disk));
	virtq_enable(&disk->queue, ENTRY_QUEUE);
	blk_read(disk, 0, 1);
	blk_check_interrupts(disk, ENTRY_QUEUE, 1);
}

struct order {
	struct blk *disk;
	struct blk_request *request;
	unsigned late; /* messages that came before what they announce */
};

static void order_check(void *argument)
{
	struct order *order = argument;
	const struct blk *disk = order->disk;

	unsigned used = disk->queue.last_used + (virtq_has_used(&disk->queue) ? 1u : 0u);

	if (used < irq_count(blk_vector(disk, ENTRY_QUEUE)) || blk_status(order->request) != BLK_OK)
		order->late++;
}

/* The handler itself looks: used index, status and data are there when the message is. */
static void message_comes_last(struct blk *disk)
{
	struct blk_request request;
	struct order order = { .disk = disk, .request = &request };

	blk_start(disk, 0);
	irq_expect(blk_vector(disk, ENTRY_QUEUE), order_check, &order);
	for (unsigned i = 0; i < 64; i++) {
		CHECK_EQUAL(blk_run(disk, &request, BLK_IN, i, SECTOR_SIZE), BLK_OK);
		blk_check_interrupts(disk, ENTRY_QUEUE, i + 1);
		CHECK_EQUAL(order.late, 0);
	}
}

/* Masks come and go while requests complete: each completion has its message, and one only. */
static void mask_storm(struct blk *disk)
{
	const struct msix *msix = &disk->device.msix;
	struct blk_request request;

	blk_start(disk, 0);
	for (unsigned i = 0; i < 64; i++) {
		blk_request_init(&request, BLK_IN, i, SECTOR_SIZE);
		blk_queue(disk, &request);
		virtq_kick(&disk->queue);
		for (unsigned j = 0; j <= i % 4; j++) {
			msix_mask(msix, ENTRY_QUEUE, true);
			msix_mask(msix, ENTRY_QUEUE, false);
		}
		blk_check_interrupts(disk, ENTRY_QUEUE, i + 1);
		blk_take(disk, &request);
	}
	blk_check_quiet(disk, 64);
}

const struct test msix_tests[] = {
	{ "msix/table-size", table_size, "MSIX-01 MSIX-02", NEEDS_NOTHING },
	{ "msix/at-boot", at_boot, "MSIX-14", NEEDS_NOTHING },
	{ "msix/table-access", table_access, "MSIX-15", NEEDS_NOTHING },
	{ "msix/pba-read-only", pba_read_only, "MSIX-15 HOST-53", NEEDS_NOTHING },
	{ "msix/vector-registers", vector_registers, "MSIX-03 MSIX-04 MSIX-05 MSIX-17",
	  NEEDS_NOTHING },
	{ "msix/vector-out-of-range", vector_out_of_range, "MSIX-06", NEEDS_NOTHING },
	{ "msix/every-entry", every_entry, "MSIX-03", NEEDS_NOTHING },
	{ "msix/remap-while-live", remap_while_live, "MSIX-03 MSIX-07 HOST-55", NEEDS_NOTHING },
	{ "msix/unmapped-queue", unmapped_queue, "MSIX-04 MSIX-09", NEEDS_NOTHING },
	{ "msix/unmapped-config", unmapped_config, "MSIX-10", NEEDS_NOTHING },
	{ "msix/entry-mask", entry_mask, "MSIX-12", NEEDS_NOTHING },
	{ "msix/function-mask", function_mask, "MSIX-12", NEEDS_NOTHING },
	{ "msix/both-masks", both_masks, "MSIX-12", NEEDS_NOTHING },
	{ "msix/mask-without-event", mask_without_event, "MSIX-12 HOST-55", NEEDS_NOTHING },
	{ "msix/retarget-while-pending", retarget_while_pending, "MSIX-13", NEEDS_NOTHING },
	{ "msix/reset-drops-pending", reset_drops_pending, "MSIX-08 MSIX-14", NEEDS_NOTHING },
	{ "msix/queue-reset-drops-pending", queue_reset_drops_pending, "GEN-33", NEEDS_NOTHING },
	{ "msix/message-comes-last", message_comes_last, "MSIX-16", NEEDS_NOTHING },
	{ "msix/mask-storm", mask_storm, "HOST-55", NEEDS_NOTHING },
	{ NULL, NULL, NULL, 0 },
};
