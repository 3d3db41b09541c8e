// SPDX-License-Identifier: BSD-2-Clause
#include "guest/kit/blk.h"

#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	QUEUE_SIZE_MAX = 256,
	VECTORS_PER_DISK = VECTOR_MSI_COUNT / 4,
	AREAS_BEHIND = 1024, /* what the tests' own writes have for themselves */
};

static struct blk disks[BLK_DISKS_MAX];
static unsigned disk_count;

struct blk *blk_disks(unsigned *count)
{
	*count = disk_count;
	return disks;
}

static bool is_blk(const struct pci_function *function)
{
	return function->vendor == VIRTIO_VENDOR && (function->device == VIRTIO_BLK_MODERN ||
						     function->device == VIRTIO_BLK_TRANSITIONAL);
}

static void boot_state_note(struct blk *disk)
{
	const struct msix *msix = &disk->device.msix;

	disk->status_at_boot = virtio_status(&disk->device);
	disk->msix_control_at_boot = pci_read16(msix->pci, msix->at + MSIX_CONTROL);
	disk->msix_masked_at_boot = true;
	for (unsigned i = 0; i < msix->count; i++)
		if (!(mmio_read32(msix_entry(msix, i) + MSIX_ENTRY_CONTROL) & MSIX_ENTRY_MASKED))
			disk->msix_masked_at_boot = false;
}

void blk_find(void)
{
	unsigned count;
	struct pci_function *functions = pci_functions(&count);

	for (unsigned i = 0; i < count && disk_count < BLK_DISKS_MAX; i++) {
		struct blk *disk = &disks[disk_count];

		if (!is_blk(&functions[i]) || !virtio_init(&disk->device, &functions[i]))
			continue;
		disk->number = disk_count++;
		boot_state_note(disk);
		disk->capacity = blk_config(disk, BLK_CAPACITY, 8);
	}
}

void blk_quiesce(struct blk *disk)
{
	const struct msix *msix = &disk->device.msix;

	pci_write16(disk->device.pci, PCI_COMMAND,
		    PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
			    PCI_COMMAND_INTX_OFF);
	virtio_reset(&disk->device);
	disk->device.features = 0;
	for (unsigned i = 0; i < msix->count; i++)
		msix_mask(msix, i, true);
	msix_enable(msix, false);
}

unsigned blk_vector(const struct blk *disk, unsigned entry)
{
	return VECTOR_MSI + disk->number % 4 * VECTORS_PER_DISK + entry % VECTORS_PER_DISK;
}

uint16_t blk_queue_size(const struct blk *disk)
{
	uint16_t size;

	virtio_write16(&disk->device, QUEUE_SELECT, 0);
	size = virtio_read16(&disk->device, QUEUE_SIZE);
	return size < QUEUE_SIZE_MAX ? size : QUEUE_SIZE_MAX;
}

void blk_prepare(struct blk *disk, uint64_t features, uint16_t size)
{
	struct virtio_device *device = &disk->device;

	virtio_negotiate(device, features);
	msix_enable(&device->msix, true);
	for (unsigned entry = ENTRY_CONFIG; entry <= ENTRY_QUEUE; entry++) {
		irq_expect(blk_vector(disk, entry), NULL, NULL);
		msix_route(&device->msix, entry, blk_vector(disk, entry));
	}
	virtio_config_vector(device, ENTRY_CONFIG);
	virtq_create(&disk->queue, device, 0, size);
	virtq_enable(&disk->queue, ENTRY_QUEUE);
}

void blk_start_size(struct blk *disk, uint64_t features, uint16_t size)
{
	blk_prepare(disk, features, size);
	virtio_set_status(&disk->device, STATUS_LIVE);
	CHECK_EQUAL(virtio_status(&disk->device), STATUS_LIVE);
}

void blk_start(struct blk *disk, uint64_t features)
{
	virtio_reset(&disk->device);
	blk_start_size(disk, features, blk_queue_size(disk));
}

void blk_start_intx(struct blk *disk, uint64_t features)
{
	struct virtio_device *device = &disk->device;

	virtio_negotiate(device, features);
	virtq_create(&disk->queue, device, 0, blk_queue_size(disk));
	virtq_enable(&disk->queue, VIRTIO_NO_VECTOR);
	pci_write16(device->pci, PCI_COMMAND,
		    PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	virtio_set_status(device, STATUS_LIVE);
	CHECK_EQUAL(virtio_status(device), STATUS_LIVE);
}

uint64_t blk_config(const struct blk *disk, unsigned offset, unsigned width)
{
	uintptr_t at = virtio_address(&disk->device, VIRTIO_CAP_DEVICE) + offset;

	switch (width) {
	case 1:
		return mmio_read8(at);
	case 2:
		return mmio_read16(at);
	case 4:
		return mmio_read32(at);
	default:
		return mmio_read32(at) | (uint64_t)mmio_read32(at + 4) << 32;
	}
}

/*
 * Data that the driver supplies for this type is readable; any other data is for the
 * device to write.
 */
static bool data_is_readable(uint32_t type)
{
	return type == BLK_OUT || type == BLK_DISCARD || type == BLK_WRITE_ZEROES ||
	       type == BLK_SECURE_ERASE;
}

void blk_request_init(struct blk_request *request, uint32_t type, uint64_t sector, uint32_t length)
{
	bool readable = data_is_readable(type);

	*request = (struct blk_request){
		.readable_length = BLK_HEADER_SIZE + (readable ? length : 0),
		.writable_length = 1 + (readable ? 0 : length),
	};
	request->readable = heap_alloc(request->readable_length, 16);
	request->writable = heap_alloc(request->writable_length, 16);
	memcpy(request->readable, &type, sizeof(type));
	memcpy(request->readable + 8, &sector, sizeof(sector));
	request->writable[request->writable_length - 1] = BLK_UNWRITTEN;
}

uint64_t *blk_data(const struct blk_request *request)
{
	if (request->readable_length > BLK_HEADER_SIZE)
		return (uint64_t *)(request->readable + BLK_HEADER_SIZE);
	return (uint64_t *)request->writable;
}

uint8_t blk_status(const struct blk_request *request)
{
	return *(volatile uint8_t *)&request->writable[request->writable_length - 1];
}

void blk_queue(struct blk *disk, struct blk_request *request)
{
	uint32_t out = request->readable_length - BLK_HEADER_SIZE;
	uint32_t in = request->writable_length - 1;
	struct virtq_buffer pieces[4];
	unsigned count = 0;

	pieces[count++] = (struct virtq_buffer){ request->readable, BLK_HEADER_SIZE, false };
	if (out)
		pieces[count++] =
			(struct virtq_buffer){ request->readable + BLK_HEADER_SIZE, out, false };
	if (in)
		pieces[count++] = (struct virtq_buffer){ request->writable, in, true };
	pieces[count++] = (struct virtq_buffer){ request->writable + in, 1, true };
	request->head = virtq_add(&disk->queue, pieces, count);
	virtq_publish(&disk->queue, request->head);
}

void blk_take(struct blk *disk, struct blk_request *request)
{
	struct virtq_used_element element = virtq_take_used(&disk->queue);

	CHECK_EQUAL(element.id, request->head);
	request->used_length = element.length;
}

void blk_finish(struct blk *disk, struct blk_request *request)
{
	virtq_kick(&disk->queue);
	CHECK(WAIT_UNTIL(PATIENCE_MS, virtq_has_used(&disk->queue)));
	blk_take(disk, request);
	CHECK(!virtq_has_used(&disk->queue));
}

uint8_t blk_run(struct blk *disk, struct blk_request *request, uint32_t type, uint64_t sector,
		uint32_t length)
{
	blk_request_init(request, type, sector, length);
	blk_queue(disk, request);
	blk_finish(disk, request);
	return blk_status(request);
}

uint64_t *blk_read(struct blk *disk, uint64_t sector, unsigned sectors)
{
	struct blk_request request;

	CHECK_EQUAL(blk_run(disk, &request, BLK_IN, sector, sectors * SECTOR_SIZE), BLK_OK);
	CHECK_EQUAL(request.used_length, sectors * SECTOR_SIZE + 1);
	return blk_data(&request);
}

void blk_write(struct blk *disk, uint64_t sector, unsigned sectors, bool complement)
{
	struct blk_request request;

	blk_request_init(&request, BLK_OUT, sector, sectors * SECTOR_SIZE);
	blk_fill(disk, blk_data(&request), sector, sectors, complement);
	blk_queue(disk, &request);
	blk_finish(disk, &request);
	CHECK_EQUAL(blk_status(&request), BLK_OK);
	CHECK_EQUAL(request.used_length, 1);
}

void blk_publish_reads(struct blk *disk, struct blk_request *requests, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		blk_request_init(&requests[i], BLK_IN, i, SECTOR_SIZE);
		blk_queue(disk, &requests[i]);
	}
}

void blk_collect_reads(struct blk *disk, struct blk_request *requests, unsigned count)
{
	struct virtq *queue = &disk->queue;

	for (unsigned i = 0; i < count; i++) {
		struct virtq_used_element element;
		unsigned which = 0;

		CHECK(POLL_UNTIL(PATIENCE_MS, virtq_has_used(queue)));
		element = virtq_take_used(queue);
		while (which < count && requests[which].head != element.id)
			which++;
		CHECK(which < count);
		CHECK_EQUAL(requests[which].used_length, 0);
		CHECK_EQUAL(element.length, SECTOR_SIZE + 1);
		requests[which].used_length = element.length;
		CHECK_EQUAL(blk_status(&requests[which]), BLK_OK);
		blk_check(disk, blk_data(&requests[which]), which, 1, false);
	}
	CHECK(!virtq_has_used(queue));
}

static uint64_t pattern(const struct blk *disk, uint64_t sector)
{
	return (uint64_t)disk->number << 56 | sector * SECTOR_WORDS;
}

void blk_fill(const struct blk *disk, uint64_t *data, uint64_t sector, unsigned sectors,
	      bool complement)
{
	uint64_t word = pattern(disk, sector), flip = complement ? ~0ull : 0;

	for (unsigned i = 0; i < sectors * SECTOR_WORDS; i++)
		data[i] = word++ ^ flip;
}

void blk_check(const struct blk *disk, const uint64_t *data, uint64_t sector, unsigned sectors,
	       bool complement)
{
	uint64_t word = pattern(disk, sector), flip = complement ? ~0ull : 0;

	for (unsigned i = 0; i < sectors * SECTOR_WORDS; i++, word++)
		if (data[i] != (word ^ flip))
			CHECK_EQUAL(data[i], word ^ flip);
}

void blk_check_interrupts(const struct blk *disk, unsigned entry, unsigned count)
{
	(void)WAIT_UNTIL(PATIENCE_MS, irq_count(blk_vector(disk, entry)) >= count);
	CHECK_EQUAL(irq_count(blk_vector(disk, entry)), count);
}

void blk_check_quiet(struct blk *disk, unsigned interrupts)
{
	const struct msix *msix = &disk->device.msix;
	unsigned config = irq_count(blk_vector(disk, ENTRY_CONFIG));

	blk_check_interrupts(disk, ENTRY_QUEUE, interrupts);
	irq_sleep(QUIET_MS);
	CHECK_EQUAL(irq_count(blk_vector(disk, ENTRY_CONFIG)), config);
	CHECK_EQUAL(irq_count(blk_vector(disk, ENTRY_QUEUE)), interrupts);
	CHECK(!virtq_has_used(&disk->queue));
	for (unsigned i = 0; i < msix->count; i++)
		CHECK(!msix_pending(msix, i));
}

void blk_check_alive(struct blk *disk)
{
	blk_start(disk, 0);
	blk_check(disk, blk_read(disk, 1, 1), 1, 1, false);
}

uint64_t blk_scratch(const struct blk *disk)
{
	return disk->capacity / 2;
}

uint64_t blk_area(const struct blk *disk, unsigned index)
{
	uint64_t first = blk_scratch(disk) + AREAS_BEHIND;

	return first - first % BLK_AREA_SECTORS + 2ull * index * BLK_AREA_SECTORS;
}

void blk_paint(struct blk *disk, const struct blk_request *requests, unsigned count)
{
	virtq_paint(&disk->queue);
	for (unsigned i = 0; i < count; i++)
		memory_paint(requests[i].writable, requests[i].writable_length);
}

void blk_check_painted(struct blk *disk, const struct blk_request *requests, unsigned count)
{
	virtq_check_painted(&disk->queue);
	for (unsigned i = 0; i < count; i++)
		CHECK(memory_is_painted(requests[i].writable, requests[i].writable_length));
}
