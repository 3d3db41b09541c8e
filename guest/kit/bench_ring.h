/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtqueue for the bench: its requests are written once, to slots, and used again and again.
 * Offers are batched. All but bench_ring_create() runs at CPL 3, without a CHECK.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/kit/blk.h"
#include "guest/kit/virtq.h"

enum {
	BENCH_RING_EMPTY = -1,
	BENCH_RING_BAD = -2,
	BENCH_DEPTH_MAX = 128,
	BENCH_PIECES_MAX = 258, /* 1 MiB in pages */
};

/* What of a request is not data: a cache line of its own, so that no two requests share one. */
struct bench_message {
	uint32_t type, reserved;
	uint64_t sector;
	uint8_t status;
} __attribute__((aligned(64)));

struct bench_slot {
	struct bench_message *message;
	void *data;
	void *table;      /* struct virtq_desc or, in a packed ring, struct packed_desc */
	uint64_t started; /* TSC */
	bool in_flight;   /* the user's */
};

/* The requests of a case. */
struct bench_shape {
	uint32_t size;    /* bytes of data */
	uint32_t segment; /* bytes of it in one descriptor, at most */
	uint16_t depth;   /* slots */
	uint16_t pieces;  /* descriptors: message, data, status */
	bool indirect;
};

struct bench_ring {
	struct virtq queue;
	struct bench_shape shape;
	struct bench_slot *slots;
	uint16_t chain;        /* entries of the ring that a request takes */
	uint16_t avail;        /* split: the next position; */
	uint16_t offered;      /* what of it the device was told of, */
	uint16_t used_idx;     /* the device's, when last read, */
	uint16_t silent_until; /* and where bench_ring_disarm() holds no longer */
	uint16_t added;        /* packed: entries since the last bench_ring_offer() */
	bool event_idx;
	uint64_t doorbells;
};

/* Entries that a ring must have for this shape. */
unsigned bench_ring_entries(const struct bench_shape *shape);

/* Allocates what the shape takes, and enables the queue; its interrupt is MSI-X entry `entry`. */
void bench_ring_create(struct bench_ring *ring, struct virtio_device *device, uint16_t index,
		       uint16_t size, uint16_t entry, const struct bench_shape *shape);

/* Clears the data and writes the slots' descriptors; `device_writes` is the data's direction. */
void bench_ring_fill(struct bench_ring *ring, bool device_writes);

/* Turns the direction of a slot's data. */
void bench_ring_turn(struct bench_ring *ring, unsigned slot, bool device_writes);

/* Puts a slot's request into the ring; the device may see it from now on, */
void bench_ring_add(struct bench_ring *ring, unsigned slot);

/* or from here on, where the doorbell is rung if the device asks for it. */
void bench_ring_offer(struct bench_ring *ring);

/*
 * The slot of the next used request; BENCH_RING_EMPTY; or BENCH_RING_BAD, and the device has used
 * what it was not given.
 */
int bench_ring_take(struct bench_ring *ring);

/*
 * Asks for an interrupt with the next used request; false if there is one already. And asks for
 * none, as a new ring does.
 */
bool bench_ring_arm(struct bench_ring *ring);
void bench_ring_disarm(struct bench_ring *ring);
