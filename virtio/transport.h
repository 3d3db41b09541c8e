/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What transports do for a virtio device, and the registers that they give its
 * driver (virtio 1.4, sections 2.1 to 2.6, 3 and 4).  Device types do not need
 * this.
 */
#pragma once

#include "hw/msi.h"
#include "virtio/virtio_device.h"

/* What becomes of an interrupt; the numbers are those that the probe tells. */
enum virtio_interrupt_way {
	VIRTIO_INTERRUPT_MESSAGE,
	VIRTIO_INTERRUPT_LINE,
	VIRTIO_INTERRUPT_MASKED,    /* it pends */
	VIRTIO_INTERRUPT_NO_VECTOR, /* there is none */
	VIRTIO_INTERRUPT_OFF,       /* it pends, for want of a bus master or a route */
	VIRTIO_INTERRUPT_LINE_OFF,  /* it pends */
};

struct virtio_interrupt {
	enum virtio_interrupt_way way;
	struct msi_message message; /* of a line, addr is its GSI */
};

/* One way to reach the driver.  Any thread. */
struct virtio_notifier {
	void (*raise)(struct virtio_notifier *notifier);
	/* What raise() would do at the moment; for probes.  No lock. */
	struct virtio_interrupt (*look)(const struct virtio_notifier *notifier);
};

/* Fire the probe: @notifier, which may be NULL, is about to be raised for @queue. */
void virtio_interrupt_probe(const struct virtio_device *dev, unsigned queue,
			    const struct virtio_notifier *notifier);
#define VIRTIO_CONFIG_QUEUE 65535 /* which is none: the configuration changed */

/* What a transport does; it embeds a struct virtio_transport. */
struct virtio_transport {
	const struct virtio_transport_ops *ops;
};

struct virtio_transport_ops {
	/* Tell the driver that the configuration or the status changed.  Any thread. */
	void (*notify_config)(struct virtio_device *dev);
	/*
	 * A queue was started or stopped: its doorbell is wanted, or no longer.
	 * Or it is back at its defaults, without a notifier.
	 */
	void (*queue_changed)(struct virtio_device *dev, unsigned index);
	/* Each NULL, or as in virtio_device.h; any thread. */
	const char *(*interrupt_held)(struct virtio_device *dev, unsigned index, bool *lost);
	const char *(*doorbell_held)(struct virtio_device *dev);
	/* NULL, or: a queue was reset; drop its interrupts.  Its vector is still set. */
	void (*queue_reset)(struct virtio_device *dev, unsigned index);
	/* The device was reset: forget vectors and interrupts. */
	void (*reset)(struct virtio_device *dev);
};

/* --- Registers: vCPU threads, under the device lock. --- */

/* Read or write 1 to 8 bytes of configuration; beyond its end there are zeros. */
uint64_t virtio_config_read(struct virtio_device *dev, uint64_t offset, unsigned len);
void virtio_config_write(struct virtio_device *dev, uint64_t offset, uint64_t value,
			 unsigned len);

/* One 32-bit word of features; @word counts from 0.  Write that of the driver's. */
uint32_t virtio_feature_word(uint64_t features, uint32_t word);
void virtio_set_driver_features(struct virtio_device *dev, uint32_t word, uint32_t value);

/* The status as the driver reads it; 0 only when a reset is complete. */
uint8_t virtio_get_status(struct virtio_device *dev);
void virtio_set_status(struct virtio_device *dev, uint8_t value);

/* Queue @index, or NULL: then registers read 0 and ignore writes. */
struct virtio_queue *virtio_queue_at(struct virtio_device *dev, uint32_t index);

/*
 * Ignored unless the queue is disabled and @size is in range, and a power of
 * two unless RING_PACKED was accepted.
 */
void virtio_queue_set_size(struct virtio_device *dev, struct virtio_queue *queue, uint16_t size);
/* Write @half 0 or 1 of the address of area 0 to 2; ignored while it is enabled. */
void virtio_queue_set_address(struct virtio_queue *queue, unsigned area, unsigned half,
			      uint32_t value);
/* Enable a queue; it starts with DRIVER_OK, or now if that was set before. */
void virtio_queue_enable(struct virtio_device *dev, struct virtio_queue *queue);
bool virtio_queue_running(const struct virtio_queue *queue);

/*
 * Stop a queue and disable it; its other registers keep their values.  It is
 * complete when config.enabled is false after virtio_queue_settle().
 */
void virtio_queue_disable(struct virtio_device *dev, struct virtio_queue *queue);

/*
 * Reset one queue (section 2.6.1); ignored unless RING_RESET was negotiated.  It
 * is complete, and the queue disabled and at its defaults, as soon as
 * virtio_queue_settle() is false.
 */
void virtio_queue_reset(struct virtio_device *dev, struct virtio_queue *queue);

/*
 * Complete what waited for the queue's thread, if that has let go of it.  True
 * while a reset is under way.  Call it before the queue's registers are read.
 */
bool virtio_queue_settle(struct virtio_device *dev, struct virtio_queue *queue);

/* Signal the doorbell of a running queue; for writes that no short-cut took. */
void virtio_queue_kick(struct virtio_queue *queue);

/*
 * For registers whose drivers do not poll: wait until @queue (NULL: every
 * queue) that was ordered to stop has done so.  Without the device lock.
 * Returns early once virtio_device_end_waits() was called.
 */
void virtio_device_wait_stopped(struct virtio_device *dev, const struct virtio_queue *queue);

/*
 * The legacy interface (sections 2.2.3 and 3.1.2).  A driver that writes to it
 * is taken for a legacy driver until the next reset, or until it writes features
 * the modern way; not once it has negotiated those.  True: it is.
 */
bool virtio_legacy_begin(struct virtio_device *dev);

/* Its features are 32 bits.  They count as they are when the device goes live. */
uint32_t virtio_legacy_offered(const struct virtio_device *dev);
void virtio_legacy_set_features(struct virtio_device *dev, uint32_t value);

/* The driver rings for @queue: the device goes live even before DRIVER_OK. */
void virtio_legacy_queue_used(struct virtio_device *dev, const struct virtio_queue *queue);
