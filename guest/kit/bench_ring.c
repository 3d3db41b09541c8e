// SPDX-License-Identifier: BSD-2-Clause
#include "guest/kit/bench_ring.h"

#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/x86.h"

enum {
	DESC_ALIGN = 16,
	PACKED_PLACE_MASK = 0x7fff,
	FAR = 0x8000, /* in positions of a split ring */
};

static unsigned align_up(unsigned value, unsigned to)
{
	return (value + to - 1) / to * to;
}

unsigned bench_ring_entries(const struct bench_shape *shape)
{
	return shape->depth * (shape->indirect ? 1u : shape->pieces);
}

void bench_ring_create(struct bench_ring *ring, struct virtio_device *device, uint16_t index,
		       uint16_t size, uint16_t entry, const struct bench_shape *shape)
{
	unsigned data_size = align_up(shape->size, PAGE_SIZE);
	struct bench_message *messages;
	struct virtq_desc *tables;
	uint8_t *data;

	*ring = (struct bench_ring){
		.shape = *shape,
		.chain = shape->indirect ? 1 : shape->pieces,
		.event_idx = device->features & FEATURE(F_EVENT_IDX),
		.slots = heap_take(shape->depth * sizeof(*ring->slots), 64),
	};
	virtq_create(&ring->queue, device, index, size);
	messages = heap_take(shape->depth * sizeof(*messages), 64);
	tables = heap_take(shape->depth * shape->pieces * sizeof(*tables), DESC_ALIGN);
	data = heap_take((size_t)shape->depth * data_size, PAGE_SIZE);
	for (unsigned i = 0; i < shape->depth; i++)
		ring->slots[i] = (struct bench_slot){
			.message = &messages[i],
			.data = data + (size_t)i * data_size,
			.table = &tables[i * shape->pieces],
		};
	bench_ring_disarm(ring);
	virtq_enable(&ring->queue, entry);
}

/* A split ring's descriptors are written here for good: those of slot n from n * chain on. */
static void table_fill(struct bench_ring *ring, unsigned slot, const struct virtq_buffer *pieces)
{
	struct bench_slot *it = &ring->slots[slot];
	struct virtq *queue = &ring->queue;
	unsigned count = ring->shape.pieces;

	if (queue->packed) {
		packed_fill(it->table, pieces, count);
	} else if (ring->shape.indirect) {
		virtq_fill(it->table, 0, count, pieces, count);
		queue->desc[slot] = (struct virtq_desc){
			.address = (uintptr_t)it->table,
			.length = (uint32_t)(count * sizeof(struct virtq_desc)),
			.flags = DESC_INDIRECT,
		};
	} else {
		virtq_fill(queue->desc, slot * count, queue->size, pieces, count);
		it->table = &queue->desc[slot * count];
	}
}

static void slot_fill(struct bench_ring *ring, unsigned slot, bool device_writes)
{
	const struct bench_shape *shape = &ring->shape;
	struct bench_slot *it = &ring->slots[slot];
	struct virtq_buffer pieces[BENCH_PIECES_MAX];
	uint8_t *data = it->data;
	unsigned last = shape->pieces - 1u;

	memset(data, 0, shape->size);
	memset(it->message, 0, sizeof(*it->message));
	pieces[0] = (struct virtq_buffer){ it->message, BLK_HEADER_SIZE, false };
	for (unsigned i = 1; i < last; i++) {
		uint32_t left = (uint32_t)((uint8_t *)it->data + shape->size - data);

		pieces[i] =
			(struct virtq_buffer){ data, left < shape->segment ? left : shape->segment,
					       device_writes };
		data += pieces[i].length;
	}
	pieces[last] = (struct virtq_buffer){ &it->message->status, 1, true };
	table_fill(ring, slot, pieces);
}

void bench_ring_fill(struct bench_ring *ring, bool device_writes)
{
	for (unsigned slot = 0; slot < ring->shape.depth; slot++)
		slot_fill(ring, slot, device_writes);
}

void bench_ring_turn(struct bench_ring *ring, unsigned slot, bool device_writes)
{
	void *table = ring->slots[slot].table;

	for (unsigned i = 1; i + 1u < ring->shape.pieces; i++) {
		uint16_t *flags = ring->queue.packed ? &((struct packed_desc *)table)[i].flags
						     : &((struct virtq_desc *)table)[i].flags;

		*flags = (uint16_t)((*flags & ~DESC_WRITE) | (device_writes ? DESC_WRITE : 0));
	}
}

/* --- Split --- */

static void split_add(struct bench_ring *ring, unsigned slot)
{
	virtq_set_avail_at(&ring->queue, ring->avail++, (uint16_t)(slot * ring->chain));
}

/* True if a step from `from` to `to` passes the event (section Available Buffer Notification). */
static bool passes(uint16_t event, uint16_t from, uint16_t to)
{
	return (uint16_t)(to - event - 1) < (uint16_t)(to - from);
}

/*
 * The fence pairs with the device's between its event, or flag, and its last look at the index:
 * one of the two sees the other.
 */
static bool split_offer(struct bench_ring *ring)
{
	struct virtq *queue = &ring->queue;
	uint16_t from = ring->offered;

	ring->offered = ring->avail;
	virtq_set_avail_idx(queue, ring->avail);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (ring->event_idx)
		return passes(virtq_avail_event(queue), from, ring->avail);
	return !(virtq_used_flags(queue) & USED_NO_NOTIFY);
}

static int split_take(struct bench_ring *ring)
{
	struct virtq *queue = &ring->queue;
	struct virtq_used_element used;

	if (ring->used_idx == queue->last_used) {
		if ((uint16_t)(ring->silent_until - queue->last_used) < FAR / 2)
			bench_ring_disarm(ring);
		ring->used_idx = virtq_used_idx(queue);
		if (ring->used_idx == queue->last_used)
			return BENCH_RING_EMPTY;
	}
	used = virtq_used_at(queue, queue->last_used++);
	if (used.id % ring->chain || used.id / ring->chain >= ring->shape.depth)
		return BENCH_RING_BAD;
	return (int)(used.id / ring->chain);
}

/* --- Packed --- */

/* The first entry last: with it the device may take them all. */
static void packed_add(struct bench_ring *ring, unsigned slot)
{
	const struct packed_desc *table = ring->slots[slot].table;
	struct virtq *queue = &ring->queue;

	for (unsigned i = ring->chain; i--;) {
		struct packed_place place = packed_after(queue, queue->add, i);
		struct packed_desc *desc = &queue->ring[place.slot];
		uint16_t flags = place.wrap ? DESC_AVAIL : DESC_USED;

		if (ring->shape.indirect) {
			desc->address = (uintptr_t)table;
			desc->length = (uint32_t)(ring->shape.pieces * sizeof(*table));
			flags |= DESC_INDIRECT;
		} else {
			desc->address = table[i].address;
			desc->length = table[i].length;
			flags |= table[i].flags | (i + 1u < ring->chain ? DESC_NEXT : 0);
		}
		desc->id = (uint16_t)slot;
		__atomic_store_n(&desc->flags, flags, __ATOMIC_RELEASE);
	}
	queue->add = packed_after(queue, queue->add, ring->chain);
	ring->added = (uint16_t)(ring->added + ring->chain);
}

/* As in split_offer(); an event of the lap before this one lies one size back. */
static bool packed_offer(struct bench_ring *ring)
{
	struct virtq *queue = &ring->queue;
	uint16_t added = ring->added, to = queue->add.slot;
	struct packed_event event;
	uint16_t place;

	ring->added = 0;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = packed_device_event(queue);
	if (event.flags != EVENT_AT)
		return event.flags == EVENT_ALWAYS;
	place = event.place & PACKED_PLACE_MASK;
	if (event.place >> 15 != queue->add.wrap)
		place = (uint16_t)(place - queue->size);
	return passes(place, (uint16_t)(to - added), to);
}

static int packed_take(struct bench_ring *ring)
{
	struct virtq *queue = &ring->queue;
	uint16_t id;

	if (!virtq_has_used(queue))
		return BENCH_RING_EMPTY;
	id = queue->ring[queue->use.slot].id;
	queue->use = packed_after(queue, queue->use, ring->chain);
	return id < ring->shape.depth ? id : BENCH_RING_BAD;
}

/* --- Either ring --- */

void bench_ring_add(struct bench_ring *ring, unsigned slot)
{
	if (ring->queue.packed)
		packed_add(ring, slot);
	else
		split_add(ring, slot);
}

void bench_ring_offer(struct bench_ring *ring)
{
	if (!(ring->queue.packed ? packed_offer(ring) : split_offer(ring)))
		return;
	virtq_kick(&ring->queue);
	ring->doorbells++;
}

int bench_ring_take(struct bench_ring *ring)
{
	return ring->queue.packed ? packed_take(ring) : split_take(ring);
}

/* The fence pairs with the device's between its used index, or flags, and the driver's wish. */
bool bench_ring_arm(struct bench_ring *ring)
{
	struct virtq *queue = &ring->queue;

	if (!ring->event_idx)
		virtq_want_interrupts(queue, true);
	else if (queue->packed)
		packed_set_event(queue, (struct packed_event){
						.place = packed_event_place(queue->use),
						.flags = EVENT_AT,
					});
	else
		virtq_set_used_event(queue, queue->last_used);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !virtq_has_used(queue);
}

/* A split ring's event cannot be switched off: it is set to where the device does not come. */
void bench_ring_disarm(struct bench_ring *ring)
{
	struct virtq *queue = &ring->queue;

	ring->silent_until = (uint16_t)(queue->last_used + FAR);
	if (queue->packed || !ring->event_idx)
		virtq_want_interrupts(queue, false);
	else
		virtq_set_used_event(queue, ring->silent_until);
}
