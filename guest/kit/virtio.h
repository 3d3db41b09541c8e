/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtio device on PCI, driver side: capabilities, registers, status, features. Modern
 * interface.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/kit/msix.h"
#include "guest/kit/pci.h"

enum {
	VIRTIO_VENDOR = 0x1af4,
	VIRTIO_BLK_MODERN = 0x1042,
	VIRTIO_BLK_TRANSITIONAL = 0x1001,
	VIRTIO_ID_BLK = 2,

	VIRTIO_NO_VECTOR = 0xffff,
	VIRTIO_CAP_MAX = 12,
	VIRTIO_FEATURE_WORDS = 2,
};

enum virtio_cap_type {
	VIRTIO_CAP_COMMON = 1,
	VIRTIO_CAP_NOTIFY = 2,
	VIRTIO_CAP_ISR = 3,
	VIRTIO_CAP_DEVICE = 4,
	VIRTIO_CAP_WINDOW = 5, /* VIRTIO_PCI_CAP_PCI_CFG */
	VIRTIO_CAP_TYPES,
};

/* Fields of a capability, by offset in configuration space. */
enum {
	VIRTIO_CAP_LENGTH_OF_CAP = 2,
	VIRTIO_CAP_TYPE = 3,
	VIRTIO_CAP_BAR = 4,
	VIRTIO_CAP_OFFSET = 8,
	VIRTIO_CAP_LENGTH = 12,
	VIRTIO_CAP_MULTIPLIER = 16, /* notify */
	VIRTIO_CAP_DATA = 16,       /* window */
};

/* The common configuration structure. */
enum virtio_register {
	DEVICE_FEATURE_SELECT = 0,
	DEVICE_FEATURE = 4,
	DRIVER_FEATURE_SELECT = 8,
	DRIVER_FEATURE = 12,
	CONFIG_VECTOR = 16,
	NUM_QUEUES = 18,
	DEVICE_STATUS = 20,
	CONFIG_GENERATION = 21,
	QUEUE_SELECT = 22,
	QUEUE_SIZE = 24,
	QUEUE_VECTOR = 26,
	QUEUE_ENABLE = 28,
	QUEUE_NOTIFY_OFF = 30,
	QUEUE_DESC = 32,
	QUEUE_DRIVER = 40,
	QUEUE_DEVICE = 48,
	QUEUE_NOTIFY_DATA = 56,
	QUEUE_RESET = 58,
	COMMON_SIZE = 56,
};

enum virtio_status {
	STATUS_ACKNOWLEDGE = 1,
	STATUS_DRIVER = 2,
	STATUS_DRIVER_OK = 4,
	STATUS_FEATURES_OK = 8,
	STATUS_NEEDS_RESET = 64,
	STATUS_FAILED = 128,

	STATUS_FOUND = STATUS_ACKNOWLEDGE | STATUS_DRIVER,
	STATUS_NEGOTIATED = STATUS_FOUND | STATUS_FEATURES_OK,
	STATUS_LIVE = STATUS_NEGOTIATED | STATUS_DRIVER_OK,
};

#define FEATURE(bit) (1ull << (bit))

enum virtio_feature {
	F_INDIRECT_DESC = 28,
	F_EVENT_IDX = 29,
	F_VERSION_1 = 32,
	F_ACCESS_PLATFORM = 33,
	F_RING_PACKED = 34,
	F_IN_ORDER = 35,
	F_ORDER_PLATFORM = 36,
	F_SR_IOV = 37,
	F_NOTIFICATION_DATA = 38,
	F_NOTIF_CONFIG_DATA = 39,
	F_RING_RESET = 40,
	F_ADMIN_VQ = 41,
	F_SUSPEND = 43,
};

struct virtio_cap {
	uint8_t at, length_of_cap, type, bar;
	uint32_t offset, length;
};

struct virtio_device {
	struct pci_function *pci;
	struct msix msix;
	struct virtio_cap caps[VIRTIO_CAP_MAX];
	unsigned cap_count;
	const struct virtio_cap *of_type[VIRTIO_CAP_TYPES]; /* the first of each type */
	uint32_t notify_multiplier;
	uint64_t features; /* accepted by virtio_negotiate(); 0 before */
};

/*
 * Reads capabilities, enables decode and bus master. False if a structure that the kit
 * needs is missing.
 */
bool virtio_init(struct virtio_device *device, struct pci_function *pci);

/* Where a structure is now; follows its BAR. */
uintptr_t virtio_address(const struct virtio_device *device, enum virtio_cap_type type);

/*
 * Registers of the common structure, with their natural widths. 64-bit fields are written
 * low half first.
 */
uint8_t virtio_read8(const struct virtio_device *device, enum virtio_register at);
uint16_t virtio_read16(const struct virtio_device *device, enum virtio_register at);
uint32_t virtio_read32(const struct virtio_device *device, enum virtio_register at);
uint64_t virtio_read64(const struct virtio_device *device, enum virtio_register at);
void virtio_write8(const struct virtio_device *device, enum virtio_register at, uint8_t value);
void virtio_write16(const struct virtio_device *device, enum virtio_register at, uint16_t value);
void virtio_write32(const struct virtio_device *device, enum virtio_register at, uint32_t value);
void virtio_write64(const struct virtio_device *device, enum virtio_register at, uint64_t value);

/* Writes status 0 and polls until it reads 0; fails the test if it never does. */
void virtio_reset(const struct virtio_device *device);

/* The same for one queue; it is then disabled. RING_RESET was accepted. */
void virtio_queue_reset(const struct virtio_device *device, uint16_t index);

uint8_t virtio_status(const struct virtio_device *device);
void virtio_set_status(const struct virtio_device *device, uint8_t status);

/* Word `word` (32 bits) of the offered and of the accepted features. */
uint32_t virtio_offered_word(const struct virtio_device *device, uint32_t word);
uint64_t virtio_offered(const struct virtio_device *device);
uint64_t virtio_accepted(const struct virtio_device *device);
void virtio_accept(const struct virtio_device *device, uint64_t features);

/*
 * From reset to FEATURES_OK with exactly `features`; true if the device took them.
 * `features` are then in device->features.
 */
bool virtio_try_features(struct virtio_device *device, uint64_t features);

/*
 * The same with those of `wanted` that are offered, VERSION_1 always; a refusal fails the
 * test. RING_PACKED, IN_ORDER and NOTIFICATION_DATA are accepted as the options ring=,
 * in-order= and notification-data= say.
 */
void virtio_negotiate(struct virtio_device *device, uint64_t wanted);

/* Address of queue `index`'s doorbell. */
uintptr_t virtio_doorbell(const struct virtio_device *device, uint16_t index);

/* Reads the ISR status, which clears it. */
uint8_t virtio_isr(const struct virtio_device *device);

/*
 * Connects the configuration event, or the queue's, to an MSI-X entry; fails the test if
 * that is refused.
 */
void virtio_config_vector(const struct virtio_device *device, uint16_t entry);
void virtio_queue_vector(const struct virtio_device *device, uint16_t index, uint16_t entry);
