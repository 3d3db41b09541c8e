/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtio block device (virtio 1.4, section 5.2).
 *
 * Registers and configuration belong to vCPU threads, under the transport's
 * device lock; each running queue belongs to its I/O thread alone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "devices/disk.h"
#include "devices/io_thread.h"
#include "virtio/feature.h"
#include "virtio/virtio_device.h"

#define BLK_SERIAL_LEN 20
#define BLK_QUEUES_MAX 255
#define BLK_QUEUE_SIZE_DEFAULT 256
#define BLK_QUEUE_SIZE_MIN 2
#define BLK_QUEUE_SIZE_MAX 1024
#define BLK_POLL_US_DEFAULT 32 /* as QEMU's, so that the two compare */
#define BLK_POLL_US_MAX 1000
#define BLK_PCI_CLASS 0x010000 /* mass storage */
#define BLK_PCI_TRANSITIONAL_ID 0x1001

/* How writes reach stable storage (section 5.2.6.2). */
enum blk_cache {
	BLK_CACHE_WRITEBACK,    /* by a flush; the driver may choose the other one */
	BLK_CACHE_WRITETHROUGH, /* before they complete; likewise */
	BLK_CACHE_UNSAFE,       /* some time; the driver has no say */
};

/* How the guest reaches the device. */
enum blk_transport {
	BLK_TRANSPORT_PCI,
	BLK_TRANSPORT_PCI_TRANSITIONAL, /* for legacy drivers, too */
	BLK_TRANSPORT_MMIO,
};

struct blk_config {
	unsigned number; /* for probes */
	struct disk_config disk;
	char serial[BLK_SERIAL_LEN + 1]; /* what GET_ID tells; may be empty */
	uint16_t queues;                 /* BLK_QUEUES_MAX at most */
	uint16_t queue_size;             /* a power of two */
	uint32_t poll_max_us;            /* to spin before sleep at most; 0: not at all */
	bool discard;                    /* the driver may deallocate */
	enum blk_cache cache;
	enum blk_transport transport;
	bool packed, in_order, notification_data; /* what is offered on request */
};

/* Ends with a NULL name; disks also offer some of virtio_features. */
extern const struct virtio_feature blk_features[];

struct blk;

/* The threads to which the queues of all disks are dealt round. */
struct blk_threads {
	struct io_thread **thread;
	unsigned count; /* 1 at least */
	unsigned next;  /* whose turn it is */
};

/*
 * Make the device for an open @disk, whose queues take their turns at @threads;
 * the disk and the threads themselves outlive it.  @name is for messages and
 * outlives it too.  Returns 0 or -errno, -EINVAL for no queues.
 */
int blk_create(struct blk **blk, const char *name, const struct blk_config *config,
	       struct disk *disk, struct blk_threads *threads, const struct guest_memory *mem);

/* After virtio_device_shut_down(), and once the I/O threads have ended. */
void blk_destroy(struct blk *blk);

/*
 * The disk has @sectors of 512 bytes from now on, less what is no whole block:
 * requests are judged by it, and the driver is told (section 5.2.6.2).  False:
 * that is no change.  Any thread, one at a time.
 */
bool blk_set_capacity(struct blk *blk, uint64_t sectors);

/* Who hears how far the driver has got.  Each queue tells for itself. */
struct blk_observer {
	/*
	 * It starts: DRIVER_OK is set, and the queue's state says that it runs.  On a
	 * vCPU's thread, under the device lock.
	 */
	void (*queue_starts)(void *opaque);
	/* It has completed its first read ever.  On its I/O thread.  May be NULL. */
	void (*has_read)(void *opaque);
	void *opaque;
};

/* @observer is copied; no queue has been started. */
void blk_observe(struct blk *blk, const struct blk_observer *observer);

struct virtio_device *blk_virtio(struct blk *blk);
