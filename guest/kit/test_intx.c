// SPDX-License-Identifier: BSD-2-Clause
/*
 * ISR status and INTx. The line is looked at by unmasking its level-triggered I/O APIC
 * input: a level that stands delivers at once. That works where EOI means nothing, as on
 * some KVMs, and on true hardware.
 */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	ISR_QUEUE = 1,
	ISR_CONFIG = 2,
	REQUESTS = 16,
	LOOKS = 5,
};

static unsigned gsi(const struct blk *disk)
{
	return pci_read8(disk->device.pci, PCI_INTERRUPT_LINE);
}

/* The device raises its line some time after it has moved the used index. */
static void check_line_high(const struct blk *disk)
{
	CHECK(irq_line_asserted(gsi(disk), PATIENCE_MS));
}

static void check_line_low(const struct blk *disk)
{
	CHECK(!irq_line_asserted(gsi(disk), QUIET_MS));
}

static bool status_says_interrupt(const struct blk *disk)
{
	return pci_read16(disk->device.pci, PCI_STATUS) & PCI_STATUS_INTERRUPT;
}

static void complete_one(struct blk *disk)
{
	struct blk_request request;

	blk_request_init(&request, BLK_IN, 1, SECTOR_SIZE);
	blk_queue(disk, &request);
	virtq_kick(&disk->queue);
	CHECK(POLL_UNTIL(PATIENCE_MS, virtq_has_used(&disk->queue)));
	blk_take(disk, &request);
	CHECK_EQUAL(blk_status(&request), BLK_OK);
}

/*
 * As complete_one(), then waits until the device has raised its interrupt: that comes
 * after the used index.
 */
static void raise_interrupt(struct blk *disk)
{
	blk_start_intx(disk, 0);
	complete_one(disk);
	CHECK(POLL_UNTIL(PATIENCE_MS, status_says_interrupt(disk)));
}

static void isr(struct blk *disk)
{
	blk_start_intx(disk, 0);
	CHECK_EQUAL(virtio_isr(&disk->device), 0);
	CHECK(!status_says_interrupt(disk));
	complete_one(disk);
	CHECK(POLL_UNTIL(PATIENCE_MS, status_says_interrupt(disk)));
	CHECK_EQUAL(virtio_isr(&disk->device), ISR_QUEUE);
	CHECK_EQUAL(virtio_isr(&disk->device), 0);
	CHECK(!status_says_interrupt(disk));
}

static void isr_ignores_writes(struct blk *disk)
{
	raise_interrupt(disk);
	mmio_write8(virtio_address(&disk->device, VIRTIO_CAP_ISR), 0);
	CHECK_EQUAL(virtio_isr(&disk->device), ISR_QUEUE);
	mmio_write8(virtio_address(&disk->device, VIRTIO_CAP_ISR), 0xff);
	CHECK_EQUAL(virtio_isr(&disk->device), 0);
}

static void line_follows_isr(struct blk *disk)
{
	blk_start_intx(disk, 0);
	check_line_low(disk);
	complete_one(disk);
	check_line_high(disk);
	check_line_high(disk);
	CHECK_EQUAL(virtio_isr(&disk->device), ISR_QUEUE);
	check_line_low(disk);
}

static void interrupt_disable(struct blk *disk)
{
	const struct pci_function *pci = disk->device.pci;
	uint16_t command;

	blk_start_intx(disk, 0);
	command = pci_read16(pci, PCI_COMMAND);
	pci_write16(pci, PCI_COMMAND, command | PCI_COMMAND_INTX_OFF);
	complete_one(disk);
	CHECK(POLL_UNTIL(PATIENCE_MS, status_says_interrupt(disk)));
	check_line_low(disk);
	pci_write16(pci, PCI_COMMAND, command);
	check_line_high(disk);
	pci_write16(pci, PCI_COMMAND, command | PCI_COMMAND_INTX_OFF);
	check_line_low(disk);
	CHECK(status_says_interrupt(disk));
	CHECK_EQUAL(virtio_isr(&disk->device), ISR_QUEUE);
}

static void reset_drops_line(struct blk *disk)
{
	raise_interrupt(disk);
	check_line_high(disk);
	virtio_reset(&disk->device);
	check_line_low(disk);
	CHECK_EQUAL(virtio_isr(&disk->device), 0);
}

static void quiet_under_msix(struct blk *disk)
{
	const struct pci_function *pci = disk->device.pci;
	uint16_t command = pci_read16(pci, PCI_COMMAND);

	blk_start(disk, 0);
	pci_write16(pci, PCI_COMMAND, command & ~PCI_COMMAND_INTX_OFF);
	virtio_queue_vector(&disk->device, 0, VIRTIO_NO_VECTOR);
	complete_one(disk);
	check_line_low(disk);
}

struct handler {
	struct blk *disk;
	unsigned ours, spurious;
};

static void handle(void *argument)
{
	struct handler *handler = argument;

	if (virtio_isr(&handler->disk->device) & ISR_QUEUE)
		handler->ours++;
	else
		handler->spurious++;
}

/*
 * Requests by INTx alone. Where a level-triggered input is resampled at injection, as some
 * KVMs do, the handler runs once more an assertion; never more than that.
 */
static void requests(struct blk *disk)
{
	struct handler handler = { .disk = disk };
	struct blk_request request;

	blk_start_intx(disk, 0);
	irq_expect(VECTOR_INTX, handle, &handler);
	irq_line_arm(gsi(disk));
	for (unsigned i = 0; i < REQUESTS; i++) {
		blk_request_init(&request, BLK_IN, i, SECTOR_SIZE);
		blk_queue(disk, &request);
		virtq_kick(&disk->queue);
		CHECK(WAIT_UNTIL(PATIENCE_MS, *(volatile unsigned *)&handler.ours > i));
		blk_take(disk, &request);
		CHECK_EQUAL(blk_status(&request), BLK_OK);
		blk_check(disk, blk_data(&request), i, 1, false);
	}
	irq_sleep(QUIET_MS);
	irq_line_mask(gsi(disk));
	CHECK_EQUAL(handler.ours, REQUESTS);
	CHECK(handler.spurious <= REQUESTS);
}

/*
 * With MSI-X on, an event in the configuration still shows in the ISR: bit 1 comes before
 * the message.
 */
static void isr_config_bit(struct blk *disk)
{
	blk_start(disk, 0);
	virtq_break(&disk->queue);
	CHECK(WAIT_UNTIL(PATIENCE_MS, irq_count(blk_vector(disk, ENTRY_CONFIG)) > 0));
	CHECK_EQUAL(virtio_isr(&disk->device) & ISR_CONFIG, ISR_CONFIG);
	CHECK_EQUAL(virtio_isr(&disk->device), 0);
}

/*
 * A completion, then NEEDS_RESET, and only then a look: one read tells of both. The status
 * shows before the ISR does, so a look may be too early.
 */
static void isr_both_bits(struct blk *disk)
{
	uint8_t bits = ISR_QUEUE;

	for (unsigned i = 0; i < LOOKS && bits == ISR_QUEUE; i++) {
		raise_interrupt(disk);
		virtq_break(&disk->queue);
		CHECK(POLL_UNTIL(PATIENCE_MS, virtio_status(&disk->device) & STATUS_NEEDS_RESET));
		irq_sleep(QUIET_MS);
		bits = virtio_isr(&disk->device);
	}
	CHECK_EQUAL(bits, ISR_QUEUE | ISR_CONFIG);
	CHECK_EQUAL(virtio_isr(&disk->device), 0);
	CHECK(!status_says_interrupt(disk));
}

/* MSI-X goes off and on again between requests: each completes its way, and mappings stay. */
static void msix_toggled(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;

	blk_start(disk, 0);
	blk_check(disk, blk_read(disk, 2, 1), 2, 1, false);
	blk_check_interrupts(disk, ENTRY_QUEUE, 1);
	msix_enable(&device->msix, false);
	(void)virtio_isr(device);
	complete_one(disk);
	CHECK(POLL_UNTIL(PATIENCE_MS, status_says_interrupt(disk)));
	CHECK_EQUAL(virtio_isr(device) & ISR_QUEUE, ISR_QUEUE);
	msix_enable(&device->msix, true);
	virtio_write16(device, QUEUE_SELECT, 0);
	CHECK_EQUAL(virtio_read16(device, QUEUE_VECTOR), ENTRY_QUEUE);
	blk_check(disk, blk_read(disk, 3, 1), 3, 1, false);
	blk_check_interrupts(disk, ENTRY_QUEUE, 2);
}

const struct test intx_tests[] = {
	{ "intx/isr", isr, "ISR-03 ISR-04 ISR-05 ISR-06", NEEDS_NOTHING },
	{ "intx/isr-ignores-writes", isr_ignores_writes, "ISR-09", NEEDS_NOTHING },
	{ "intx/isr-config-bit", isr_config_bit, "ISR-02 ISR-04", NEEDS_NOTHING },
	{ "intx/isr-both-bits", isr_both_bits, "ISR-05 ISR-06 ISR-10", NEEDS_NOTHING },
	{ "intx/msix-toggled", msix_toggled, "MSIX-18", NEEDS_NOTHING },
	{ "intx/line-follows-isr", line_follows_isr, "ISR-05 ISR-08", NEEDS_INTX },
	{ "intx/interrupt-disable", interrupt_disable, "ISR-07", NEEDS_INTX },
	{ "intx/reset-drops-line", reset_drops_line, "ISR-09", NEEDS_INTX },
	{ "intx/quiet-under-msix", quiet_under_msix, "MSIX-09 MSIX-11", NEEDS_INTX },
	{ "intx/requests", requests, "ISR-03 ISR-05 ISR-08", NEEDS_INTX },
	{ NULL, NULL, NULL, 0 },
};
