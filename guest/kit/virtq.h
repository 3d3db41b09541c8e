/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The driver side of a virtqueue, split or packed: as was negotiated when it is created.
 * Tests may also write the rings themselves.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "guest/kit/virtio.h"

enum {
	DESC_NEXT = 1,
	DESC_WRITE = 2,
	DESC_INDIRECT = 4,
	DESC_AVAIL = 1 << 7, /* packed, as is the next */
	DESC_USED = 1 << 15,
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

/* A slot of a packed ring. Either side writes flags last. */
struct packed_desc {
	uint64_t address;
	uint32_t length;
	uint16_t id, flags;
};

/* Where someone stands in a packed ring: wrap turns over behind the last slot. */
struct packed_place {
	uint16_t slot;
	bool wrap;
};

/* What one side of a packed ring wants to be told of. */
struct packed_event {
	uint16_t place; /* slot, and wrap in bit 15; counts with EVENT_AT */
	uint16_t flags;
};

enum packed_event_flags {
	EVENT_ALWAYS = 0,
	EVENT_NEVER = 1,
	EVENT_AT = 2, /* with EVENT_IDX */
};

/* What a packed ring's driver knows of a buffer id. */
struct packed_list {
	uint16_t first; /* slot */
	uint16_t slots; /* 0: the id is free */
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
	bool packed;
	uintptr_t doorbell;
	uint16_t last_used; /* used elements taken so far */

	/* The areas; a packed ring has one struct packed_event each in avail and used. */
	union {
		struct virtq_desc *desc;
		struct packed_desc *ring;
	};
	uint16_t *avail; /* flags, idx, ring[size], used_event */
	uint8_t *used;   /* flags, idx, ring[size], avail_event */
	uint32_t desc_bytes, avail_bytes, used_bytes;

	uint16_t next_desc; /* split: descriptors are handed out round and round */

	struct packed_place add, use; /* the next to write, and to be used */
	struct packed_list *lists;    /* packed: by buffer id */
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

/* Fields of a split ring. Loads and stores are ordered as the specification asks of a driver. */
uint16_t virtq_used_idx(const struct virtq *queue);
uint16_t virtq_used_flags(const struct virtq *queue);
struct virtq_used_element virtq_used_at(const struct virtq *queue, uint16_t position);
uint16_t virtq_avail_event(const struct virtq *queue);
uint16_t virtq_avail_idx(const struct virtq *queue);
void virtq_set_avail_idx(struct virtq *queue, uint16_t idx);
void virtq_set_avail_at(struct virtq *queue, uint16_t position, uint16_t head);
void virtq_set_avail_flags(struct virtq *queue, uint16_t flags);
void virtq_set_used_event(struct virtq *queue, uint16_t event);

/* Of a packed ring: the place `slots` on, the driver's wish, and the device's. */
struct packed_place packed_after(const struct virtq *queue, struct packed_place from,
				 unsigned slots);
uint16_t packed_event_place(struct packed_place at);
void packed_set_event(struct virtq *queue, struct packed_event event);
struct packed_event packed_device_event(const struct virtq *queue);

/*
 * Writes the pieces as a chain of descriptors, or into an indirect table with one
 * descriptor for it. Returns its id: the head, or a buffer id. The caller keeps at most
 * `size` descriptors in flight.
 */
uint16_t virtq_add(struct virtq *queue, const struct virtq_buffer *pieces, unsigned count);
uint16_t virtq_add_indirect(struct virtq *queue, const struct virtq_buffer *pieces, unsigned count);

/* Sets WRITE on the descriptor of an indirect table that is not yet published. */
void virtq_mark_table_writable(struct virtq *queue, uint16_t id);

/* Split: fills `table` with the pieces, chained in order from entry `first`. */
void virtq_fill(struct virtq_desc *table, unsigned first, unsigned size,
		const struct virtq_buffer *pieces, unsigned count);

/* Packed: the same for an indirect table, whose entries stand in order: they have no `next`. */
void packed_fill(struct packed_desc *table, const struct virtq_buffer *pieces, unsigned count);

/* Split: the next free descriptor; `count` of them from there (mod size) become the caller's. */
uint16_t virtq_take_desc(struct virtq *queue, unsigned count);

/*
 * Makes what virtq_add() returned available. In a packed ring that is only seen in the
 * order of virtq_add().
 */
void virtq_publish(struct virtq *queue, uint16_t id);

/* Rings the doorbell; with NOTIFICATION_DATA it tells the next position. */
void virtq_kick(const struct virtq *queue);

/* Asks for an interrupt with every completion, or for none; without EVENT_IDX. */
void virtq_want_interrupts(struct virtq *queue, bool wanted);

/* Breaks the rules by having more available than the ring holds, and kicks. */
void virtq_break(struct virtq *queue);

/* True if the device has used more than the driver took. */
bool virtq_has_used(const struct virtq *queue);

/*
 * Takes the next used element; fails the test if there is none. With IN_ORDER a device might
 * write one for a whole batch: no known one does, and this does not know it.
 */
struct virtq_used_element virtq_take_used(struct virtq *queue);

/* memory_paint() of the queue's areas, whoever writes them; fails the test if they changed. */
void virtq_paint(const struct virtq *queue);
void virtq_check_painted(const struct virtq *queue);
