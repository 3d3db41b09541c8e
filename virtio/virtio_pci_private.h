/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the PCI transport: the function, and what its two interfaces have of
 * each other.  Private to virtio_pci.c, which has the modern one and all that
 * both need, and virtio_pci_legacy.c.
 *
 * All functions run under the device lock.
 */
#pragma once

#include "hw/msix.h"
#include "virtio/transport.h"
#include "virtio/virtio_pci.h"

/* BARs: the registers of the legacy interface, and everything else. */
#define VIRTIO_PCI_BAR_LEGACY 0
#define VIRTIO_PCI_BAR 4

/* Registers take accesses of their own width only; no other changes a neighbour. */
#define REGISTER(offset, len) ((offset) << 4 | (len))

struct vector_notifier {
	struct virtio_notifier notifier;
	const struct msix_vector *vector;
};

struct virtio_pci {
	struct pci_device pci;
	struct virtio_transport transport;
	struct virtio_device *dev;
	struct msix msix;
	struct doorbell_port port;
	unsigned window; /* the offset of the PCI_CFG capability */

	/* Device lock. */
	uint32_t device_feature_select, driver_feature_select;
	uint16_t queue_select;
	uint16_t config_vector;
	bool bus_master; /* atomic: who looks whether I/O hangs reads it */
	struct doorbell *attached; /* a queue; eventfd -1: none */

	/* Ways to the driver; constant. */
	struct vector_notifier *by_vector; /* one each of MSI-X */
	struct virtio_notifier by_line;    /* queues, without MSI-X */

	/* Atomic: written under the device lock, and isr by any thread. */
	struct vector_notifier *config_notifier; /* NULL: none, or the line */
	bool msix_on;
	uint8_t isr;
};

/* --- virtio_pci.c --- */

uint8_t virtio_pci_read_isr(struct virtio_pci *vp);
void virtio_pci_set_config_vector(struct virtio_pci *vp, uint16_t vector);
void virtio_pci_set_queue_vector(struct virtio_pci *vp, struct virtio_queue *queue,
				 uint16_t vector);

/* --- virtio_pci_legacy.c --- */

void virtio_pci_legacy_add_bar(struct virtio_pci *vp);
uint64_t virtio_pci_legacy_read(struct virtio_pci *vp, uint64_t offset, unsigned len);
/* Drops the device lock while it waits for queues to stop. */
void virtio_pci_legacy_write(struct virtio_pci *vp, uint64_t offset, uint64_t value, unsigned len);

/* The doorbell of queue @index, without its eventfd. */
struct doorbell virtio_pci_legacy_doorbell(const struct virtio_pci *vp, unsigned index);
