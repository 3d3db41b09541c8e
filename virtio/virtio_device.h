/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What all virtio devices share, whatever their type and transport (virtio
 * 1.4, sections 2.1 to 2.6 and 3): status, features, configuration space and
 * the life of queues.
 *
 *      device type (blk) --ops-->  virtio_device  <--ops-- transport (PCI, MMIO)
 *
 * Threads.  Registers belong to vCPU threads: transports call the functions of
 * virtio/transport.h under one lock a device, and device ops run under it.  The
 * last group here is for the threads that serve queues; those functions take no
 * lock that a register access could hold while it waits.
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
#include "hw/base/util.h"
#include "hw/guest_memory.h"
#include "virtio/feature.h"
#include "virtio/virtqueue.h"

#define VIRTIO_NO_VECTOR 0xffff
#define VIRTIO_CONFIG_MAX 256 /* bytes of device configuration */

struct virtio_device;
struct virtio_notifier;
struct virtio_transport;

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
	uint64_t notify;     /* likewise: where its driver rings; for probes */
	bool notify_is_port; /* likewise */
	struct virtqueue_used *held; /* constant: queue_size_max, if IN_ORDER is offered */
} on_cache_lines;

struct virtio_device {
	/* Constant. */
	const char *name;      /* for messages, such as "disk 'x.img'" */
	unsigned number;       /* for probes */
	uint16_t id;           /* virtio device type */
	uint64_t offered;      /* features */
	unsigned config_len;   /* VIRTIO_CONFIG_MAX at most */
	uint16_t queue_count;
	uint16_t queue_size_max;
	const struct virtio_device_ops *ops;
	const struct guest_memory *mem;
	struct virtio_transport *transport;
	struct virtio_queue *queue;
	const struct virtio_feature *feature_names; /* of the device type */

	/* Device lock. */
	uint64_t driver_features; /* as the driver writes them */
	uint64_t accepted;        /* latched at FEATURES_OK, or when legacy goes live */
	uint8_t generation;       /* atomic to write */
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

/* --- The end of the VM. --- */

/* No register access waits for a thread any more, nor will. */
void virtio_device_end_waits(struct virtio_device *dev);

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

/*
 * What keeps an interrupt of queue @index, which is pending, from the driver; or all
 * of them, which are @lost then; NULL: nothing does.  Any thread.
 */
const char *virtio_queue_interrupt_held(struct virtio_device *dev, unsigned index, bool *lost);

/* What keeps the driver's doorbells from its queues; NULL: nothing does.  Any thread. */
const char *virtio_queue_doorbell_held(struct virtio_device *dev);

/* The configuration changed. */
void virtio_notify_config(struct virtio_device *dev);

/*
 * The driver broke a rule after which the device cannot go on: it sets
 * DEVICE_NEEDS_RESET, tells the driver, and prints one line with the reason.
 * The caller serves its queue no more.
 */
void virtio_device_broken(struct virtio_device *dev, const char *why);
bool virtio_device_is_broken(const struct virtio_device *dev);
