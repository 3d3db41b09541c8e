// SPDX-License-Identifier: BSD-2-Clause
/*
 * The legacy interface of a transitional device: the I/O BAR 0, driven as drivers did before
 * virtio 1.0. The modern structures stand beside and are compared where both show the same.
 */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

/* The header. The configuration follows: where, depends on MSI-X. */
enum {
	OFFERED = 0,
	ACCEPTED = 4,
	QUEUE_PAGE = 8,
	SIZE = 12,
	SELECT = 14,
	NOTIFY = 16,
	STATUS = 18,
	ISR = 19,
	VECTOR_CONFIG = 20, /* with MSI-X, as the next */
	VECTOR_QUEUE = 22,
	CONFIG = 20,
	CONFIG_MSIX = 24,

	RING_PAGE = 4096,
	ISR_QUEUE = 1,
	STATUS_LEGACY_LIVE = STATUS_FOUND | STATUS_DRIVER_OK,
	IN_FLIGHT = 16,
	BLK_FLUSH_OUT = 5,
};

enum legacy_feature {
	F_BLK_BARRIER = 0,
	F_BLK_SCSI = 7,
	F_ANY_LAYOUT = 27,
};

/* --- Registers --- */

static uint16_t at(const struct blk *disk, unsigned offset)
{
	return (uint16_t)(disk->device.pci->bars[0].base + offset);
}

static uint8_t get8(const struct blk *disk, unsigned offset)
{
	return inb(at(disk, offset));
}

static uint16_t get16(const struct blk *disk, unsigned offset)
{
	return inw(at(disk, offset));
}

static uint32_t get32(const struct blk *disk, unsigned offset)
{
	return inl(at(disk, offset));
}

static void put8(const struct blk *disk, unsigned offset, uint8_t value)
{
	outb(at(disk, offset), value);
}

static void put16(const struct blk *disk, unsigned offset, uint16_t value)
{
	outw(at(disk, offset), value);
}

static void put32(const struct blk *disk, unsigned offset, uint32_t value)
{
	outl(at(disk, offset), value);
}

static uint64_t capacity(const struct blk *disk, unsigned config)
{
	return get32(disk, config) | (uint64_t)get32(disk, config + 4) << 32;
}

/* --- Bring-up --- */

/* One read must do: drivers do not poll. */
static void reset(const struct blk *disk)
{
	put8(disk, STATUS, 0);
	CHECK_EQUAL(get8(disk, STATUS), 0);
}

/* The features that end up accepted. */
static uint32_t negotiate(const struct blk *disk, uint32_t features)
{
	reset(disk);
	put8(disk, STATUS, STATUS_ACKNOWLEDGE);
	put8(disk, STATUS, STATUS_FOUND);
	put32(disk, ACCEPTED, features);
	return get32(disk, ACCEPTED);
}

/* Descriptors, available ring, padding to a page, used ring; queue 0 is selected after. */
static void ring_create(struct blk *disk)
{
	struct virtq *queue = &disk->queue;
	uint16_t size;
	uint32_t used_at;
	uint8_t *area;

	put16(disk, SELECT, 0);
	size = get16(disk, SIZE);
	CHECK(size && !(size & (size - 1)));
	used_at = (virtq_desc_bytes(size) + virtq_avail_bytes(size) + RING_PAGE - 1) & -RING_PAGE;
	area = heap_alloc(used_at + virtq_used_bytes(size), RING_PAGE);
	disk->device.features = 0; /* of those that virtq.c knows */
	virtq_create(queue, &disk->device, 0, size);
	queue->desc = (struct virtq_desc *)area;
	queue->avail = (uint16_t *)(area + virtq_desc_bytes(size));
	queue->used = area + used_at;
}

static uint32_t ring_page(const struct blk *disk)
{
	return (uint32_t)((uintptr_t)disk->queue.desc / RING_PAGE);
}

static void ring_enable(struct blk *disk)
{
	ring_create(disk);
	put32(disk, QUEUE_PAGE, ring_page(disk));
	CHECK_EQUAL(get32(disk, QUEUE_PAGE), ring_page(disk));
}

static uint32_t start(struct blk *disk, uint32_t features)
{
	uint32_t accepted = negotiate(disk, features);

	ring_enable(disk);
	put8(disk, STATUS, STATUS_LEGACY_LIVE);
	CHECK_EQUAL(get8(disk, STATUS), STATUS_LEGACY_LIVE);
	return accepted;
}

static void kick(const struct blk *disk)
{
	put16(disk, NOTIFY, 0);
}

/* Queues, kicks, and looks at the used ring until it is done; the status. */
static uint8_t run(struct blk *disk, struct blk_request *request, uint32_t type, uint64_t sector,
		   uint32_t length)
{
	blk_request_init(request, type, sector, length);
	blk_queue(disk, request);
	kick(disk);
	CHECK(POLL_UNTIL(PATIENCE_MS, virtq_has_used(&disk->queue)));
	blk_take(disk, request);
	return blk_status(request);
}

static void check_read(struct blk *disk, uint64_t sector)
{
	struct blk_request request;

	CHECK_EQUAL(run(disk, &request, BLK_IN, sector, SECTOR_SIZE), BLK_OK);
	CHECK_EQUAL(request.used_length, SECTOR_SIZE + 1);
	blk_check(disk, blk_data(&request), sector, 1, false);
}

static void check_alive(struct blk *disk)
{
	start(disk, 0);
	check_read(disk, 1);
	blk_check_alive(disk);
}

/* --- Identity and layout --- */

static void identity(struct blk *disk)
{
	const struct pci_function *pci = disk->device.pci;

	CHECK_EQUAL(pci_read16(pci, PCI_VENDOR_ID), VIRTIO_VENDOR);
	CHECK_EQUAL(pci_read16(pci, PCI_DEVICE_ID), VIRTIO_BLK_TRANSITIONAL);
	CHECK_EQUAL(pci_read8(pci, PCI_REVISION), 0);
	CHECK_EQUAL(pci_read16(pci, PCI_SUBSYSTEM_ID), VIRTIO_ID_BLK);
	CHECK(pci->bars[0].io);
	CHECK(pci->bars[0].size >= CONFIG_MSIX + BLK_SEG_MAX);
	CHECK(disk->device.of_type[VIRTIO_CAP_COMMON]);
}

static void registers(struct blk *disk)
{
	uint16_t size;

	reset(disk);
	CHECK_EQUAL(get32(disk, ACCEPTED), 0);
	CHECK_EQUAL(get8(disk, ISR), 0);
	put16(disk, SELECT, 0);
	CHECK_EQUAL(get16(disk, SELECT), 0);
	CHECK_EQUAL(get32(disk, QUEUE_PAGE), 0);
	size = get16(disk, SIZE);
	CHECK_EQUAL(size, blk_queue_size(disk));
	put16(disk, SIZE, size / 2);
	CHECK_EQUAL(get16(disk, SIZE), size);
	put16(disk, SELECT, virtio_read16(&disk->device, NUM_QUEUES));
	CHECK_EQUAL(get16(disk, SIZE), 0); /* there is no such queue */
	put8(disk, STATUS, STATUS_ACKNOWLEDGE);
	CHECK_EQUAL(get8(disk, STATUS), STATUS_ACKNOWLEDGE);
	CHECK_EQUAL(virtio_status(&disk->device), STATUS_ACKNOWLEDGE);
}

static void msix_moves_config(struct blk *disk)
{
	const struct msix *msix = &disk->device.msix;

	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQUAL(capacity(disk, CONFIG), disk->capacity);
		msix_enable(msix, true);
		CHECK_EQUAL(capacity(disk, CONFIG_MSIX), disk->capacity);
		CHECK_EQUAL(get16(disk, VECTOR_CONFIG), VIRTIO_NO_VECTOR);
		put16(disk, VECTOR_CONFIG, ENTRY_CONFIG);
		CHECK_EQUAL(get16(disk, VECTOR_CONFIG), ENTRY_CONFIG);
		put16(disk, SELECT, 0);
		put16(disk, VECTOR_QUEUE, ENTRY_QUEUE);
		CHECK_EQUAL(get16(disk, VECTOR_QUEUE), ENTRY_QUEUE);
		put16(disk, VECTOR_QUEUE, (uint16_t)msix->count); /* the first that is not there */
		CHECK_EQUAL(get16(disk, VECTOR_QUEUE), VIRTIO_NO_VECTOR);
		msix_enable(msix, false);
		reset(disk);
	}
	CHECK_EQUAL(capacity(disk, CONFIG), disk->capacity);
}

static void config_widths(struct blk *disk)
{
	for (unsigned field = BLK_CAPACITY; field < BLK_BLK_SIZE; field += 4) {
		uint32_t whole = (uint32_t)blk_config(disk, field, 4);
		unsigned from = CONFIG + field;

		CHECK_EQUAL(get32(disk, from), whole);
		CHECK_EQUAL(get16(disk, from) | (uint32_t)get16(disk, from + 2) << 16, whole);
		for (unsigned i = 0; i < 4; i++)
			CHECK_EQUAL(get8(disk, from + i), whole >> 8 * i & 0xff);
	}
}

static void bar_moves(struct blk *disk)
{
	struct pci_function *pci = disk->device.pci;
	uint64_t old = pci->bars[0].base, new = pci_bar_elsewhere(pci, 0);
	uint16_t command = pci_read16(pci, PCI_COMMAND);

	start(disk, 0);
	check_read(disk, 1);
	pci_bar_set(pci, 0, new);
	CHECK_EQUAL(get8(disk, STATUS), STATUS_LEGACY_LIVE);
	check_read(disk, 2);
	CHECK_EQUAL(inl((uint16_t)old), 0xffffffff);
	pci_write16(pci, PCI_COMMAND, command & ~PCI_COMMAND_IO);
	CHECK_EQUAL(get32(disk, OFFERED), 0xffffffff);
	CHECK_EQUAL(virtio_status(&disk->device), STATUS_LEGACY_LIVE);
	pci_bar_set(pci, 0, old);
	pci_write16(pci, PCI_COMMAND, command);
	check_read(disk, 3);
}

/* --- Features and status --- */

static void features(struct blk *disk)
{
	uint32_t offered = get32(disk, OFFERED), some;

	CHECK(offered & FEATURE(F_ANY_LAYOUT));
	CHECK(!(offered & (FEATURE(F_BLK_BARRIER) | FEATURE(F_BLK_SCSI))));
	some = offered & (FEATURE(F_BLK_SEG_MAX) | FEATURE(F_ANY_LAYOUT));
	CHECK_EQUAL(start(disk, some), some);
	check_read(disk, 5);
}

static void all_features(struct blk *disk)
{
	negotiate(disk, ~0u);
	put8(disk, STATUS, STATUS_LEGACY_LIVE);
	check_alive(disk);
}

static void status(struct blk *disk)
{
	reset(disk);
	put8(disk, STATUS, STATUS_ACKNOWLEDGE);
	put8(disk, STATUS, STATUS_FOUND);
	put32(disk, ACCEPTED, FEATURE(F_BLK_SEG_MAX));
	ring_enable(disk);
	put8(disk, STATUS, STATUS_LEGACY_LIVE);
	CHECK_EQUAL(get8(disk, STATUS), STATUS_LEGACY_LIVE);
	check_read(disk, 6);
}

static void before_driver_ok(struct blk *disk)
{
	negotiate(disk, 0);
	ring_enable(disk);
	check_read(disk, 7);
	CHECK_EQUAL(get8(disk, STATUS), STATUS_FOUND);
	put8(disk, STATUS, STATUS_LEGACY_LIVE);
	check_read(disk, 8);
}

/* --- Queues --- */

static void page_number(struct blk *disk)
{
	start(disk, 0);
	check_read(disk, 1);
	put32(disk, QUEUE_PAGE, 0);
	CHECK_EQUAL(get32(disk, QUEUE_PAGE), 0);
	ring_enable(disk); /* another one, from its start */
	check_read(disk, 2);
	reset(disk);
	CHECK_EQUAL(get32(disk, QUEUE_PAGE), 0);
}

/* The used ring must begin a page on; whatever else the device writes to shows. */
static void layout(struct blk *disk)
{
	const struct virtq *queue = &disk->queue;
	const uint8_t *from;

	start(disk, 0);
	for (unsigned i = 0; i < 2u * queue->size; i += 64)
		check_read(disk, i % (disk->capacity / 2));
	from = (const uint8_t *)queue->avail + virtq_avail_bytes(queue->size);
	for (; from < queue->used; from++)
		CHECK_EQUAL(*from, 0);
}

static void isr_and_line(struct blk *disk)
{
	const struct pci_function *pci = disk->device.pci;
	unsigned gsi = pci_read8(pci, PCI_INTERRUPT_LINE);

	start(disk, 0);
	pci_write16(pci, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	CHECK_EQUAL(get8(disk, ISR), 0);
	check_read(disk, 1);
	CHECK(irq_line_asserted(gsi, PATIENCE_MS));
	CHECK_EQUAL(get8(disk, ISR), ISR_QUEUE);
	CHECK(!irq_line_asserted(gsi, QUIET_MS));
	CHECK_EQUAL(get8(disk, ISR), 0);
	check_read(disk, 2);
	CHECK(irq_line_asserted(gsi, PATIENCE_MS));
	CHECK_EQUAL(virtio_isr(&disk->device), ISR_QUEUE); /* the modern one is the same */
	CHECK_EQUAL(get8(disk, ISR), 0);
	CHECK(!irq_line_asserted(gsi, QUIET_MS));
}

static void messages(struct blk *disk)
{
	const struct msix *msix = &disk->device.msix;

	negotiate(disk, 0);
	msix_enable(msix, true);
	irq_expect(blk_vector(disk, ENTRY_QUEUE), NULL, NULL);
	msix_route(msix, ENTRY_QUEUE, blk_vector(disk, ENTRY_QUEUE));
	ring_enable(disk);
	put16(disk, VECTOR_QUEUE, ENTRY_QUEUE);
	CHECK_EQUAL(get16(disk, VECTOR_QUEUE), ENTRY_QUEUE);
	put8(disk, STATUS, STATUS_LEGACY_LIVE);
	for (unsigned i = 0; i < IN_FLIGHT; i++) {
		check_read(disk, i);
		blk_check_interrupts(disk, ENTRY_QUEUE, i + 1);
	}
}

/* The device lets go of everything before the one read of the status. */
static void reset_in_flight(struct blk *disk)
{
	struct blk_request request[IN_FLIGHT];

	for (unsigned round = 0; round < IN_FLIGHT; round++) {
		start(disk, 0);
		for (unsigned i = 0; i < IN_FLIGHT; i++) {
			blk_request_init(&request[i], BLK_IN, i, SECTOR_SIZE);
			blk_queue(disk, &request[i]);
		}
		kick(disk);
		reset(disk);
		for (unsigned i = 0; i < IN_FLIGHT; i++)
			memset(request[i].writable, 0x55, request[i].writable_length);
		irq_sleep(1);
		for (unsigned i = 0; i < IN_FLIGHT; i++)
			for (unsigned n = 0; n < request[i].writable_length; n++)
				CHECK_EQUAL(((volatile uint8_t *)request[i].writable)[n], 0x55);
		CHECK_EQUAL(get8(disk, ISR), 0);
		heap_reset();
	}
	check_alive(disk);
}

static void bus_master_off(struct blk *disk)
{
	const struct pci_function *pci = disk->device.pci;
	struct blk_request request;
	uint16_t command = pci_read16(pci, PCI_COMMAND);

	start(disk, 0);
	pci_write16(pci, PCI_COMMAND, command & ~PCI_COMMAND_MASTER);
	blk_request_init(&request, BLK_IN, 1, SECTOR_SIZE);
	blk_queue(disk, &request);
	kick(disk);
	irq_sleep(QUIET_MS);
	CHECK(!virtq_has_used(&disk->queue));
	pci_write16(pci, PCI_COMMAND, command);
	kick(disk);
	CHECK(POLL_UNTIL(PATIENCE_MS, virtq_has_used(&disk->queue)));
	blk_take(disk, &request);
	CHECK_EQUAL(blk_status(&request), BLK_OK);
}

/* --- Both interfaces --- */

static void mixed(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;

	blk_start(disk, 0);
	put32(disk, ACCEPTED, ~0u);
	put16(disk, SELECT, 0);
	put32(disk, QUEUE_PAGE, 1);
	put8(disk, STATUS, STATUS_LEGACY_LIVE);
	kick(disk);
	put8(disk, STATUS, 0);
	CHECK_EQUAL(virtio_status(device), 0);
	start(disk, 0);
	virtio_write32(device, DRIVER_FEATURE_SELECT, 1);
	virtio_write32(device, DRIVER_FEATURE, 1);
	virtio_set_status(device, STATUS_LIVE);
	virtio_reset(device);
	CHECK_EQUAL(get8(disk, STATUS), 0);
	CHECK_EQUAL(get32(disk, QUEUE_PAGE), 0);
	for (unsigned i = 0; i < 3; i++)
		check_alive(disk);
}

/* --- The block device --- */

static void old_types(struct blk *disk)
{
	static const uint32_t unknown[] = { 2, 3, 0x80000001 };
	struct blk_request request;

	start(disk, get32(disk, OFFERED) & FEATURE(F_BLK_FLUSH));
	for (unsigned i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		test_context("type 0x%x", unknown[i]);
		CHECK_EQUAL(run(disk, &request, unknown[i], 0, SECTOR_SIZE), BLK_UNSUPP);
	}
	test_context(NULL);
	check_read(disk, 1);
}

static void flush_out(struct blk *disk)
{
	struct blk_request request;

	if (!start(disk, get32(disk, OFFERED) & FEATURE(F_BLK_FLUSH)))
		return;
	CHECK_EQUAL(run(disk, &request, BLK_FLUSH_OUT, 0, 0), BLK_OK);
	CHECK_EQUAL(request.used_length, 1);
}

static uint8_t writeback(const struct blk *disk)
{
	return get8(disk, CONFIG + BLK_WRITEBACK);
}

/* Who knows the field decides alone, from the first moment on. */
static void cache_mode(struct blk *disk)
{
	const uint32_t wce = FEATURE(F_BLK_CONFIG_WCE), flush = FEATURE(F_BLK_FLUSH);

	reset(disk);
	if (!(get32(disk, OFFERED) & wce))
		return;
	for (uint8_t mode = 0; mode < 2; mode++) {
		put8(disk, CONFIG + BLK_WRITEBACK, mode);
		CHECK_EQUAL(writeback(disk), mode);
		put8(disk, STATUS, STATUS_ACKNOWLEDGE);
		put8(disk, STATUS, STATUS_FOUND);
		put32(disk, ACCEPTED, 0);
		put32(disk, ACCEPTED, wce);
		put32(disk, ACCEPTED, wce | flush);
		CHECK_EQUAL(writeback(disk), mode);
		put8(disk, STATUS, STATUS_LEGACY_LIVE);
		CHECK_EQUAL(writeback(disk), mode);
		reset(disk);
	}
}

/* Who does not know it is given a mode by DRIVER_OK. */
static void cache_mode_by_flush(struct blk *disk)
{
	const uint32_t flush = get32(disk, OFFERED) & FEATURE(F_BLK_FLUSH);

	if (!flush)
		return;
	start(disk, 0);
	CHECK_EQUAL(writeback(disk), 0);
	start(disk, flush);
	CHECK_EQUAL(writeback(disk), 1);
}

static void write(struct blk *disk)
{
	uint64_t sector = blk_scratch(disk);
	struct blk_request request;

	start(disk, 0);
	for (unsigned i = 0; i < 2; i++) {
		blk_request_init(&request, BLK_OUT, sector, SECTOR_SIZE);
		blk_fill(disk, blk_data(&request), sector, 1, !i);
		blk_queue(disk, &request);
		kick(disk);
		CHECK(POLL_UNTIL(PATIENCE_MS, virtq_has_used(&disk->queue)));
		blk_take(disk, &request);
		CHECK_EQUAL(blk_status(&request), BLK_OK);
		CHECK_EQUAL(request.used_length, 1);
		CHECK_EQUAL(run(disk, &request, BLK_IN, sector, SECTOR_SIZE), BLK_OK);
		blk_check(disk, blk_data(&request), sector, 1, !i);
	}
}

#define NEEDS NEEDS_TRANSITIONAL

const struct test legacy_tests[] = {
	{ "legacy/identity", identity, "LEGPCI-01 LEGPCI-02 LEGPCI-03 LEGPCI-04", NEEDS },
	{ "legacy/registers", registers, "LEGPCI-05 LEGPCI-13", NEEDS },
	{ "legacy/msix-moves-config", msix_moves_config, "LEGPCI-06 LEGPCI-07", NEEDS },
	{ "legacy/config-widths", config_widths, "LEGPCI-08 LEGPCI-09 LEGBLK-01", NEEDS },
	{ "legacy/bar-moves", bar_moves, "PCI-01 PCI-37 LEGPCI-04", NEEDS },
	{ "legacy/features", features, "LEGPCI-11 LEGPCI-19 LEGBLK-03", NEEDS },
	{ "legacy/all-features", all_features, "LEGPCI-21", NEEDS },
	{ "legacy/status", status, "LEGPCI-17", NEEDS },
	{ "legacy/before-driver-ok", before_driver_ok, "LEGPCI-15", NEEDS },
	{ "legacy/page-number", page_number, "LEGPCI-12", NEEDS },
	{ "legacy/layout", layout, "LEGPCI-14 LEGBLK-07 LEGBLK-08", NEEDS },
	{ "legacy/isr-and-line", isr_and_line, "LEGPCI-22", NEEDS | NEEDS_INTX },
	{ "legacy/messages", messages, "LEGPCI-06", NEEDS },
	{ "legacy/reset-in-flight", reset_in_flight, "LEGPCI-18", NEEDS },
	{ "legacy/bus-master-off", bus_master_off, "LEGPCI-25", NEEDS },
	{ "legacy/mixed", mixed, "LEGPCI-11 LEGPCI-24", NEEDS },
	{ "legacy/old-types", old_types, "LEGBLK-03", NEEDS },
	{ "legacy/flush-out", flush_out, "LEGBLK-02", NEEDS },
	{ "legacy/cache-mode", cache_mode, "LEGBLK-04 LEGBLK-05 LEGBLK-06 LEGPCI-16", NEEDS },
	{ "legacy/cache-mode-by-flush", cache_mode_by_flush, "LEGBLK-04", NEEDS },
	{ "legacy/write", write, "LEGBLK-01 LEGBLK-08", NEEDS | NEEDS_WRITABLE },
	{ NULL, NULL, NULL, 0 },
};
