// SPDX-License-Identifier: BSD-2-Clause
/* The disk as a PCI function: both configuration views, header, BARs. */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	COMMAND_WRITABLE_BY_PCI = 0x0557, /* bits 0-2, 4, 6, 8, 10 of the PCI specification */
	PCI_STATUS_ERRORS = 0xf900,
	PCI_CLASS_STORAGE = 0x01,
};

static void views(struct blk *disk)
{
	const char *expected = option("views", "cf8,ecam");

	(void)disk;
	CHECK_EQUAL(pci_view("cf8") != NULL, list_has(expected, "cf8"));
	CHECK_EQUAL(pci_view("ecam") != NULL, list_has(expected, "ecam"));
}

static void views_agree(struct blk *disk)
{
	const struct pci_view *ports = pci_view("cf8"), *ecam = pci_view("ecam");

	(void)disk;
	for (unsigned devfn = 0; devfn < PCI_DEVFN_COUNT; devfn++) {
		uint32_t id = ports->read((uint8_t)devfn, PCI_VENDOR_ID, 4);

		test_context("function 0x%x", devfn);
		CHECK_EQUAL(ecam->read((uint8_t)devfn, PCI_VENDOR_ID, 4), id);
		if ((id & 0xffff) == 0xffff)
			continue;
		for (uint16_t at = 0; at < PCI_HEADER_SIZE; at++)
			CHECK_EQUAL(ecam->read((uint8_t)devfn, at, 1),
				    ports->read((uint8_t)devfn, at, 1));
	}
}

static void views_share_writes(struct blk *disk)
{
	const struct pci_view *ports = pci_view("cf8"), *ecam = pci_view("ecam");
	uint8_t devfn = disk->device.pci->devfn;
	uint32_t line = ports->read(devfn, PCI_INTERRUPT_LINE, 1);

	ports->write(devfn, PCI_INTERRUPT_LINE, 1, 0x5a);
	CHECK_EQUAL(ecam->read(devfn, PCI_INTERRUPT_LINE, 1), 0x5a);
	ecam->write(devfn, PCI_INTERRUPT_LINE, 1, 0xa5);
	CHECK_EQUAL(ports->read(devfn, PCI_INTERRUPT_LINE, 1), 0xa5);
	ports->write(devfn, PCI_INTERRUPT_LINE, 1, line);
}

static void view_widths_agree(const struct pci_view *view, uint8_t devfn)
{
	for (uint16_t at = 0; at < PCI_CONFIG_SIZE; at += 4) {
		uint32_t bytes = 0;

		test_context("%s, offset 0x%x", view->name, at);
		for (unsigned i = 0; i < 4; i++)
			bytes |= view->read(devfn, at + i, 1) << 8 * i;
		CHECK_EQUAL(view->read(devfn, at, 4), bytes);
		CHECK_EQUAL(view->read(devfn, at, 2), bytes & 0xffff);
		CHECK_EQUAL(view->read(devfn, at + 2, 2), bytes >> 16);
	}
}

static void widths_agree(struct blk *disk)
{
	if (pci_view("cf8"))
		view_widths_agree(pci_view("cf8"), disk->device.pci->devfn);
	if (pci_view("ecam"))
		view_widths_agree(pci_view("ecam"), disk->device.pci->devfn);
}

static void view_absent(const struct pci_view *view, uint8_t devfn)
{
	test_context("%s, function 0x%x", view->name, devfn);
	view->write(devfn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	CHECK_EQUAL(view->read(devfn, PCI_VENDOR_ID, 4), 0xffffffff);
	CHECK_EQUAL(view->read(devfn, PCI_COMMAND, 2), 0xffff);
	CHECK_EQUAL(view->read(devfn, PCI_HEADER_TYPE, 1), 0xff);
}

/* In the disk's own slot and at the very end. */
static void absent_function(struct blk *disk)
{
	uint8_t absent[] = { disk->device.pci->devfn + 1, PCI_DEVFN_COUNT - 1 };

	for (unsigned i = 0; i < 2; i++) {
		if (pci_view("cf8"))
			view_absent(pci_view("cf8"), absent[i]);
		if (pci_view("ecam"))
			view_absent(pci_view("ecam"), absent[i]);
	}
}

static void identity(struct blk *disk)
{
	const struct pci_function *pci = disk->device.pci;

	CHECK_EQUAL(pci_read16(pci, PCI_VENDOR_ID), VIRTIO_VENDOR);
	CHECK_EQUAL(pci_read8(pci, PCI_CLASS + 1), PCI_CLASS_STORAGE);
	if (pci->device == VIRTIO_BLK_TRANSITIONAL) {
		CHECK_EQUAL(pci_read8(pci, PCI_REVISION), 0);
		CHECK_EQUAL(pci_read16(pci, PCI_SUBSYSTEM_ID), VIRTIO_ID_BLK);
	} else {
		CHECK_EQUAL(pci->device, VIRTIO_BLK_MODERN);
		CHECK(pci_read8(pci, PCI_REVISION) >= 1);
		CHECK(pci_read16(pci, PCI_SUBSYSTEM_ID) >= 0x40);
	}
}

static void header(struct blk *disk)
{
	const struct pci_function *pci = disk->device.pci;
	uint8_t pin = pci_read8(pci, PCI_INTERRUPT_PIN);

	CHECK_EQUAL(pci_read8(pci, PCI_HEADER_TYPE), 0);
	CHECK(pci_read16(pci, PCI_STATUS) & PCI_STATUS_CAPABILITIES);
	CHECK(pci_read8(pci, PCI_CAPABILITIES) >= PCI_HEADER_SIZE);
	CHECK_EQUAL(pci_read8(pci, PCI_CAPABILITIES) & 3, 0);
	CHECK(pin >= 1 && pin <= 4);
}

/*
 * Command and status, cache line and latency, BARs, the ROM BAR and Interrupt Line have
 * bits to write.
 */
static bool header_byte_read_only(uint16_t at)
{
	return !(at >= PCI_COMMAND && at < PCI_REVISION) && at != PCI_CACHE_LINE &&
	       at != PCI_CACHE_LINE + 1 && !(at >= PCI_BAR0 && at < 0x28) &&
	       !(at >= 0x30 && at < 0x34) && at != PCI_INTERRUPT_LINE;
}

static void header_read_only(struct blk *disk)
{
	const struct pci_function *pci = disk->device.pci;

	for (uint16_t at = 0; at < PCI_HEADER_SIZE; at++) {
		uint8_t before = pci_read8(pci, at);

		if (!header_byte_read_only(at))
			continue;
		test_context("offset 0x%x", at);
		pci_write8(pci, at, (uint8_t)~before);
		CHECK_EQUAL(pci_read8(pci, at), before);
	}
}

static void command(struct blk *disk)
{
	const struct pci_function *pci = disk->device.pci;
	const uint16_t needed = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF;
	uint16_t status = pci_read16(pci, PCI_STATUS), on;

	pci_write16(pci, PCI_COMMAND, 0xffff);
	on = pci_read16(pci, PCI_COMMAND);
	CHECK_EQUAL(on & ~COMMAND_WRITABLE_BY_PCI, 0);
	CHECK_EQUAL(on & needed, needed);
	pci_write16(pci, PCI_COMMAND, 0);
	CHECK_EQUAL(pci_read16(pci, PCI_COMMAND), 0);
	CHECK_EQUAL(pci_read16(pci, PCI_STATUS), status);
}

/* Error bits of Status are cleared by writing ones, and nothing sets a bit. */
static void status(struct blk *disk)
{
	const struct pci_function *pci = disk->device.pci;
	uint16_t before = pci_read16(pci, PCI_STATUS);

	pci_write16(pci, PCI_STATUS, 0xffff);
	CHECK_EQUAL(pci_read16(pci, PCI_STATUS), before & ~PCI_STATUS_ERRORS);
}

static void bar_check_sizing(const struct pci_function *pci, unsigned index)
{
	const struct pci_bar *bar = &pci->bars[index];
	uint16_t at = (uint16_t)(PCI_BAR0 + 4 * index);
	uint32_t low = pci_read32(pci, at), high = pci_read32(pci, at + 4), type_bits;

	CHECK_EQUAL(bar->size & (bar->size - 1), 0);
	CHECK(bar->size >= (bar->io ? 4 : 16));
	type_bits = bar->io ? 3 : 15;
	pci_write32(pci, at, ~0u);
	CHECK_EQUAL(pci_read32(pci, at) & type_bits, low & type_bits);
	pci_write32(pci, at, 0);
	CHECK_EQUAL(pci_read32(pci, at), low & type_bits);
	pci_write32(pci, at, low);
	CHECK_EQUAL(pci_read32(pci, at), low);
	if (!bar->is_64bit)
		return;
	pci_write32(pci, at + 4, ~0u);
	CHECK_EQUAL(pci_read32(pci, at + 4), ~0u);
	pci_write32(pci, at + 4, high);
	CHECK_EQUAL(pci_read32(pci, at + 4), high);
}

static void bar_check_absent(const struct pci_function *pci, unsigned index)
{
	uint16_t at = (uint16_t)(PCI_BAR0 + 4 * index);

	pci_write32(pci, at, ~0u);
	CHECK_EQUAL(pci_read32(pci, at), 0);
}

static void bar_sizing(struct blk *disk)
{
	const struct pci_function *pci = disk->device.pci;
	uint16_t on = pci_read16(pci, PCI_COMMAND);

	pci_write16(pci, PCI_COMMAND, 0);
	for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
		test_context("BAR %u", i);
		if (pci->bars[i].size) {
			CHECK_EQUAL(pci_bar_size(pci, i), pci->bars[i].size);
			bar_check_sizing(pci, i);
		} else {
			bar_check_absent(pci, i);
		}
		i += pci->bars[i].is_64bit;
	}
	test_context(NULL);
	pci_write16(pci, PCI_COMMAND, on);
	blk_check_alive(disk);
}

static void decode_off(struct blk *disk)
{
	const struct pci_function *pci = disk->device.pci;
	const struct virtio_device *device = &disk->device;
	uint16_t on = pci_read16(pci, PCI_COMMAND);

	virtio_set_status(device, STATUS_FOUND);
	pci_write16(pci, PCI_COMMAND, on & ~PCI_COMMAND_MEMORY);
	CHECK_EQUAL(virtio_read8(device, DEVICE_STATUS), 0xff);
	CHECK_EQUAL(virtio_read16(device, NUM_QUEUES), 0xffff);
	CHECK_EQUAL(virtio_read32(device, DEVICE_FEATURE), 0xffffffff);
	virtio_set_status(device, 0);
	pci_write16(pci, PCI_COMMAND, on);
	CHECK_EQUAL(virtio_status(device), STATUS_FOUND);
}

static void bar_move(struct blk *disk, unsigned index, uint64_t base)
{
	struct pci_function *pci = disk->device.pci;
	uint16_t on = pci_read16(pci, PCI_COMMAND);

	pci_write16(pci, PCI_COMMAND, on & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
	pci_bar_set(pci, index, base);
	pci_write16(pci, PCI_COMMAND, on);
	disk->queue.doorbell = virtio_doorbell(&disk->device, 0);
}

/* The status register and the first MSI-X entry's address answer, each where its BAR is now. */
static void bar_check_present(const struct blk *disk)
{
	CHECK_EQUAL(virtio_status(&disk->device), STATUS_LIVE);
	CHECK_EQUAL(mmio_read32(msix_entry(&disk->device.msix, 0)), irq_msi_address());
}

/* What was at `old` in this BAR does not answer there any more. */
static void bar_check_gone(const struct blk *disk, unsigned index, uint64_t old)
{
	const struct virtio_cap *common = disk->device.of_type[VIRTIO_CAP_COMMON];
	const struct msix *msix = &disk->device.msix;

	if (index == common->bar)
		CHECK(mmio_read8(old + common->offset + DEVICE_STATUS) != STATUS_LIVE);
	if (index == msix->table_bar)
		CHECK(mmio_read32(old + msix->table_offset) != irq_msi_address());
}

/* Registers, doorbell and MSI-X table follow their BAR while the queue runs. */
static void bar_follows(struct blk *disk)
{
	struct pci_function *pci = disk->device.pci;

	blk_start(disk, 0);
	for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
		uint64_t home = pci->bars[i].base, away;

		if (!pci->bars[i].size || pci->bars[i].io)
			continue;
		test_context("BAR %u", i);
		away = pci_bar_elsewhere(pci, i);
		bar_move(disk, i, away);
		bar_check_gone(disk, i, home);
		bar_check_present(disk);
		blk_check(disk, blk_read(disk, 2, 1), 2, 1, false);
		bar_move(disk, i, home);
		bar_check_gone(disk, i, away);
		bar_check_present(disk);
		blk_check(disk, blk_read(disk, 3, 1), 3, 1, false);
	}
}

/*
 * A BAR moved while it decodes: its low half alone, so the move is one write. The doorbell at the
 * old place is dead, and the one at the new place works.
 */
static void bar_moves_while_decoding(struct blk *disk)
{
	struct virtio_device *device = &disk->device;
	unsigned index = device->of_type[VIRTIO_CAP_NOTIFY]->bar;
	uint64_t home = device->pci->bars[index].base, away;
	uintptr_t old_doorbell;
	struct blk_request request;

	blk_start(disk, 0);
	blk_check(disk, blk_read(disk, 0, 1), 0, 1, false);
	blk_check_interrupts(disk, ENTRY_QUEUE, 1);
	old_doorbell = disk->queue.doorbell;
	away = pci_bar_elsewhere(device->pci, index);
	CHECK_EQUAL(away >> 32, home >> 32);
	pci_bar_set(device->pci, index, away);
	disk->queue.doorbell = virtio_doorbell(device, 0);
	blk_request_init(&request, BLK_IN, 2, SECTOR_SIZE);
	blk_queue(disk, &request);
	mmio_write16(old_doorbell, 0);
	blk_check_quiet(disk, 1);
	blk_finish(disk, &request);
	CHECK_EQUAL(blk_status(&request), BLK_OK);
	blk_check(disk, blk_data(&request), 2, 1, false);
	pci_bar_set(device->pci, index, home);
	disk->queue.doorbell = virtio_doorbell(device, 0);
	blk_check(disk, blk_read(disk, 3, 1), 3, 1, false);
}

/* Off: no message and no DMA. What was kicked meanwhile may run later or be lost. */
static void bus_master_off(struct blk *disk)
{
	const struct pci_function *pci = disk->device.pci;
	uint16_t on = pci_read16(pci, PCI_COMMAND);
	struct blk_request request;

	blk_start(disk, 0);
	blk_read(disk, 0, 1);
	blk_check_interrupts(disk, ENTRY_QUEUE, 1);
	pci_write16(pci, PCI_COMMAND, on & ~PCI_COMMAND_MASTER);
	blk_request_init(&request, BLK_IN, 1, SECTOR_SIZE);
	blk_queue(disk, &request);
	virtq_kick(&disk->queue);
	blk_check_quiet(disk, 1);
	CHECK_EQUAL(blk_status(&request), BLK_UNWRITTEN);
	CHECK_EQUAL(blk_data(&request)[1], 0);
	pci_write16(pci, PCI_COMMAND, on);
	blk_check_alive(disk);
}

const struct test pci_tests[] = {
	{ "pci/views", views, "PCI-01", NEEDS_NOTHING },
	{ "pci/views-agree", views_agree, "PCI-01", NEEDS_BOTH_VIEWS },
	{ "pci/views-share-writes", views_share_writes, "PCI-01", NEEDS_BOTH_VIEWS },
	{ "pci/widths-agree", widths_agree, "PCI-01", NEEDS_NOTHING },
	{ "pci/absent-function", absent_function, "PCI-01", NEEDS_NOTHING },
	{ "pci/identity", identity, "PCI-02 PCI-03 PCI-04", NEEDS_NOTHING },
	{ "pci/header", header, "PCI-01", NEEDS_NOTHING },
	{ "pci/header-read-only", header_read_only, "HOST-59", NEEDS_NOTHING },
	{ "pci/command", command, "PCI-01 HOST-59", NEEDS_NOTHING },
	{ "pci/status", status, "PCI-01 HOST-59", NEEDS_NOTHING },
	{ "pci/bar-sizing", bar_sizing, "PCI-01", NEEDS_NOTHING },
	{ "pci/decode-off", decode_off, "PCI-37", NEEDS_NOTHING },
	{ "pci/bar-follows", bar_follows, "PCI-01 HOST-57", NEEDS_NOTHING },
	{ "pci/bar-moves-while-decoding", bar_moves_while_decoding, "HOST-57", NEEDS_NOTHING },
	{ "pci/bus-master-off", bus_master_off, "PCI-37", NEEDS_NOTHING },
	{ NULL, NULL, NULL, 0 },
};
