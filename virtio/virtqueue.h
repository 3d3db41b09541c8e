/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device side of a virtqueue: the split and the packed ring (virtio 1.4,
 * sections 2.7 and 2.8) with indirect descriptors, event suppression and
 * in-order use.  The verbs do not tell which of them it is.
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
 * The most descriptors in one chain, direct and indirect together: as many as a
 * request of 254 segments (virtio-blk) needs.
 */
#define VIRTQUEUE_CHAIN_MAX 256

/* The registers as the driver wrote them. */
struct virtqueue_config {
	uint16_t size;
	uint16_t vector; /* MSI-X; VIRTIO_NO_VECTOR: none */
	bool enabled;
	uint64_t desc, driver, device; /* guest addresses of the three areas */
};

struct split_ring {
	/* The three areas, in guest memory. */
	const struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;

	uint16_t avail_seen; /* the driver's index, as last read */
};

/* An index in a packed ring, and the wrap counter on that lap (section 2.8.1). */
struct packed_position {
	uint16_t index;
	bool wrap_counter;
};

struct packed_ring {
	/* The three areas, in guest memory; the events are offset and flags in one. */
	struct vring_packed_desc *desc;
	const uint32_t *driver_event;
	uint32_t *device_event;

	struct packed_position next_avail; /* the next to be popped */
	struct packed_position next_used;  /* the next to be written when a chain is pushed */
	unsigned in_flight;                /* descriptors popped and not pushed */

	/* The first that was pushed and not published; its flags show it and the rest. */
	struct packed_position batch;
	uint16_t batch_flags;
};

/* A used element; with IN_ORDER it is held until those before it are there. */
struct virtqueue_used {
	uint16_t id, descs;
	uint32_t len;
	bool done;
};

struct virtqueue {
	const struct guest_memory *mem;
	uint16_t size;
	bool event_idx, indirect;
	bool is_packed;
	union {
		struct split_ring split;
		struct packed_ring packed;
	};

	/* Counts of chains, mod 65536; of a split ring also its positions. */
	uint16_t popped;
	uint16_t pushed; /* and no longer held */
	uint16_t published;
	bool armed;      /* the driver was told to ring for new chains */

	/* With IN_ORDER: size of them, in order of pop from held_head round to held_tail. */
	struct virtqueue_used *held;
	uint16_t held_head, held_tail;

	const char *why; /* what was wrong when pop failed */
};

/*
 * A request as the driver described it.  iov[] belongs to the caller; first
 * come the @readable parts, then the @writable ones.  Empty parts are left
 * out.  A part that is not guest RAM has no iov_base, and @bad is set.
 */
struct virtqueue_chain {
	uint16_t id;    /* the driver's name for it: its head, or any buffer id */
	uint16_t descs; /* in the ring itself; packed only */
	uint16_t held;  /* where it is held; IN_ORDER only */
	bool bad;
	unsigned readable, writable;
	uint64_t readable_len, writable_len; /* in bytes */
	struct iovec *iov;                   /* VIRTQUEUE_CHAIN_MAX of them */
};

/*
 * Check size, alignment and the place of all three areas, and make @vq ready
 * for its owner.  @features are those negotiated.  @held is used with IN_ORDER
 * only: config->size of them, the queue's until it stops.  Returns 0, or
 * -EINVAL with vq->why.
 */
int virtqueue_start(struct virtqueue *vq, const struct virtqueue_config *config,
		    const struct guest_memory *mem, uint64_t features,
		    struct virtqueue_used *held);

/*
 * Take the next chain, with chain->iov set by the caller.  Returns 1; 0 when
 * the ring is empty; or -EBADMSG with vq->why when the driver broke a rule
 * after which the ring makes no sense: then the queue must not be used again.
 */
int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain);

/*
 * Give a chain back, as it was popped, with @written bytes from the start of
 * its writable part.  Any order will do: with IN_ORDER it is held until those
 * popped before it are back.  The driver sees it after virtqueue_publish().
 */
void virtqueue_push(struct virtqueue *vq, const struct virtqueue_chain *chain, uint32_t written);

/*
 * Show the driver all that was pushed.  Returns true if it wants an interrupt
 * for any of it.
 */
bool virtqueue_publish(struct virtqueue *vq);

/*
 * Is there a chain to pop, as far as one look tells?  Cheap enough to spin upon.
 */
bool virtqueue_has_work(const struct virtqueue *vq);

/*
 * Ask the driver to ring for what comes next.  Returns true if there is more
 * already; then it may not ring.
 */
bool virtqueue_rearm(struct virtqueue *vq);

/*
 * --- A queue at rest ---
 *
 * Its owner takes this down when it has rearmed the queue and before it sleeps, for
 * other threads to look at what the driver does meanwhile.  The pointers are good as
 * long as guest RAM is there.
 */
struct virtqueue_rest {
	const uint16_t *next;   /* the available index, or the flags of the next descriptor */
	const uint16_t *wish;   /* the driver's event suppression, flags; a packed ring's offset */
	uint16_t size;
	uint16_t popped, pushed; /* counts, or positions in a packed ring */
	bool is_packed, event_idx;
	bool popped_wrap, pushed_wrap; /* a packed ring's */
};

struct virtqueue_rest virtqueue_rest(const struct virtqueue *vq);

/* Has the driver made a chain available since?  *@seen: the word that tells. */
bool virtqueue_rest_has_work(const struct virtqueue_rest *rest, uint16_t *seen);

/*
 * Did the driver wish for an interrupt for some of what it was given, so that it may
 * wait for it?  @certainly: do not take for a wish what stands there initially.
 */
bool virtqueue_rest_is_owed(const struct virtqueue_rest *rest, bool certainly);
