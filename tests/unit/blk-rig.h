/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A block device with a driver and without a machine, for tests: real I/O
 * thread, real image, the mock driver, and a transport that counts.
 *
 * A request has a slot for its header, data and status.  Each one that comes
 * back is checked here: its status was written, and its used length is what
 * its type and result ask for (section 2.7.8).
 */
#pragma once

#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "devices/blk.h"
#include "tests/unit/vq-driver.h"
#include "virtio/feature.h"
#include "virtio/transport.h"

#define RIG_SLOTS 64
#define RIG_DATA 8192 /* bytes a slot has for data */
#define RIG_GPA 0x100000
#define RIG_DEADLINE_MS 20000
#define RIG_MESSAGE 0xfee00000 /* the address of its interrupts */

#define RIG_EVENT VIRTIO_BIT(VIRTIO_RING_F_EVENT_IDX)
#define RIG_INDIRECT VIRTIO_BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define RIG_FLUSH VIRTIO_BIT(VIRTIO_BLK_F_FLUSH)
#define RIG_PACKED VIRTIO_BIT(VIRTIO_F_RING_PACKED)
#define RIG_IN_ORDER VIRTIO_BIT(VIRTIO_F_IN_ORDER)
#define RIG_WCE VIRTIO_BIT(VIRTIO_BLK_F_CONFIG_WCE)
#define RIG_RANGES (VIRTIO_BIT(VIRTIO_BLK_F_DISCARD) | VIRTIO_BIT(VIRTIO_BLK_F_WRITE_ZEROES))

enum rig_cut {
	RIG_PLAIN,    /* header, data, status */
	RIG_ONE_EACH, /* all that is readable, all that is writable */
	RIG_TABLE,    /* the same three in an indirect table */
	RIG_RANDOM,   /* anything, in a table or partly so if that is negotiated */
	RIG_CUTS,
};

struct rig_request {
	uint32_t type;
	uint64_t sector;
	uint32_t out, in; /* bytes of data to write, to read */
	enum rig_cut cut;
	bool without_status;
};

struct rig_result {
	unsigned slot;
	struct rig_request request;
	uint8_t status;
	uint32_t used;
};

struct rig_slot {
	bool busy;
	int id; /* of its chain */
	struct rig_request request;
	uint64_t header, data, status, table; /* guest addresses */
};

struct blk_rig {
	struct vq_ram ram;
	struct vq_driver *driver;
	uint64_t features;
	unsigned queue;
	uint64_t random;
	struct rig_slot slot[RIG_SLOTS];
	int slot_of[VIRTQUEUE_SIZE_MAX]; /* by the chain's id */

	struct disk disk;
	struct blk *blk;
	struct virtio_device *dev;

	struct virtio_transport transport;
	struct virtio_notifier notifier;
	int interrupt;       /* eventfd */
	unsigned interrupts; /* atomic */
	unsigned notices;    /* of the configuration; atomic */

	/* What the transport says of interrupts and doorbells. */
	const char *interrupt_held, *doorbell_held;
	bool interrupt_lost;
};

/* A device of @config on @threads with queues of @size; or on one thread. */
void rig_create_on(struct blk_rig *rig, const struct blk_config *config,
		   struct blk_threads *threads, uint16_t size);
void rig_create(struct blk_rig *rig, const struct blk_config *config, struct io_thread *thread,
		uint16_t size);
/* Stops the device; then its threads may end; then the rest goes. */
void rig_stop(struct blk_rig *rig);
void rig_free(struct blk_rig *rig);

/*
 * A second driver, for another @queue of the same device, which is prepared.
 * It is not checked, reset or stopped itself: the first one's are for both.
 */
void rig_join(struct blk_rig *rig, struct blk_rig *first, unsigned queue);
void rig_leave(struct blk_rig *rig);

/* From power-on or reset to FEATURES_OK, with the queue enabled; then to DRIVER_OK. */
void rig_prepare(struct blk_rig *rig, uint64_t features);
void rig_go(struct blk_rig *rig);

/* Order a reset; wait until it is complete, and take all memory back. */
void rig_reset_order(struct blk_rig *rig);
void rig_reset_wait(struct blk_rig *rig);

/* Puts @request into a free slot, with rig_data() as data.  The slot, or -1: no room. */
int rig_add(struct blk_rig *rig, const struct rig_request *request);
uint8_t *rig_data(struct blk_rig *rig, unsigned slot);
/* Fill the data of a slot that is free; the next rig_add() takes the lowest. */
void rig_fill(struct blk_rig *rig, unsigned slot, const void *data, uint32_t len);
unsigned rig_free_slot(const struct blk_rig *rig);

/* Publish; ring if the device asked. */
void rig_kick(struct blk_rig *rig);

/* Take what came back, if anything did; or wait for it, by interrupt. */
bool rig_poll(struct blk_rig *rig, struct rig_result *result);
void rig_wait(struct blk_rig *rig, struct rig_result *result);

/* One request from start to end; its status. */
uint8_t rig_do(struct blk_rig *rig, const struct rig_request *request);

/* Nothing is in flight: the device kept to what it may write. */
void rig_check(struct blk_rig *rig);

/* Lets the next wait not return at once for what was told before. */
bool rig_told(struct blk_rig *rig, int ms);
