/* SPDX-License-Identifier: BSD-2-Clause */
/* The driver side of a split virtqueue. Tests may also write the rings themselves. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/kit/virtio.h"

enum {
	DESC_NEXT = 1,
	DESC_WRITE = 2,
	DESC_INDIRECT = 4,
	AVAIL_NO_INTERRUPT = 1,
	USED_NO_NOTIFY = 1,
};

struct virtq_desc {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

struct virtq_used_element {
	uint32_t id, length;
};

/* One piece of a request. */
struct virtq_buffer {
	void *data;
	uint32_t length;
	bool device_writes;
};

struct virtq {
	struct virtio_device *device;
	uint16_t index, size;
	struct virtq_desc *desc;
	uint16_t *avail; /* flags, idx, ring[size], used_event */
	uint8_t *used;   /* flags, idx, ring[size], avail_event */
	uintptr_t doorbell;
	uint16_t next_desc; /* descriptors are handed out round and round */
	uint16_t last_used; /* used elements taken so far */
};

/*
 * Sizes of the three areas of a ring of `size`, with their event words (section Split
 * Virtqueues).
 */
uint32_t virtq_desc_bytes(uint16_t size);
uint32_t virtq_avail_bytes(uint16_t size);
uint32_t virtq_used_bytes(uint16_t size);

/* Allocates the areas of a queue of `size`. The device does not know of them yet. */
void virtq_create(struct virtq *queue, struct virtio_device *device, uint16_t index, uint16_t size);

/* Writes size, addresses and vector to the device and enables the queue. */
void virtq_enable(struct virtq *queue, uint16_t vector);

/* Fields of the rings. Loads and stores are ordered as the specification asks of a driver. */
uint16_t virtq_used_idx(const struct virtq *queue);
uint16_t virtq_used_flags(const struct virtq *queue);
struct virtq_used_element virtq_used_at(const struct virtq *queue, uint16_t position);
uint16_t virtq_avail_event(const struct virtq *queue);
uint16_t virtq_avail_idx(const struct virtq *queue);
void virtq_set_avail_idx(struct virtq *queue, uint16_t idx);
void virtq_set_avail_flags(struct virtq *queue, uint16_t flags);
void virtq_set_used_event(struct virtq *queue, uint16_t event);

/*
 * Writes the pieces as a chain of descriptors, or into an indirect table with one
 * descriptor for it. Returns the head. The caller keeps at most `size` descriptors in
 * flight.
 */
uint16_t virtq_add(struct virtq *queue, const struct virtq_buffer *pieces, unsigned count);
uint16_t virtq_add_indirect(struct virtq *queue, const struct virtq_buffer *pieces, unsigned count);

/* Fills `table` with the pieces, chained in order from entry `first`. */
void virtq_fill(struct virtq_desc *table, unsigned first, unsigned size,
		const struct virtq_buffer *pieces, unsigned count);

/* The next free descriptor; `count` of them from there (mod size) become the caller's. */
uint16_t virtq_take_desc(struct virtq *queue, unsigned count);

/* Puts `head` into the available ring and moves the index. */
void virtq_publish(struct virtq *queue, uint16_t head);

/* Rings the doorbell. */
void virtq_kick(const struct virtq *queue);

/* True if the device has used more than the driver took. */
bool virtq_has_used(const struct virtq *queue);

/* Takes the next used element; fails the test if there is none. */
struct virtq_used_element virtq_take_used(struct virtq *queue);
