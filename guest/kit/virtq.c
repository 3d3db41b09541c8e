// SPDX-License-Identifier: BSD-2-Clause
#include "guest/kit/virtq.h"

#include "guest/kit/irq.h"
#include "guest/kit/memory.h"
#include "guest/kit/print.h"
#include "guest/kit/test.h"
#include "guest/kit/x86.h"

enum {
	AVAIL_FLAGS = 0, /* in 16-bit words */
	AVAIL_IDX = 1,
	AVAIL_RING = 2,

	USED_FLAGS = 0, /* in bytes */
	USED_IDX = 2,
	USED_RING = 4,

	DESC_ALIGN = 16,
	AVAIL_ALIGN = 2,
	USED_ALIGN = 4,
	PACKED_EVENT_ALIGN = 4,

	BREAK_MS = 1000, /* for a device that says nothing */
};

uint32_t virtq_desc_bytes(uint16_t size)
{
	return 16u * size;
}

uint32_t virtq_avail_bytes(uint16_t size)
{
	return 6 + 2u * size;
}

uint32_t virtq_used_bytes(uint16_t size)
{
	return 6 + 8u * size;
}

/* Minimum alignments on purpose: a device may ask for no more (section Split Virtqueues). */
static void split_create(struct virtq *queue)
{
	queue->avail_bytes = virtq_avail_bytes(queue->size);
	queue->used_bytes = virtq_used_bytes(queue->size);
	queue->avail = heap_alloc(queue->avail_bytes, AVAIL_ALIGN);
	queue->used = heap_alloc(queue->used_bytes, USED_ALIGN);
}

static void packed_create(struct virtq *queue)
{
	queue->avail_bytes = sizeof(struct packed_event);
	queue->used_bytes = sizeof(struct packed_event);
	queue->avail = heap_alloc(queue->avail_bytes, PACKED_EVENT_ALIGN);
	queue->used = heap_alloc(queue->used_bytes, PACKED_EVENT_ALIGN);
	queue->add.wrap = true;
	queue->use.wrap = true;
	queue->lists = heap_alloc(queue->size * sizeof(*queue->lists), 4);
}

void virtq_create(struct virtq *queue, struct virtio_device *device, uint16_t index, uint16_t size)
{
	*queue = (struct virtq){
		.device = device,
		.index = index,
		.size = size,
		.packed = device->features & FEATURE(F_RING_PACKED),
		.desc_bytes = virtq_desc_bytes(size),
		.desc = heap_alloc(virtq_desc_bytes(size), DESC_ALIGN),
	};
	if (queue->packed)
		packed_create(queue);
	else
		split_create(queue);
}

void virtq_enable(struct virtq *queue, uint16_t vector)
{
	const struct virtio_device *device = queue->device;

	queue->doorbell = virtio_doorbell(device, queue->index);
	virtio_queue_vector(device, queue->index, vector);
	virtio_write16(device, QUEUE_SIZE, queue->size);
	virtio_write64(device, QUEUE_DESC, (uintptr_t)queue->desc);
	virtio_write64(device, QUEUE_DRIVER, (uintptr_t)queue->avail);
	virtio_write64(device, QUEUE_DEVICE, (uintptr_t)queue->used);
	virtio_write16(device, QUEUE_ENABLE, 1);
	CHECK_EQUAL(virtio_read16(device, QUEUE_ENABLE), 1);
}

static uint16_t load(const void *at)
{
	return __atomic_load_n((const uint16_t *)at, __ATOMIC_ACQUIRE);
}

static void store(uint16_t *at, uint16_t value)
{
	__atomic_store_n(at, value, __ATOMIC_RELEASE);
}

/* --- Split --- */

uint16_t virtq_used_idx(const struct virtq *queue)
{
	return load(queue->used + USED_IDX);
}

uint16_t virtq_used_flags(const struct virtq *queue)
{
	return load(queue->used + USED_FLAGS);
}

struct virtq_used_element virtq_used_at(const struct virtq *queue, uint16_t position)
{
	const volatile struct virtq_used_element *ring = (void *)(queue->used + USED_RING);
	uint16_t slot = position % queue->size;

	return (struct virtq_used_element){ ring[slot].id, ring[slot].length };
}

uint16_t virtq_avail_event(const struct virtq *queue)
{
	return load(queue->used + USED_RING + 8u * queue->size);
}

uint16_t virtq_avail_idx(const struct virtq *queue)
{
	return queue->avail[AVAIL_IDX];
}

/*
 * Release: the ring entries and descriptors are written before the index that hands them
 * over.
 */
void virtq_set_avail_idx(struct virtq *queue, uint16_t idx)
{
	store(&queue->avail[AVAIL_IDX], idx);
}

void virtq_set_avail_at(struct virtq *queue, uint16_t position, uint16_t head)
{
	queue->avail[AVAIL_RING + position % queue->size] = head;
}

void virtq_set_avail_flags(struct virtq *queue, uint16_t flags)
{
	store(&queue->avail[AVAIL_FLAGS], flags);
}

void virtq_set_used_event(struct virtq *queue, uint16_t event)
{
	store(&queue->avail[AVAIL_RING + queue->size], event);
}

void virtq_fill(struct virtq_desc *table, unsigned first, unsigned size,
		const struct virtq_buffer *pieces, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		bool last = i + 1 == count;

		table[(first + i) % size] = (struct virtq_desc){
			.address = (uintptr_t)pieces[i].data,
			.length = pieces[i].length,
			.flags =
				(pieces[i].device_writes ? DESC_WRITE : 0) | (last ? 0 : DESC_NEXT),
			.next = last ? 0 : (uint16_t)((first + i + 1) % size),
		};
	}
}

uint16_t virtq_take_desc(struct virtq *queue, unsigned count)
{
	uint16_t first = queue->next_desc;

	CHECK(count <= queue->size);
	queue->next_desc = (uint16_t)((first + count) % queue->size);
	return first;
}

static uint16_t split_add(struct virtq *queue, const struct virtq_buffer *pieces, unsigned count)
{
	uint16_t head = virtq_take_desc(queue, count);

	virtq_fill(queue->desc, head, queue->size, pieces, count);
	return head;
}

static uint16_t split_add_table(struct virtq *queue, const struct virtq_desc *table, unsigned count)
{
	uint16_t head = virtq_take_desc(queue, 1);

	queue->desc[head] = (struct virtq_desc){
		.address = (uintptr_t)table,
		.length = (uint32_t)(count * sizeof(*table)),
		.flags = DESC_INDIRECT,
	};
	return head;
}

static void split_publish(struct virtq *queue, uint16_t head)
{
	uint16_t idx = virtq_avail_idx(queue);

	virtq_set_avail_at(queue, idx, head);
	virtq_set_avail_idx(queue, idx + 1);
}

/* --- Packed --- */

struct packed_place packed_after(const struct virtq *queue, struct packed_place from,
				 unsigned slots)
{
	unsigned slot = from.slot + slots;
	bool over = slot >= queue->size;

	CHECK(slots <= queue->size);
	return (struct packed_place){
		.slot = (uint16_t)(over ? slot - queue->size : slot),
		.wrap = from.wrap != over,
	};
}

uint16_t packed_event_place(struct packed_place at)
{
	return (uint16_t)(at.slot | at.wrap << 15);
}

/* The place before the flags that make it count (section Driver and Device Event Suppression). */
void packed_set_event(struct virtq *queue, struct packed_event event)
{
	queue->avail[0] = event.place;
	store(&queue->avail[1], event.flags);
}

struct packed_event packed_device_event(const struct virtq *queue)
{
	uint16_t flags = load(queue->used + sizeof(flags));

	return (struct packed_event){ .place = load(queue->used), .flags = flags };
}

static uint16_t packed_free_id(const struct virtq *queue)
{
	uint16_t id = queue->add.slot;

	for (unsigned tries = 0; queue->lists[id].slots; tries++) {
		CHECK(tries < queue->size);
		id = (uint16_t)((id + 1) % queue->size);
	}
	return id;
}

/* One slot of a list. The first is left as if used in the last lap until it is published. */
static void packed_write(struct virtq *queue, struct packed_desc desc, unsigned at)
{
	struct packed_place place = packed_after(queue, queue->add, at);
	uint16_t available = place.wrap ? DESC_AVAIL : DESC_USED;

	if (at == 0)
		available = place.wrap ? 0 : DESC_AVAIL | DESC_USED;
	desc.flags |= available;
	queue->ring[place.slot] = desc;
}

static void packed_list_ends(struct virtq *queue, uint16_t id, unsigned slots)
{
	queue->lists[id] = (struct packed_list){ queue->add.slot, (uint16_t)slots };
	queue->add = packed_after(queue, queue->add, slots);
}

static uint16_t packed_add(struct virtq *queue, const struct virtq_buffer *pieces, unsigned count)
{
	uint16_t id = packed_free_id(queue);

	for (unsigned i = 0; i < count; i++) {
		bool last = i + 1 == count;

		packed_write(queue,
			     (struct packed_desc){
				     .address = (uintptr_t)pieces[i].data,
				     .length = pieces[i].length,
				     .id = id,
				     .flags = (pieces[i].device_writes ? DESC_WRITE : 0) |
					      (last ? 0 : DESC_NEXT),
			     },
			     i);
	}
	packed_list_ends(queue, id, count);
	return id;
}

void packed_fill(struct packed_desc *table, const struct virtq_buffer *pieces, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		table[i] = (struct packed_desc){
			.address = (uintptr_t)pieces[i].data,
			.length = pieces[i].length,
			.flags = pieces[i].device_writes ? DESC_WRITE : 0,
		};
}

static uint16_t packed_add_table(struct virtq *queue, const struct packed_desc *table,
				 unsigned count)
{
	uint16_t id = packed_free_id(queue);

	packed_write(queue,
		     (struct packed_desc){
			     .address = (uintptr_t)table,
			     .length = (uint32_t)(count * sizeof(*table)),
			     .id = id,
			     .flags = DESC_INDIRECT,
		     },
		     0);
	packed_list_ends(queue, id, 1);
	return id;
}

/* From used in the last lap to available in this one. */
static void packed_publish(struct virtq *queue, uint16_t id)
{
	uint16_t *flags = &queue->ring[queue->lists[id].first].flags;

	store(flags, *flags ^ DESC_AVAIL);
}

static bool packed_has_used(const struct virtq *queue)
{
	uint16_t flags = load(&queue->ring[queue->use.slot].flags);

	return !!(flags & DESC_AVAIL) == queue->use.wrap &&
	       !!(flags & DESC_USED) == queue->use.wrap;
}

/* The length counts with WRITE only, but a test of its own asks for that flag. */
static struct virtq_used_element packed_take(struct virtq *queue)
{
	const volatile struct packed_desc *desc = &queue->ring[queue->use.slot];
	struct virtq_used_element element = { .id = desc->id, .length = desc->length };
	struct packed_list *list;

	CHECK(element.id < queue->size);
	list = &queue->lists[element.id];
	CHECK(list->slots > 0);
	queue->use = packed_after(queue, queue->use, list->slots);
	list->slots = 0;
	return element;
}

/* --- Either ring --- */

uint16_t virtq_add(struct virtq *queue, const struct virtq_buffer *pieces, unsigned count)
{
	return queue->packed ? packed_add(queue, pieces, count) : split_add(queue, pieces, count);
}

uint16_t virtq_add_indirect(struct virtq *queue, const struct virtq_buffer *pieces, unsigned count)
{
	void *table = heap_alloc(count * sizeof(struct virtq_desc), DESC_ALIGN);

	if (queue->packed) {
		packed_fill(table, pieces, count);
		return packed_add_table(queue, table, count);
	}
	virtq_fill(table, 0, count, pieces, count);
	return split_add_table(queue, table, count);
}

void virtq_mark_table_writable(struct virtq *queue, uint16_t id)
{
	if (queue->packed)
		queue->ring[queue->lists[id].first].flags |= DESC_WRITE;
	else
		queue->desc[id].flags |= DESC_WRITE;
}

void virtq_publish(struct virtq *queue, uint16_t id)
{
	if (queue->packed)
		packed_publish(queue, id);
	else
		split_publish(queue, id);
}

/*
 * The doorbell store is uncached and cannot pass the ring's stores on x86: no fence is
 * needed between them.
 */
void virtq_kick(const struct virtq *queue)
{
	uint32_t next = queue->packed ? packed_event_place(queue->add) : virtq_avail_idx(queue);

	if (queue->device->features & FEATURE(F_NOTIFICATION_DATA))
		mmio_write32(queue->doorbell, queue->index | next << 16);
	else
		mmio_write16(queue->doorbell, queue->index);
}

void virtq_want_interrupts(struct virtq *queue, bool wanted)
{
	if (queue->packed)
		packed_set_event(queue, (struct packed_event){ .flags = wanted ? EVENT_ALWAYS
									       : EVENT_NEVER });
	else
		virtq_set_avail_flags(queue, wanted ? 0 : AVAIL_NO_INTERRUPT);
}

/*
 * One list that never ends. Some devices would look at it for ever: it is no longer
 * available as soon as the device says by its event that it has seen it.
 */
static void packed_break(struct virtq *queue)
{
	bool wrap = queue->add.wrap;

	for (unsigned i = 1; i <= queue->size; i++)
		store(&queue->ring[packed_after(queue, queue->add, i).slot].flags,
		      DESC_NEXT | (wrap ? DESC_AVAIL : DESC_USED));
	virtq_kick(queue);
	(void)POLL_UNTIL(BREAK_MS, packed_device_event(queue).flags == EVENT_NEVER);
	store(&queue->ring[queue->add.slot].flags, DESC_NEXT | (wrap ? 0 : DESC_AVAIL | DESC_USED));
}

void virtq_break(struct virtq *queue)
{
	if (queue->packed) {
		packed_break(queue);
		return;
	}
	virtq_set_avail_idx(queue, virtq_avail_idx(queue) + queue->size + 1);
	virtq_kick(queue);
}

bool virtq_has_used(const struct virtq *queue)
{
	return queue->packed ? packed_has_used(queue) : virtq_used_idx(queue) != queue->last_used;
}

struct virtq_used_element virtq_take_used(struct virtq *queue)
{
	uint16_t position = queue->last_used;

	CHECK(virtq_has_used(queue));
	queue->last_used++;
	return queue->packed ? packed_take(queue) : virtq_used_at(queue, position);
}

void virtq_paint(const struct virtq *queue)
{
	memory_paint(queue->desc, queue->desc_bytes);
	memory_paint(queue->avail, queue->avail_bytes);
	memory_paint(queue->used, queue->used_bytes);
}

void virtq_check_painted(const struct virtq *queue)
{
	CHECK(memory_is_painted(queue->desc, queue->desc_bytes));
	CHECK(memory_is_painted(queue->avail, queue->avail_bytes));
	CHECK(memory_is_painted(queue->used, queue->used_bytes));
}
