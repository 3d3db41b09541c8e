/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device side of a virtqueue: the split ring (virtio 1.4, section 2.7)
 * with indirect descriptors and event indices.
 *
 * A running queue has exactly one owner thread; only virtqueue_start() runs
 * elsewhere, before it is handed over.  Everything in the ring is written by a
 * hostile driver: each field is read once and judged by that copy, positions
 * are kept here and never read back, and each walk is bounded.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "hw/guest_memory.h"

#define VIRTQUEUE_SIZE_MAX 32768

/*
 * The most descriptors in one chain, direct and indirect together: 254 data
 * segments (a mebibyte of scattered pages), a header and a status byte.
 */
#define VIRTQUEUE_CHAIN_MAX 256

/* The registers as the driver wrote them. */
struct virtqueue_config {
	uint16_t size;
	uint16_t vector; /* MSI-X; VIRTIO_NO_VECTOR: none */
	bool enabled;
	uint64_t desc, driver, device; /* guest addresses of the three areas */
};

struct virtqueue {
	const struct guest_memory *mem;
	uint16_t size; /* a power of two */
	bool event_idx, indirect;

	/* The three areas, in guest memory. */
	const struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;

	/* Positions in units of ring entries; free-running, mod 65536. */
	uint16_t avail_seen; /* the driver's index, as last read */
	uint16_t popped;
	uint16_t pushed;
	uint16_t published;
	bool armed;          /* the driver was told to ring for new entries */

	const char *why;     /* what was wrong when pop failed */
};

/*
 * A request as the driver described it.  iov[] belongs to the caller; first
 * come the @readable parts, then the @writable ones.  Empty parts are left
 * out.  A part that is not guest RAM has no iov_base, and @bad is set.
 */
struct virtqueue_chain {
	uint16_t head; /* to be given to virtqueue_push() */
	bool bad;
	unsigned readable, writable;
	uint64_t readable_len, writable_len; /* in bytes */
	struct iovec *iov;                   /* VIRTQUEUE_CHAIN_MAX of them */
};

/*
 * Check size, alignment and the place of all three areas, and make @vq ready
 * for its owner.  @features are those negotiated.  Returns 0, or -EINVAL with
 * vq->why.
 */
int virtqueue_start(struct virtqueue *vq, const struct virtqueue_config *config,
		    const struct guest_memory *mem, uint64_t features);

/*
 * Take the next chain, with chain->iov set by the caller.  Returns 1; 0 when
 * the ring is empty; or -EBADMSG with vq->why when the driver broke a rule
 * after which the ring makes no sense: then the queue must not be used again.
 */
int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain);

/*
 * Give a chain back, with @written bytes from the start of its writable part.
 * The driver sees it after virtqueue_publish().
 */
void virtqueue_push(struct virtqueue *vq, uint16_t head, uint32_t written);

/*
 * Show the driver all that was pushed.  Returns true if it wants an interrupt
 * for any of it.
 */
bool virtqueue_publish(struct virtqueue *vq);

/*
 * Ask the driver to ring for what comes next.  Returns true if there is more
 * already; then it may not ring.
 */
bool virtqueue_rearm(struct virtqueue *vq);
