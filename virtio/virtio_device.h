/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What all virtio devices share, whatever their type and transport (virtio
 * 1.4, sections 2.1 to 2.6 and 3): status, features, configuration space and
 * the life of queues.
 *
 *      device type (blk) --ops-->  virtio_device  <--ops-- transport (PCI, MMIO)
 *
 * Threads.  Registers belong to vCPU threads: transports call the functions of
 * the first group under one lock a device, and device ops run under it.  The
 * functions of the second group are for the threads that serve queues; they
 * take no lock that a register access could hold while it waits.
 *
 * A queue's life:  enabled, and the device live  ->  queue_start()  ->
 * running, owned by its thread  ->  queue_stop(), an order  ->
 * virtio_queue_stopped(), the acknowledgement.  Only after that may anyone
 * else touch the queue.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "hw/base/log.h"
#include "hw/guest_memory.h"
#include "virtio/feature.h"
#include "virtio/virtqueue.h"

#define VIRTIO_NO_VECTOR 0xffff
#define VIRTIO_CONFIG_MAX 256 /* bytes of device configuration */

struct virtio_device;

/* What a device type does. */
struct virtio_device_ops {
	/* Fill @config, device->config_len bytes, as a driver would read it now. */
	void (*config_read)(struct virtio_device *dev, void *config);
	/* A driver's write inside the configuration; may be ignored. */
	void (*config_write)(struct virtio_device *dev, unsigned offset, uint64_t value,
			     unsigned len);
	/* May @features, a subset of those offered, be used together?  NULL: any may. */
	bool (*features_ok)(struct virtio_device *dev, uint64_t features);
	/* NULL, or: dev->accepted was set, and no queue runs yet. */
	void (*features_accepted)(struct virtio_device *dev);
	/* dev->queue[index].ring is ready: let its thread take it. */
	void (*queue_start)(struct virtio_device *dev, unsigned index);
	/* Order its thread to let go of it; returns at once. */
	void (*queue_stop)(struct virtio_device *dev, unsigned index);
};

/* One way to reach the driver; raise() is called by any thread. */
struct virtio_notifier {
	void (*raise)(struct virtio_notifier *notifier);
};

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
	/* NULL, or: a queue was reset; drop its interrupts.  Its vector is still set. */
	void (*queue_reset)(struct virtio_device *dev, unsigned index);
	/* The device was reset: forget vectors and interrupts. */
	void (*reset)(struct virtio_device *dev);
};

enum virtio_queue_state { QUEUE_STOPPED, QUEUE_RUNNING, QUEUE_STOPPING };

/*
 * The state is written under the device lock, except that the queue's thread
 * makes STOPPED of STOPPING.
 */
struct virtio_queue {
	struct virtqueue_config config; /* device lock */
	struct virtqueue ring;          /* while running: its thread's */
	enum virtio_queue_state state;  /* atomic; see above */
	bool disabling;                 /* device lock: disable it once it has stopped */
	bool resetting;                 /* device lock: and put it back to its defaults */
	int doorbell;                   /* eventfd; constant */
	struct virtio_notifier *notifier; /* atomic; written under the device lock */
};

struct virtio_device {
	/* Constant. */
	const char *name;      /* for messages, such as "disk 'x.img'" */
	uint16_t id;           /* virtio device type */
	uint64_t offered;      /* features */
	unsigned config_len;   /* VIRTIO_CONFIG_MAX at most */
	uint16_t queue_count;
	uint16_t queue_size_max;
	const struct virtio_device_ops *ops;
	const struct guest_memory *mem;
	struct virtio_transport *transport;
	struct virtio_queue *queue;
	struct virtqueue_used *held; /* queue_size_max for each queue, if IN_ORDER is offered */
	const struct virtio_feature *feature_names; /* of the device type */

	/* Device lock. */
	uint64_t driver_features; /* as the driver writes them */
	uint64_t accepted;        /* latched at FEATURES_OK, or when legacy goes live */
	uint8_t generation;
	bool live;                /* DRIVER_OK was set: queues run */
	bool legacy;              /* the driver uses the legacy interface */
	bool resetting;           /* some queue has not acknowledged */
	uint8_t config[VIRTIO_CONFIG_MAX + 8]; /* as last shown; zeros behind its end */

	uint8_t status;      /* atomic: threads add NEEDS_RESET */
	bool config_changed; /* atomic: the driver has not read it since */
	struct log_limit messages;

	/* Held while the driver is told of an event, for which a reset waits. */
	pthread_mutex_t event_lock;
	bool notify_later;           /* event_lock: something came before DRIVER_OK */
	pthread_cond_t queue_stopped; /* event_lock: some queue has stopped, or waits end */
	bool waits_ended;            /* event_lock */
};

/* The device type sets all constant fields, then calls this.  0 or -errno. */
int virtio_device_init(struct virtio_device *dev);
/* All queues are stopped. */
void virtio_device_destroy(struct virtio_device *dev);

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
 * Returns early once the VM ends, which is told by the second function.
 */
void virtio_device_wait_stopped(struct virtio_device *dev, const struct virtio_queue *queue);
void virtio_device_end_waits(struct virtio_device *dev);

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

/*
 * Reset the device and wait until its threads have let go of it.  For the
 * end of the VM, when no vCPU runs any more.
 */
void virtio_device_shut_down(struct virtio_device *dev);

/* --- Queues: the threads that serve them. --- */

/* The thread no longer touches the queue, its ring or its buffers. */
void virtio_queue_stopped(struct virtio_device *dev, unsigned index);

/* Interrupt the driver for completions on queue @index. */
void virtio_queue_notify(struct virtio_device *dev, unsigned index);

/* The configuration changed. */
void virtio_notify_config(struct virtio_device *dev);

/*
 * The driver broke a rule after which the device cannot go on: it sets
 * DEVICE_NEEDS_RESET, tells the driver, and prints one line with the reason.
 * The caller serves its queue no more.
 */
void virtio_device_broken(struct virtio_device *dev, const char *why);
bool virtio_device_is_broken(const struct virtio_device *dev);
