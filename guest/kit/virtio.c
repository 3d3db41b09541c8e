// SPDX-License-Identifier: BSD-2-Clause
#include "guest/kit/virtio.h"

#include "guest/kit/irq.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

static void cap_read(struct virtio_device *device, uint8_t at)
{
	struct virtio_cap *cap = &device->caps[device->cap_count++];

	*cap = (struct virtio_cap){
		.at = at,
		.length_of_cap = pci_read8(device->pci, at + VIRTIO_CAP_LENGTH_OF_CAP),
		.type = pci_read8(device->pci, at + VIRTIO_CAP_TYPE),
		.bar = pci_read8(device->pci, at + VIRTIO_CAP_BAR),
		.offset = pci_read32(device->pci, at + VIRTIO_CAP_OFFSET),
		.length = pci_read32(device->pci, at + VIRTIO_CAP_LENGTH),
	};
	if (cap->type < VIRTIO_CAP_TYPES && !device->of_type[cap->type])
		device->of_type[cap->type] = cap;
}

static bool caps_read(struct virtio_device *device)
{
	uint8_t at = 0;

	while (device->cap_count < VIRTIO_CAP_MAX) {
		at = pci_capability(device->pci, PCI_CAP_VENDOR, at);
		if (!at)
			break;
		cap_read(device, at);
	}
	for (unsigned type = VIRTIO_CAP_COMMON; type <= VIRTIO_CAP_DEVICE; type++)
		if (!device->of_type[type] || device->of_type[type]->bar >= PCI_BAR_COUNT)
			return false;
	return true;
}

bool virtio_init(struct virtio_device *device, struct pci_function *pci)
{
	*device = (struct virtio_device){ .pci = pci };
	if (!caps_read(device) || !msix_init(&device->msix, pci))
		return false;
	device->notify_multiplier =
		pci_read32(pci, device->of_type[VIRTIO_CAP_NOTIFY]->at + VIRTIO_CAP_MULTIPLIER);
	pci_write16(pci, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	return true;
}

uintptr_t virtio_address(const struct virtio_device *device, enum virtio_cap_type type)
{
	const struct virtio_cap *cap = device->of_type[type];

	return device->pci->bars[cap->bar].base + cap->offset;
}

static uintptr_t common(const struct virtio_device *device, enum virtio_register at)
{
	return virtio_address(device, VIRTIO_CAP_COMMON) + at;
}

uint8_t virtio_read8(const struct virtio_device *device, enum virtio_register at)
{
	return mmio_read8(common(device, at));
}

uint16_t virtio_read16(const struct virtio_device *device, enum virtio_register at)
{
	return mmio_read16(common(device, at));
}

uint32_t virtio_read32(const struct virtio_device *device, enum virtio_register at)
{
	return mmio_read32(common(device, at));
}

uint64_t virtio_read64(const struct virtio_device *device, enum virtio_register at)
{
	return virtio_read32(device, at) | (uint64_t)virtio_read32(device, at + 4) << 32;
}

void virtio_write8(const struct virtio_device *device, enum virtio_register at, uint8_t value)
{
	mmio_write8(common(device, at), value);
}

void virtio_write16(const struct virtio_device *device, enum virtio_register at, uint16_t value)
{
	mmio_write16(common(device, at), value);
}

void virtio_write32(const struct virtio_device *device, enum virtio_register at, uint32_t value)
{
	mmio_write32(common(device, at), value);
}

void virtio_write64(const struct virtio_device *device, enum virtio_register at, uint64_t value)
{
	virtio_write32(device, at, (uint32_t)value);
	virtio_write32(device, at + 4, (uint32_t)(value >> 32));
}

uint8_t virtio_status(const struct virtio_device *device)
{
	return virtio_read8(device, DEVICE_STATUS);
}

void virtio_set_status(const struct virtio_device *device, uint8_t status)
{
	virtio_write8(device, DEVICE_STATUS, status);
}

void virtio_reset(const struct virtio_device *device)
{
	virtio_set_status(device, 0);
	CHECK(POLL_UNTIL(PATIENCE_MS, virtio_status(device) == 0));
}

void virtio_queue_reset(const struct virtio_device *device, uint16_t index)
{
	virtio_write16(device, QUEUE_SELECT, index);
	virtio_write16(device, QUEUE_RESET, 1);
	CHECK(POLL_UNTIL(PATIENCE_MS, virtio_read16(device, QUEUE_RESET) == 0));
	CHECK_EQUAL(virtio_read16(device, QUEUE_ENABLE), 0);
}

uint32_t virtio_offered_word(const struct virtio_device *device, uint32_t word)
{
	virtio_write32(device, DEVICE_FEATURE_SELECT, word);
	return virtio_read32(device, DEVICE_FEATURE);
}

uint64_t virtio_offered(const struct virtio_device *device)
{
	return virtio_offered_word(device, 0) | (uint64_t)virtio_offered_word(device, 1) << 32;
}

uint64_t virtio_accepted(const struct virtio_device *device)
{
	uint64_t features = 0;

	for (unsigned word = 0; word < VIRTIO_FEATURE_WORDS; word++) {
		virtio_write32(device, DRIVER_FEATURE_SELECT, word);
		features |= (uint64_t)virtio_read32(device, DRIVER_FEATURE) << 32 * word;
	}
	return features;
}

void virtio_accept(const struct virtio_device *device, uint64_t features)
{
	for (unsigned word = 0; word < VIRTIO_FEATURE_WORDS; word++) {
		virtio_write32(device, DRIVER_FEATURE_SELECT, word);
		virtio_write32(device, DRIVER_FEATURE, (uint32_t)(features >> 32 * word));
	}
}

bool virtio_try_features(struct virtio_device *device, uint64_t features)
{
	virtio_reset(device);
	virtio_set_status(device, STATUS_ACKNOWLEDGE);
	virtio_set_status(device, STATUS_FOUND);
	virtio_accept(device, features);
	virtio_set_status(device, STATUS_NEGOTIATED);
	device->features = features;
	return virtio_status(device) == STATUS_NEGOTIATED;
}

/* Of the features that say how all queues work, those that the options ask for. */
static uint64_t queue_features(void)
{
	uint64_t features = 0;

	if (list_has(option("ring", "split"), "packed"))
		features |= FEATURE(F_RING_PACKED);
	if (list_has(option("in-order", "off"), "on"))
		features |= FEATURE(F_IN_ORDER);
	if (list_has(option("notification-data", "off"), "on"))
		features |= FEATURE(F_NOTIFICATION_DATA);
	return features;
}

void virtio_negotiate(struct virtio_device *device, uint64_t wanted)
{
	const uint64_t by_option = FEATURE(F_RING_PACKED) | FEATURE(F_IN_ORDER) |
				   FEATURE(F_NOTIFICATION_DATA) | FEATURE(F_NOTIF_CONFIG_DATA);
	uint64_t features = wanted & virtio_offered(device) & ~by_option;

	CHECK(virtio_try_features(device, features | FEATURE(F_VERSION_1) | queue_features()));
}

uintptr_t virtio_doorbell(const struct virtio_device *device, uint16_t index)
{
	virtio_write16(device, QUEUE_SELECT, index);
	return virtio_address(device, VIRTIO_CAP_NOTIFY) +
	       virtio_read16(device, QUEUE_NOTIFY_OFF) * device->notify_multiplier;
}

uint8_t virtio_isr(const struct virtio_device *device)
{
	return mmio_read8(virtio_address(device, VIRTIO_CAP_ISR));
}

void virtio_config_vector(const struct virtio_device *device, uint16_t entry)
{
	virtio_write16(device, CONFIG_VECTOR, entry);
	CHECK_EQUAL(virtio_read16(device, CONFIG_VECTOR), entry);
}

void virtio_queue_vector(const struct virtio_device *device, uint16_t index, uint16_t entry)
{
	virtio_write16(device, QUEUE_SELECT, index);
	virtio_write16(device, QUEUE_VECTOR, entry);
	CHECK_EQUAL(virtio_read16(device, QUEUE_VECTOR), entry);
}
