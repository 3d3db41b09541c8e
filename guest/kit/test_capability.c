// SPDX-License-Identifier: BSD-2-Clause
/* The capability list, where the virtio structures lie, and the configuration access window. */
#include <stddef.h>

#include "guest/kit/blk.h"
#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum { MSIX_CAP_SIZE = 12 };

/*
 * Each capability claims its bytes in a map of the configuration space; none may be
 * claimed twice.
 */
static void claim(uint8_t *taken, unsigned at, unsigned length)
{
	CHECK(at >= PCI_HEADER_SIZE && at + length <= PCI_CONFIG_SIZE);
	for (unsigned i = at; i < at + length; i++) {
		CHECK_EQUAL(taken[i], 0);
		taken[i] = 1;
	}
}

static void list(struct blk *disk)
{
	const struct pci_function *pci = disk->device.pci;
	uint8_t *taken = heap_alloc(PCI_CONFIG_SIZE, 1);
	unsigned vendor_caps = 0;

	for (uint8_t at = pci_read8(pci, PCI_CAPABILITIES); at; at = pci_read8(pci, at + 1)) {
		uint8_t id = pci_read8(pci, at);

		test_context("capability 0x%x at 0x%x", id, at);
		CHECK_EQUAL(at & 3, 0);
		if (id == PCI_CAP_VENDOR)
			claim(taken, at, pci_read8(pci, at + VIRTIO_CAP_LENGTH_OF_CAP));
		else
			claim(taken, at, id == PCI_CAP_MSIX ? MSIX_CAP_SIZE : 2);
		vendor_caps += id == PCI_CAP_VENDOR;
	}
	test_context(NULL);
	CHECK_EQUAL(vendor_caps, disk->device.cap_count);
}

static uint8_t cap_size(uint8_t type)
{
	return type == VIRTIO_CAP_NOTIFY || type == VIRTIO_CAP_WINDOW ? 20 : 16;
}

static void structures(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;

	for (unsigned type = VIRTIO_CAP_COMMON; type < VIRTIO_CAP_TYPES; type++) {
		const struct virtio_cap *cap = device->of_type[type];

		test_context("type %u", type);
		CHECK(cap != NULL);
		CHECK_EQUAL(cap->length_of_cap, cap_size(cap->type));
	}
	test_context(NULL);
	CHECK(device->of_type[VIRTIO_CAP_COMMON]->length >= COMMON_SIZE);
	CHECK_EQUAL(device->of_type[VIRTIO_CAP_COMMON]->offset & 3, 0);
	CHECK_EQUAL(device->of_type[VIRTIO_CAP_DEVICE]->offset & 3, 0);
	CHECK(device->of_type[VIRTIO_CAP_ISR]->length >= 1);
}

/* Linux refuses to read a field beyond the stated length, so it must cover what is offered. */
static void device_config_length(struct blk *disk)
{
	uint32_t length = disk->device.of_type[VIRTIO_CAP_DEVICE]->length;
	uint64_t offered = virtio_offered(&disk->device);

	CHECK(length >= BLK_CAPACITY + 8);
	if (offered & (FEATURE(F_BLK_SEG_MAX) | FEATURE(F_BLK_SIZE_MAX)))
		CHECK(length >= BLK_GEOMETRY);
	if (offered & FEATURE(F_BLK_BLK_SIZE))
		CHECK(length >= BLK_TOPOLOGY);
	if (offered & FEATURE(F_BLK_TOPOLOGY))
		CHECK(length >= BLK_WRITEBACK);
	if (offered & FEATURE(F_BLK_MQ))
		CHECK(length >= BLK_DISCARD_LIMITS);
	if (offered & FEATURE(F_BLK_DISCARD))
		CHECK(length >= BLK_WRITE_ZEROES_LIMITS);
	if (offered & FEATURE(F_BLK_WRITE_ZEROES))
		CHECK(length >= BLK_SECURE_ERASE_LIMITS);
	if (offered & FEATURE(F_BLK_SECURE_ERASE))
		CHECK(length >= BLK_ZONED);
}

static bool pages_meet(uint64_t a, uint64_t a_length, uint64_t b, uint64_t b_length)
{
	return a / PAGE_SIZE <= (b + b_length - 1) / PAGE_SIZE &&
	       b / PAGE_SIZE <= (a + a_length - 1) / PAGE_SIZE;
}

static void inside_bar(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	const struct msix *msix = &device->msix;
	uint64_t table_bytes = msix->count * MSIX_ENTRY_SIZE;
	uint64_t pba_bytes = (msix->count + 63) / 64 * 8;

	CHECK(msix->table_offset + table_bytes <= device->pci->bars[msix->table_bar].size);
	CHECK(msix->pba_offset + pba_bytes <= device->pci->bars[msix->pba_bar].size);
	for (unsigned type = VIRTIO_CAP_COMMON; type <= VIRTIO_CAP_DEVICE; type++) {
		const struct virtio_cap *cap = device->of_type[type];

		test_context("type %u", type);
		CHECK(cap->bar < PCI_BAR_COUNT);
		CHECK((uint64_t)cap->offset + cap->length <= device->pci->bars[cap->bar].size);
		CHECK(cap->bar != msix->table_bar ||
		      !pages_meet(cap->offset, cap->length, msix->table_offset, table_bytes));
		CHECK(cap->bar != msix->pba_bar ||
		      !pages_meet(cap->offset, cap->length, msix->pba_offset, pba_bytes));
	}
}

static void notify_geometry(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	const struct virtio_cap *cap = device->of_type[VIRTIO_CAP_NOTIFY];
	bool with_data = virtio_offered(device) & FEATURE(F_NOTIFICATION_DATA);
	uint32_t width = with_data ? 4 : 2, multiplier = device->notify_multiplier;

	CHECK_EQUAL(cap->offset % width, 0);
	CHECK_EQUAL(multiplier & (multiplier - 1), 0);
	CHECK(multiplier == 0 || multiplier >= width);
	CHECK(cap->length >= width);
	for (uint16_t i = 0; i < virtio_read16(device, NUM_QUEUES); i++) {
		test_context("queue %u", i);
		virtio_write16(device, QUEUE_SELECT, i);
		CHECK(cap->length >=
		      (uint64_t)virtio_read16(device, QUEUE_NOTIFY_OFF) * multiplier + width);
	}
}

/*
 * bar, offset, length and data of the window, and two bits of MSI-X control, may be
 * written; nothing else.
 */
static bool cap_byte_read_only(const struct pci_function *pci, uint8_t cap, uint8_t at)
{
	if (pci_read8(pci, cap) == PCI_CAP_MSIX)
		return at != MSIX_CONTROL + 1;
	return pci_read8(pci, cap + VIRTIO_CAP_TYPE) != VIRTIO_CAP_WINDOW || at < VIRTIO_CAP_BAR ||
	       (at > VIRTIO_CAP_BAR && at < VIRTIO_CAP_OFFSET);
}

static void cap_check_read_only(const struct pci_function *pci, uint8_t cap)
{
	uint8_t length = pci_read8(pci, cap) == PCI_CAP_MSIX
				 ? MSIX_CAP_SIZE
				 : pci_read8(pci, cap + VIRTIO_CAP_LENGTH_OF_CAP);

	for (uint8_t at = 0; at < length; at++) {
		uint8_t before = pci_read8(pci, cap + at);

		if (!cap_byte_read_only(pci, cap, at))
			continue;
		test_context("capability at 0x%x, byte %u", cap, at);
		pci_write8(pci, cap + at, (uint8_t)~before);
		CHECK_EQUAL(pci_read8(pci, cap + at), before);
	}
}

static void read_only(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;

	for (unsigned i = 0; i < device->cap_count; i++)
		cap_check_read_only(device->pci, device->caps[i].at);
	cap_check_read_only(device->pci, device->msix.at);
}

static void window_aim(const struct virtio_device *device, uint8_t bar, uint32_t offset,
		       uint32_t length)
{
	uint8_t at = device->of_type[VIRTIO_CAP_WINDOW]->at;

	pci_write8(device->pci, at + VIRTIO_CAP_BAR, bar);
	pci_write32(device->pci, at + VIRTIO_CAP_OFFSET, offset);
	pci_write32(device->pci, at + VIRTIO_CAP_LENGTH, length);
}

static uint16_t window_data(const struct virtio_device *device)
{
	return device->of_type[VIRTIO_CAP_WINDOW]->at + VIRTIO_CAP_DATA;
}

static void window_write(const struct virtio_device *device, enum virtio_cap_type type,
			 uint32_t offset, uint32_t length, uint32_t value)
{
	const struct virtio_cap *cap = device->of_type[type];

	window_aim(device, cap->bar, cap->offset + offset, length);
	pci_write32(device->pci, window_data(device), value);
}

static uint32_t window_read(const struct virtio_device *device, enum virtio_cap_type type,
			    uint32_t offset, uint32_t length)
{
	const struct virtio_cap *cap = device->of_type[type];

	window_aim(device, cap->bar, cap->offset + offset, length);
	return pci_read32(device->pci, window_data(device));
}

static void window_fields(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	uint8_t at = device->of_type[VIRTIO_CAP_WINDOW]->at;

	window_aim(device, 5, 0x12345678, 2);
	CHECK_EQUAL(pci_read8(device->pci, at + VIRTIO_CAP_BAR), 5);
	CHECK_EQUAL(pci_read32(device->pci, at + VIRTIO_CAP_OFFSET), 0x12345678);
	CHECK_EQUAL(pci_read32(device->pci, at + VIRTIO_CAP_LENGTH), 2);
}

static void window_access(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;

	window_write(device, VIRTIO_CAP_COMMON, DEVICE_STATUS, 1, STATUS_ACKNOWLEDGE);
	CHECK_EQUAL(virtio_status(device), STATUS_ACKNOWLEDGE);
	window_write(device, VIRTIO_CAP_COMMON, QUEUE_VECTOR, 2, 1);
	CHECK_EQUAL(virtio_read16(device, QUEUE_VECTOR), 1);
	window_write(device, VIRTIO_CAP_COMMON, DEVICE_FEATURE_SELECT, 4, 1);
	CHECK_EQUAL(window_read(device, VIRTIO_CAP_COMMON, DEVICE_FEATURE, 4),
		    virtio_read32(device, DEVICE_FEATURE));
	CHECK_EQUAL(window_read(device, VIRTIO_CAP_COMMON, NUM_QUEUES, 2) & 0xffff,
		    virtio_read16(device, NUM_QUEUES));
	CHECK_EQUAL(window_read(device, VIRTIO_CAP_COMMON, DEVICE_STATUS, 1) & 0xff,
		    STATUS_ACKNOWLEDGE);
}

static void window_common(const struct virtio_device *device, enum virtio_register at,
			  uint32_t length, uint32_t value)
{
	window_write(device, VIRTIO_CAP_COMMON, at, length, value);
}

/* Firmware that cannot reach BARs does all of this through the window. */
static void window_start(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	uint64_t areas[3];

	virtq_create(&disk->queue, &disk->device, 0, blk_queue_size(disk));
	areas[0] = (uintptr_t)disk->queue.desc;
	areas[1] = (uintptr_t)disk->queue.avail;
	areas[2] = (uintptr_t)disk->queue.used;
	window_common(device, DEVICE_STATUS, 1, STATUS_FOUND);
	window_common(device, DRIVER_FEATURE_SELECT, 4, 1);
	window_common(device, DRIVER_FEATURE, 4, FEATURE(F_VERSION_1) >> 32);
	window_common(device, DEVICE_STATUS, 1, STATUS_NEGOTIATED);
	window_common(device, QUEUE_SELECT, 2, 0);
	window_common(device, QUEUE_SIZE, 2, disk->queue.size);
	for (unsigned i = 0; i < 3; i++) {
		window_common(device, QUEUE_DESC + 8 * i, 4, (uint32_t)areas[i]);
		window_common(device, QUEUE_DESC + 8 * i + 4, 4, (uint32_t)(areas[i] >> 32));
	}
	window_common(device, QUEUE_ENABLE, 2, 1);
	window_common(device, DEVICE_STATUS, 1, STATUS_LIVE);
	CHECK_EQUAL(window_read(device, VIRTIO_CAP_COMMON, DEVICE_STATUS, 1) & 0xff, STATUS_LIVE);
}

static void window_only(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	struct blk_request request;
	uint32_t doorbell;

	window_start(disk);
	doorbell = (window_read(device, VIRTIO_CAP_COMMON, QUEUE_NOTIFY_OFF, 2) & 0xffff) *
		   device->notify_multiplier;
	blk_request_init(&request, BLK_IN, 9, SECTOR_SIZE);
	blk_queue(disk, &request);
	window_write(device, VIRTIO_CAP_NOTIFY, doorbell, 2, 0);
	CHECK(POLL_UNTIL(PATIENCE_MS, virtq_has_used(&disk->queue)));
	blk_take(disk, &request);
	CHECK_EQUAL(blk_status(&request), BLK_OK);
	blk_check(disk, blk_data(&request), 9, 1, false);
	CHECK_EQUAL(window_read(device, VIRTIO_CAP_ISR, 0, 1) & 0xff, 1);
	CHECK_EQUAL(window_read(device, VIRTIO_CAP_ISR, 0, 1) & 0xff, 0);
	window_common(device, DEVICE_STATUS, 1, 0);
	CHECK(POLL_UNTIL(PATIENCE_MS, virtio_status(device) == 0));
}

/* An aim that is no valid access performs none: no write to status, and a read is 0. */
static void window_bad_aim(struct blk *disk)
{
	const struct virtio_device *device = &disk->device;
	const struct virtio_cap *common = device->of_type[VIRTIO_CAP_COMMON];
	uint32_t status_at = common->offset + DEVICE_STATUS;
	const struct {
		uint8_t bar;
		uint32_t offset, length;
	} aims[] = {
		{ common->bar, status_at, 0 },     { common->bar, status_at, 3 },
		{ common->bar, status_at, 8 },     { common->bar, status_at, 0xffffffff },
		{ common->bar, status_at - 1, 2 }, { common->bar, status_at - 2, 4 },
		{ PCI_BAR_COUNT, status_at, 1 },   { 255, status_at, 1 },
		{ common->bar, 0xffffffff, 1 },    { common->bar, 0xfffffffc, 4 },
	};

	virtio_set_status(device, STATUS_FOUND);
	for (unsigned i = 0; i < sizeof(aims) / sizeof(aims[0]); i++) {
		test_context("bar %u, offset 0x%x, length 0x%x", aims[i].bar, aims[i].offset,
			     aims[i].length);
		CHECK_EQUAL(window_read(device, VIRTIO_CAP_COMMON, DEVICE_STATUS, 1) & 0xff,
			    STATUS_FOUND);
		window_aim(device, aims[i].bar, aims[i].offset, aims[i].length);
		CHECK_EQUAL(pci_read32(device->pci, window_data(device)), 0);
		pci_write32(device->pci, window_data(device), 0);
		CHECK_EQUAL(virtio_status(device), STATUS_FOUND);
	}
}

const struct test capability_tests[] = {
	{ "cap/list", list, "PCI-01 PCI-08", NEEDS_NOTHING },
	{ "cap/structures", structures, "PCI-08 PCI-09 PCI-13 PCI-32 PCIN-01 ISR-01 PCFG-01",
	  NEEDS_NOTHING },
	{ "cap/device-config-length", device_config_length, "PCI-33", NEEDS_NOTHING },
	{ "cap/inside-bar", inside_bar, "PCI-12", NEEDS_NOTHING },
	{ "cap/notify-geometry", notify_geometry, "PCIN-02 PCIN-03", NEEDS_PLAIN_NOTIFICATION },
	{ "cap/notify-geometry-data", notify_geometry, "PCIN-04 PCIN-05", NEEDS_NOTIFICATION_DATA },
	{ "cap/read-only", read_only, "PCI-11 HOST-59", NEEDS_NOTHING },
	{ "cap/window-fields", window_fields, "PCFG-02", NEEDS_NOTHING },
	{ "cap/window-access", window_access, "PCFG-03 PCFG-04", NEEDS_NOTHING },
	{ "cap/window-only", window_only, "PCFG-05 PCIN-11", NEEDS_NOTHING },
	{ "cap/window-bad-aim", window_bad_aim, "PCFG-06 HOST-58", NEEDS_NOTHING },
	{ NULL, NULL, NULL, 0 },
};
