/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The PCI transport (virtio 1.4, section 4.1): one memory BAR with the common
 * configuration, ISR status, device configuration, a notification register for
 * each queue, and MSI-X; and the configuration window of section 4.1.4.9.  A
 * transitional device has an I/O BAR beside, for legacy drivers.
 *
 * The PCI function's lock is the device lock of the virtio device.
 */
#pragma once

#include <stdint.h>

#include "hw/doorbell.h"
#include "hw/msi.h"
#include "hw/pci.h"
#include "virtio/virtio_device.h"

/* Their MSI-X vectors, and one for the configuration, fit in a page. */
#define VIRTIO_PCI_QUEUES_MAX 255

struct virtio_pci;

/* What PCI has to know of the device type. */
struct virtio_pci_kind {
	uint32_t class;           /* code, 24 bits */
	uint16_t transitional_id; /* PCI device ID (section 4.1.2.1); 0: no legacy interface */
};

/*
 * Make the function for @dev, which outlives it.  Returns 0 or -errno, -E2BIG
 * for too many queues; prints nothing.
 */
int virtio_pci_create(struct virtio_pci **vp, struct virtio_device *dev,
		      const struct virtio_pci_kind *kind, const struct msi_port *msi,
		      const struct doorbell_port *doorbell);

/* Detached from the bus, and the virtio device shut down. */
void virtio_pci_destroy(struct virtio_pci *vp);

/* For pci_host_attach(). */
struct pci_device *virtio_pci_function(struct virtio_pci *vp);
