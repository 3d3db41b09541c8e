// SPDX-License-Identifier: BSD-2-Clause
/*
 * I/O that hangs by this driver's own fault, until somebody has seen it: the runner waits for
 * what the monitor says of it, and then changes the size of the image, twice a test.
 */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

/* Says that things are so now, and waits until the runner has seen what it wants to see. */
static void show(struct blk *disk, const char *what)
{
	uint64_t before = blk_config(disk, BLK_CAPACITY, 8);

	print("# look: %s\n", what);
	CHECK(POLL_UNTIL(2 * PATIENCE_MS, blk_config(disk, BLK_CAPACITY, 8) != before));
	disk->capacity = blk_config(disk, BLK_CAPACITY, 8);
}

static void wait_used(struct blk *disk)
{
	CHECK(POLL_UNTIL(PATIENCE_MS, virtq_has_used(&disk->queue)));
}

static void add(struct blk *disk, struct blk_request *request)
{
	blk_request_init(request, BLK_IN, 1, SECTOR_SIZE);
	blk_queue(disk, request);
}

/* The device has no work left, and asks to be told of what comes. */
static bool is_at_rest(const struct virtq *queue)
{
	return queue->packed ? packed_device_event(queue).flags == EVENT_ALWAYS :
			       !(virtq_used_flags(queue) & USED_NO_NOTIFY);
}

static void not_rung(struct blk *disk)
{
	struct blk_request request;

	blk_start(disk, 0);
	blk_read(disk, 2, 1);
	CHECK(POLL_UNTIL(PATIENCE_MS, is_at_rest(&disk->queue)));
	add(disk, &request);
	show(disk, "hangs");
	blk_finish(disk, &request);
	show(disk, "is over");
}

static void set_master(const struct blk *disk, bool on)
{
	uint16_t command = pci_read16(disk->device.pci, PCI_COMMAND);

	pci_write16(disk->device.pci, PCI_COMMAND,
		    on ? command | PCI_COMMAND_MASTER : command & ~PCI_COMMAND_MASTER);
}

static void doorbell_without_master(struct blk *disk)
{
	struct blk_request request;

	blk_start(disk, 0);
	set_master(disk, false);
	add(disk, &request);
	virtq_kick(&disk->queue);
	show(disk, "hangs");
	set_master(disk, true);
	wait_used(disk);
	blk_take(disk, &request);
	show(disk, "is over");
}

static void vector_masked(struct blk *disk)
{
	struct blk_request request;

	blk_start(disk, 0);
	msix_mask(&disk->device.msix, ENTRY_QUEUE, true);
	add(disk, &request);
	virtq_kick(&disk->queue);
	show(disk, "hangs");
	msix_mask(&disk->device.msix, ENTRY_QUEUE, false);
	blk_check_interrupts(disk, ENTRY_QUEUE, 1);
	blk_take(disk, &request);
	show(disk, "is over");
}

static void all_masked(struct blk *disk)
{
	struct blk_request request;

	blk_start(disk, 0);
	msix_function_mask(&disk->device.msix, true);
	add(disk, &request);
	virtq_kick(&disk->queue);
	show(disk, "hangs");
	msix_function_mask(&disk->device.msix, false);
	blk_check_interrupts(disk, ENTRY_QUEUE, 1);
	blk_take(disk, &request);
	show(disk, "is over");
}

/* Completed behind a mask, which goes, but not before bus mastering. */
static void interrupt_without_master(struct blk *disk)
{
	struct blk_request request;

	blk_start(disk, 0);
	msix_mask(&disk->device.msix, ENTRY_QUEUE, true);
	add(disk, &request);
	virtq_kick(&disk->queue);
	CHECK(POLL_UNTIL(PATIENCE_MS, msix_pending(&disk->device.msix, ENTRY_QUEUE)));
	set_master(disk, false);
	msix_mask(&disk->device.msix, ENTRY_QUEUE, false);
	show(disk, "hangs");
	set_master(disk, true);
	blk_check_interrupts(disk, ENTRY_QUEUE, 1);
	blk_take(disk, &request);
	show(disk, "is over");
}

static void no_vector(struct blk *disk)
{
	struct blk_request request;

	blk_start(disk, 0);
	virtio_queue_vector(&disk->device, 0, VIRTIO_NO_VECTOR);
	add(disk, &request);
	virtq_kick(&disk->queue);
	show(disk, "hangs");
	virtio_queue_vector(&disk->device, 0, ENTRY_QUEUE);
	blk_take(disk, &request);
	show(disk, "is over");
}

static void intx_disabled(struct blk *disk)
{
	const struct pci_function *pci = disk->device.pci;
	struct blk_request request;
	uint16_t command;

	blk_start_intx(disk, 0);
	command = pci_read16(pci, PCI_COMMAND);
	pci_write16(pci, PCI_COMMAND, command | PCI_COMMAND_INTX_OFF);
	add(disk, &request);
	virtq_kick(&disk->queue);
	show(disk, "hangs");
	pci_write16(pci, PCI_COMMAND, command);
	CHECK(virtio_isr(&disk->device));
	blk_take(disk, &request);
	show(disk, "is over");
}

/* No hang: whoever wishes for no interrupt gets none. */
static void polling(struct blk *disk)
{
	struct blk_request request;

	blk_start(disk, 0);
	msix_mask(&disk->device.msix, ENTRY_QUEUE, true);
	if (disk->queue.packed)
		packed_set_event(&disk->queue, (struct packed_event){ .flags = EVENT_NEVER });
	else
		virtq_set_avail_flags(&disk->queue, AVAIL_NO_INTERRUPT);
	add(disk, &request);
	virtq_kick(&disk->queue);
	wait_used(disk);
	blk_take(disk, &request);
	show(disk, "is no hang");
}

const struct test hang_tests[] = {
	{ "hang/not-rung", not_rung, "", NEEDS_WATCH },
	{ "hang/doorbell-without-master", doorbell_without_master, "", NEEDS_WATCH },
	{ "hang/vector-masked", vector_masked, "", NEEDS_WATCH },
	{ "hang/all-masked", all_masked, "", NEEDS_WATCH },
	{ "hang/interrupt-without-master", interrupt_without_master, "", NEEDS_WATCH },
	{ "hang/no-vector", no_vector, "", NEEDS_WATCH },
	{ "hang/intx-disabled", intx_disabled, "", NEEDS_WATCH },
	{ "hang/polling", polling, "", NEEDS_WATCH },
	{ NULL, NULL, NULL, 0 },
};
