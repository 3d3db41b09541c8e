/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory-mapped transport, version 2 (virtio 1.4, section 4.2): one block
 * of 32-bit registers with the configuration behind it, one doorbell for all
 * queues, and one level-triggered interrupt.
 *
 * Drivers of this transport do not poll: a write that resets the device, or
 * resets or disables a queue, returns when that is complete.  It waits without
 * the device lock, and no longer than until virtio_device_end_waits().
 */
#pragma once

#include <stdint.h>

#include "hw/bus.h"
#include "hw/doorbell.h"
#include "hw/irq_line.h"
#include "virtio/virtio_device.h"

#define VIRTIO_MMIO_LENGTH 0x200 /* bytes of registers and configuration */

struct virtio_mmio_config {
	struct bus *bus;       /* memory */
	uint64_t base;         /* of the registers */
	struct irq_line *line; /* may be shared */
	struct doorbell_port doorbell;
};

struct virtio_mmio;

/*
 * Put the registers of @dev on the bus; all that @config points to, and @dev,
 * outlive them.  Returns 0 or -errno, -EEXIST for a place that is taken;
 * prints nothing.
 */
int virtio_mmio_create(struct virtio_mmio **mmio, struct virtio_device *dev,
		       const struct virtio_mmio_config *config);

/* The virtio device is shut down, and no vCPU runs. */
void virtio_mmio_destroy(struct virtio_mmio *mmio);
